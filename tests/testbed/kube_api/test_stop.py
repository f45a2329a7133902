"""The end of the emulated API server: no connection outlives it."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys

import pytest

from controller.clock import SystemClock
from failover_testbed.kube_api import EmulatedKubeApi
from failover_testbed.kube_api.emulator import _Server


def test_a_connection_that_is_accepted_while_the_server_stops_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop attaches it to the server a moment later, and never closes it where the server has ended by then."""
    left: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: left.append(repr(found.exc_value)))
    api = EmulatedKubeApi(SystemClock())
    listener = socket.create_server(("127.0.0.1", 0))

    async def accept_and_stop() -> socket.socket:
        config = api._config()
        config.load()
        server = _Server(config, api._hub)
        server.lifespan = config.lifespan_class(config)
        await server.startup([listener])
        client = socket.create_connection(listener.getsockname()[:2], timeout=5)
        for _ in range(2):  # in the second round the connection is accepted, but not yet attached
            await asyncio.sleep(0)
        await server.shutdown([listener])
        return client

    with asyncio.run(accept_and_stop()) as client:
        assert _ended(client)
    gc.collect()
    assert left == []


def _ended(client: socket.socket) -> bool:
    """Whether the server closed its end."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
