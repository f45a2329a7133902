"""Starts, disturbs and stops the emulated API server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme
import uvicorn
import yaml
from uvicorn.protocols.http.h11_impl import H11Protocol

from controller.clock import Clock, SystemClock
from failover_testbed.kube_api.auth import Access, AuditLog, FaultQueue, Identity, Injection
from failover_testbed.kube_api.in_process import KubeStore
from failover_testbed.kube_api.registry import Registry
from failover_testbed.kube_api.server import KubeApp
from failover_testbed.kube_api.store import Store
from failover_testbed.kube_api.watch import WatchHub

ADMIN_TOKEN = "admin"  # noqa: S105 - names the default identity of a server that only loopback reaches
_START_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_TICK_S = 0.1
_GRACE_S = 1.0  # for answers that are under way when the server stops
_PAUSE_S = 0.002
_ACCEPTING = 3  # rounds of the event loop until a connection that it has just accepted is among the server's


class _Protocol(H11Protocol):
    """Lets a request abort its own connection, for which ASGI has no message, and sends small answers at once."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        # asyncio sets this only on sockets with a protocol number, which our accepted sockets lack. Without it, Nagle's algorithm and
        # delayed acknowledgements add 40 ms to every answer.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class EmulatedKubeApi:
    """An emulated Kubernetes API server on loopback. Use it as a context manager, or call `start` and `stop`.

    Args:
        clock: Gives every timestamp in objects and in the audit log. Watch time-outs and bookmarks follow real time.
        tokens: Identity by bearer token; with None, the token "admin" may do everything.
        without_groups: API groups to leave out, as if their CRDs were not installed.
        auto_mode: Whether to serve the kinds of EKS Auto Mode, too.
        bookmark_interval_s: Real seconds between bookmarks on a quiet watch.
        lenient: Whether it does more than the real server: it creates a missing namespace with its first object, and sends bookmarks on
            watches of Events, for clocks that run too fast to wait for the next list.
        history_limit: How many changes of each resource a watch can go back; beyond that it gets 410.
        audit_limit: How many requests the audit log keeps.
        seed: Makes uids and generated names repeatable; random with None.
        port: TCP port, 0 for any free one.
        tls: Whether to serve TLS, with a certificate made now, as kubectl needs it: it sends no token over plain HTTP.

    Attributes:
        store: Reads and writes objects in this process.
        audit: The requests of clients.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        tokens: Mapping[str, Identity] | None = None,
        without_groups: Iterable[str] = (),
        auto_mode: bool = False,
        bookmark_interval_s: float = 2.0,
        lenient: bool = True,
        history_limit: int = 20_000,
        audit_limit: int = 10_000,
        seed: int | None = None,
        port: int = 0,
        tls: bool = False,
    ) -> None:
        clock = clock or SystemClock()
        registry = Registry(without_groups, auto_mode=auto_mode)
        self._tokens = dict(tokens) if tokens is not None else {ADMIN_TOKEN: Identity("admin")}
        self._core = Store(registry, clock, history_limit=history_limit, seed=seed, any_namespace=lenient)
        self._hub = WatchHub(self._core, bookmark_interval_s, event_bookmarks=lenient)
        self._faults = FaultQueue()
        self._wanted_port = port
        self._port = 0
        self._authority = trustme.CA() if tls else None
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self.store = KubeStore(self._core)
        self.audit = AuditLog(audit_limit)
        self._app = KubeApp(registry, self._core, self._hub, clock, self._tokens, self.audit, self._faults)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``, or with ``https``; only valid once started."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts serving on a daemon thread; returns once the server answers requests.

        Raises:
            RuntimeError: If it was started before or does not become ready.
            OSError: If the port is taken.
        """
        if self._thread is not None:
            raise RuntimeError("the emulated Kubernetes API was started before")
        listener = socket.create_server(("127.0.0.1", self._wanted_port), backlog=128)
        self._port = listener.getsockname()[1]
        server = _Server(self._config(), self._hub)
        self._server = server
        self._thread = threading.Thread(target=server.serve_on, args=(listener,), name="emulated-kube-api", daemon=True)
        self._thread.start()
        if not server.up.wait(_START_TIMEOUT_S):
            raise RuntimeError("the emulated Kubernetes API did not come up")

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=60,
            ssl_context_factory=None if self._authority is None else partial(_certified, self._authority),
        )

    def stop(self) -> None:
        """Ends all watches, closes all connections and waits for the thread. Safe to call twice."""
        if self._thread is None or self._server is None:
            return
        self._hub.close()
        self._server.finish()
        self._thread.join(_STOP_TIMEOUT_S)

    def kubeconfig(self, token: str, path: Path | str, *, namespace: str = "default") -> Path:
        """Writes a kubeconfig (mode 0600) that points at this server.

        Args:
            token: Bearer token; may be unknown to the server.
            path: The file to write.
            namespace: Default namespace of the context.

        Returns:
            `path`.
        """
        path = Path(path)
        cluster = {"server": self.url}
        if self._authority is not None:
            cluster["certificate-authority-data"] = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "emulated",
            "clusters": [{"name": "emulated", "cluster": cluster}],
            "users": [{"name": "emulated", "user": {"token": token}}],
            "contexts": [{"name": "emulated", "context": {"cluster": "emulated", "user": "emulated", "namespace": namespace}}],
        }
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            yaml.safe_dump(config, file, sort_keys=False)
        return path

    def admit(self, token: str, identity: Identity) -> None:
        """Adds a bearer token, valid from the next request on."""
        self._tokens[token] = identity

    def revoke(self, token: str) -> None:
        """Refuses a bearer token from the next request on."""
        del self._tokens[token]

    # Hooks

    def compact(self) -> None:
        """Drops the history: watches and continue tokens from before now get 410. Open watches continue."""
        self._core.compact()

    def drop_watches(self) -> None:
        """Cuts the connection of every open watch, as a crashing load balancer would."""
        self._hub.drop()

    def freeze(self) -> None:
        """Stalls all watches: connections stay open but get no events, bookmarks or timeouts."""
        self._hub.freeze()

    def unfreeze(self) -> None:
        """Ends `freeze`; stalled watches then deliver their events."""
        self._hub.unfreeze()

    @property
    def open_watches(self) -> int:
        """How many watches are open."""
        return self._hub.open

    def fail_next(self, n: int, *, status: int, matcher: Callable[[Access], bool] | None = None, retry_after_s: int = 1) -> None:
        """Makes requests fail before they are processed.

        Args:
            n: How many requests.
            status: HTTP status: 409, 429 (plain text and Retry-After, as API priority and fairness sends it), 500, 503 or another.
            matcher: Which requests; None means any.
            retry_after_s: Value of Retry-After for 429 and 503.
        """
        if n > 0:
            self._faults.add(Injection(n, status, matcher, retry_after_s))

    def clear_failures(self) -> None:
        """Drops the injected failures that have not happened yet."""
        self._faults.clear()


def _certified(authority: trustme.CA, *_: object) -> ssl.SSLContext:
    """TLS of a server on loopback; the rest is what uvicorn passes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


class _Server(uvicorn.Server):
    """A server on its own thread, where signal handlers cannot be installed."""

    def __init__(self, config: uvicorn.Config, hub: WatchHub) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._finished = asyncio.Event()
        self._hub = hub

    def finish(self) -> None:
        """Makes the server stop soon; from any thread."""
        self.should_exit = True
        self._hub.call(self._finished.set)

    def serve_on(self, listener: socket.socket) -> None:
        """Serves until `should_exit`; the thread's body."""
        asyncio.run(self.serve(sockets=[listener]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        self._hub.attach(asyncio.get_running_loop())
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.shutdown`; cuts connections that clients still hold, so that none outlives the event loop.

        The original method sleeps for a tenth of a second before each check whether all connections have ended.
        """
        for one in sockets or []:
            asyncio.get_running_loop().remove_reader(one)
        # The event loop attaches a connection that it has just accepted to the server in a moment. Where the server is closed by then, it
        # fails an assertion and never closes the connection.
        for _ in range(_ACCEPTING):
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._ended()
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await self._ended()

    async def _ended(self) -> None:
        """Waits until no connection and no request is left, at most for the grace time."""
        end = asyncio.get_running_loop().time() + _GRACE_S
        while (self.server_state.connections or self.server_state.tasks) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_PAUSE_S)

    async def main_loop(self) -> None:
        """See `uvicorn.Server.main_loop`; this one waits for the stop event instead of polling every 0.1 s."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), _TICK_S)
