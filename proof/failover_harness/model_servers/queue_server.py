"""A server with a known breaking point: requests queue for workers, and are refused if the queue is full.

The server computes the time of each answer when the request arrives, so a busy machine delays answers but does not slow the workers.
``python -m failover_harness.model_servers.queue_server SPEC`` serves it on loopback and prints the port.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice, repeat
from typing import Final

from aiohttp import web

from failover_setup.breaking_point.measure import percentile
from failover_setup.breaking_point.model import Sample
from failover_testbed.clocks import ManualClock

_NO_ROOM: Final = 429


@dataclass(frozen=True, slots=True)
class Spec:
    """The server's parameters.

    Attributes:
        workers: How many requests are processed at a time.
        service_s: Mean service time of a request, seconds.
        variation: Standard deviation of the service time as a share of the mean (gamma distributed); 0: constant.
        line: Most requests in the queue; more get 429. None: no bound.
        seed: Seed of the service times.
    """

    workers: int
    service_s: float
    variation: float = 0.0
    line: int | None = None
    seed: int = 1

    @property
    def capacity(self) -> float:
        """Requests per second of all workers together."""
        return self.workers / self.service_s


def service_times(spec: Spec) -> Iterator[float]:
    """Yields the service times of successive requests, seconds, endlessly."""
    if not spec.variation:
        return repeat(spec.service_s)
    shape = 1 / spec.variation**2
    draw = partial(random.Random(spec.seed).gammavariate, shape, spec.service_s / shape)
    return (draw() for _ in count())


class Queue:
    """The queue in front of the workers.

    Args:
        spec: The server.
        services: The service times of its requests, seconds; drawn with the seed of the server where None.
    """

    def __init__(self, spec: Spec, services: Iterator[float] | None = None) -> None:
        self._line = spec.line
        self._services = services if services is not None else service_times(spec)
        self._free = [0.0] * spec.workers  # when each worker is done, a heap
        self._starts: list[float] = []  # when the queued requests will start, a heap; only if the queue is bounded

    def arrive(self, now: float) -> float | None:
        """When a request that arrives now will be answered; None if it is refused."""
        free = self._free[0]
        if self._line is not None:
            while self._starts and self._starts[0] <= now:
                heapq.heappop(self._starts)
            if len(self._starts) >= self._line and free > now:
                return None
            if free > now:
                heapq.heappush(self._starts, free)
        ends = max(now, free) + next(self._services)
        heapq.heapreplace(self._free, ends)
        return ends


class VirtualLoad:
    """The same server under load in virtual time, as the load tool would measure it.

    Args:
        spec: The server.
        clock: Advances with the load.
        timeout_s: Seconds after which a request counts as failed.
    """

    def __init__(self, spec: Spec, clock: ManualClock, timeout_s: float = 10.0) -> None:
        self._queue = Queue(spec)
        self._clock = clock
        self._timeout_s = timeout_s

    def open_loop(self, rate: float, seconds: float, in_flight: int, stop: Callable[[Sample], bool]) -> Sequence[Sample]:
        """Sends at a constant rate. Requests beyond `in_flight` are sent when another one ends."""
        begin = self._clock.monotonic()
        samples: list[Sample] = []
        pending: list[tuple[float, int, Sample]] = []
        stopped_s = math.inf
        for number in range(int(rate * seconds)):
            now = number / rate
            while pending and (pending[0][0] <= now or len(pending) >= in_flight):
                ended, _, sample = heapq.heappop(pending)
                now = max(now, ended)
                if stop(sample):
                    stopped_s = min(stopped_s, ended)
            if now >= min(stopped_s, seconds):
                break
            sample = self._sent(begin, now)
            heapq.heappush(pending, (now + sample.latency_s, number, sample))
            samples.append(sample)
        for ended, _, sample in sorted(pending):
            if stopped_s == math.inf and stop(sample):
                stopped_s = ended
        last = max((sample.sent_s + sample.latency_s for sample in samples), default=0.0)
        self._clock.advance(max(last, min(stopped_s, seconds)))
        return samples

    def closed_loop(self, seconds: float) -> Sequence[Sample]:
        """Sends one request after another, at most twenty per second."""
        begin, now = self._clock.monotonic(), 0.0
        samples: list[Sample] = []
        while now < seconds:
            samples.append(self._sent(begin, now))
            now = max(now + 0.05, now + samples[-1].latency_s)
        self._clock.advance(now)
        return samples

    def _sent(self, begin: float, now: float) -> Sample:
        ends = self._queue.arrive(begin + now)
        if ends is None:
            return Sample(now, 0.001, str(_NO_ROOM))
        latency_s = ends - begin - now
        return Sample(now, latency_s) if latency_s <= self._timeout_s else Sample(now, self._timeout_s, "time-out")


def true_knee(spec: Spec, latency_limit_s: float, error_limit: float = 0.01, requests: int = 200_000) -> float:
    """The highest rate that the server sustains forever, requests per second.

    With a constant service time it is the capacity: below it no request waits, above it the queue grows. Otherwise it is searched for
    with runs of the same queue that are long enough to make chance irrelevant.
    """
    if not spec.variation and spec.service_s <= latency_limit_s:
        return spec.capacity
    services = list(islice(service_times(replace(spec, seed=spec.seed + 1000)), requests))  # the same for every rate: drawn once
    low, high = spec.capacity / 2, spec.capacity
    while high - low > 0.001 * spec.capacity:
        middle = (low + high) / 2
        if _holds(Queue(spec, iter(services)), middle, latency_limit_s, error_limit, requests):
            low = middle
        else:
            high = middle
    return low


def _holds(queue: Queue, rate: float, latency_limit_s: float, error_limit: float, requests: int) -> bool:
    ends = [(number / rate, queue.arrive(number / rate)) for number in range(requests)]
    latencies = sorted(end - at for at, end in ends[requests // 10 :] if end is not None)
    refused = sum(end is None for _, end in ends) / requests
    return percentile(latencies, 0.95) <= latency_limit_s and refused <= error_limit


@contextmanager
def serving(spec: Spec) -> Iterator[str]:
    """Runs the server as a separate process; yields its URL."""
    command = [sys.executable, "-m", "failover_harness.model_servers.queue_server", json.dumps(asdict(spec))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."})
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.kill()
        process.communicate()


async def _serve(spec: Spec) -> None:
    queue, clock = Queue(spec), asyncio.get_running_loop().time

    async def answer(_request: web.Request) -> web.Response:
        ends = queue.arrive(clock())
        if ends is None:
            return web.Response(status=_NO_ROOM, headers={"Retry-After": "1"})
        await asyncio.sleep(ends - clock())
        return web.Response(text="done\n")

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Spec(**json.loads(sys.argv[1]))))
