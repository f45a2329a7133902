"""One emulator for each test: they start in a few milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import urllib3

from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi
from tests.contract.support import Client
from tests.testbed.kube_api.support import START, client_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def api(clock: ManualClock) -> Iterator[EmulatedKubeApi]:
    with EmulatedKubeApi(clock, bookmark_interval_s=0.05, seed=1, lenient=False) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager() as manager:
        yield manager


@pytest.fixture
def client(api: EmulatedKubeApi, pool: urllib3.PoolManager) -> Client:
    return client_of(api, pool)
