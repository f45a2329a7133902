"""Clients that send the next request as soon as the last one is answered."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import urllib3

_TIMEOUT_S: Final = 120.0
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Load:
    """Results of clients that wait for each answer.

    Attributes:
        per_second: Answered requests per second.
        p50_ms: Median latency.
        p95_ms: 95th percentile.
        failed: Answers other than 200.
    """

    per_second: float
    p50_ms: float
    p95_ms: float
    failed: int


def load(url: str, bodies: Sequence[bytes], *, clients: int, requests: int) -> Load:
    """Runs the clients.

    Args:
        url: Where to send JSON.
        bodies: Of the requests; each client begins with another one and goes through all of them.
        clients: How many there are.
        requests: Of each client.
    """
    pool, lock = urllib3.PoolManager(maxsize=clients, retries=False, timeout=_TIMEOUT_S), threading.Lock()
    latencies: list[float] = []
    failed = 0

    def work(client: int) -> None:
        nonlocal failed
        for number in range(requests):
            begin = time.perf_counter()
            body = bodies[(client * requests + number) % len(bodies)]
            answer = pool.request("POST", url, body=body, headers={"Content-Type": "application/json"})
            taken = time.perf_counter() - begin
            with lock:
                latencies.append(taken * 1000)
                failed += answer.status != _OK

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    p95 = statistics.quantiles(latencies, n=20)[-1]
    return Load(len(latencies) / seconds, statistics.median(latencies), p95, failed)


def middle(loads: Sequence[Load]) -> Load:
    """The medians; failures are added up."""
    return Load(
        statistics.median(one.per_second for one in loads),
        statistics.median(one.p50_ms for one in loads),
        statistics.median(one.p95_ms for one in loads),
        sum(one.failed for one in loads),
    )
