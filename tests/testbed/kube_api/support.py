"""The contract's client, pointed at one emulator."""

from __future__ import annotations

import urllib3

from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi
from tests.contract.support import Client

START = 1_790_000_000.0


def client_of(api: EmulatedKubeApi, pool: urllib3.PoolManager, token: str | None = ADMIN_TOKEN) -> Client:
    """A client of one emulator with one token, in the namespace ``default``."""
    return Client(api.url, pool, token)
