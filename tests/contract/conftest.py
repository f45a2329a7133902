"""The fixture that runs the suite on both servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import urllib3

from failover_harness.control_plane.control_plane import ControlPlane
from failover_testbed.kube_api import EmulatedKubeApi
from tests.contract.servers import Emulated, Real, Server
from tests.contract.support import Client


@pytest.fixture(scope="session")
def trusting_pool(api_server: ControlPlane) -> Iterator[urllib3.PoolManager]:
    """Connections to the real server, for the whole session: a TLS handshake takes longer than most tests."""
    with urllib3.PoolManager(ca_certs=str(api_server.ca_file), maxsize=8) as pool:
        yield pool


@pytest.fixture(params=("emulated", "real"))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Either server, with a namespace for the test."""
    if request.param == "real":
        # Requested by name, so that tests on the emulated API do not start a control plane.
        yield Real(request.getfixturevalue("api_server"), request.getfixturevalue("trusting_pool"))
        return
    with ExitStack() as stack:
        api = stack.enter_context(EmulatedKubeApi(bookmark_interval_s=0.05, lenient=False))
        yield Emulated(api, stack.enter_context(urllib3.PoolManager(maxsize=8)))


@pytest.fixture
def client(server: Server) -> Client:
    """The administrator's client."""
    return server.client
