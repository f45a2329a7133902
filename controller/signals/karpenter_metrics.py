"""Karpenter's own gauge of what it may launch: which offerings it holds for unavailable.

It only completes what refusals say (`controller.policy.proof`): Karpenter refreshes it once a minute, and its 0 may also mean that there is
no price, zone or subnet for an offering. So it proves nothing alone, its 1 disproves nothing, and without a fresh answer nothing is known.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

import structlog
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from controller.clock import Clock
from controller.foreign import shown
from controller.policy.model import OFFERINGS_SOURCE, Source
from controller.policy.proof import Offering

GAUGE: Final = "karpenter_cloudprovider_instance_type_offering_available"

_SAMPLE: Final = re.compile(rf"^{GAUGE}[{{ \t]")
_CHUNK: Final = 65_536
_MAX_SAMPLES: Final = 100_000  # EC2 has about 1,000 types; a region at most six zones; there are three capacity types
_OK: Final = 200
_ATTEMPTS: Final = 4  # of one poll: a Service has Karpenter's standby replica behind it, too, which has no such gauge
_LABELS: Final = ("instance_type", "zone", "capacity_type")

log = structlog.get_logger(__name__)


class UnusableError(Exception):
    """An answer that says nothing; the message says why."""


class NoGaugeError(UnusableError):
    """An answer without the gauge: of a standby replica of Karpenter, or of a release without it."""


class KarpenterMetrics:
    """Scrapes Karpenter's metrics. Threads may share it; call `poll` from one thread at a time.

    Args:
        url: Of the metrics, such as ``http://karpenter.kube-system.svc:8080/metrics``.
        clock: The clock.
        timeout_s: How long one scrape may take, seconds.
        max_bytes: Longest answer that is read.
        freshness_s: How old the last good answer may be, seconds; then nothing is known, and `source` is stale.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: float, max_bytes: int, freshness_s: float) -> None:
        self._url, self._clock = url, clock
        self._timeout_s, self._max_bytes, self._freshness_s = timeout_s, max_bytes, freshness_s
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False)
        self._lock = threading.Lock()
        self._unavailable: frozenset[Offering] = frozenset()
        self._answered = -math.inf  # the last good answer, monotonic
        self._last_ok: float | None = None  # the same by the wall clock, for people
        self._problem = ""

    def unavailable(self, instance_types: Collection[str]) -> tuple[Offering, ...]:
        """The offerings of some types that Karpenter holds for unavailable, sorted; () where nothing fresh is known."""
        with self._lock:
            if self._clock.monotonic() - self._answered > self._freshness_s:  # a clock that is set back makes nothing young again
                return ()
            return tuple(sorted(one for one in self._unavailable if one[0] in instance_types))

    def source(self) -> Source:
        """How fresh the last good answer is, and what is wrong with the one after it."""
        with self._lock:
            return Source(OFFERINGS_SOURCE, required=False, last_ok=self._last_ok, budget_s=self._freshness_s, problem=self._problem)

    def poll(self) -> None:
        """Scrapes once. Never raises: after an answer that cannot be used, nothing new is known."""
        try:
            found = self._asked()
        except (UnusableError, urllib3.exceptions.HTTPError) as error:
            problem = shown(f"{self._url}: {error}")
            log.info("karpenter_metrics.unusable", error=problem)
            with self._lock:
                self._problem = problem
            return
        with self._lock:
            self._unavailable, self._problem = found, ""
            self._answered, self._last_ok = self._clock.monotonic(), self._clock.now()

    def _asked(self) -> frozenset[Offering]:
        """The answer of a replica that has the gauge: each attempt opens a connection of its own, and may reach another one."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(NoGaugeError):
                return parse(self._scraped())
        return parse(self._scraped())

    def _scraped(self) -> str:
        """The answer's text. A server that sends a little at a time is cut off like one that sends nothing, or too much."""
        deadline = self._clock.monotonic() + self._timeout_s
        timeout = urllib3.Timeout(total=self._timeout_s)
        headers = {"Accept": "text/plain", "Accept-Encoding": "identity", "Connection": "close"}
        response = self._pool.request("GET", self._url, headers=headers, timeout=timeout, preload_content=False, redirect=False)
        try:
            if response.status != _OK:
                raise UnusableError(f"HTTP {response.status}")
            body = bytearray()
            while chunk := response.read1(_CHUNK):
                body += chunk
                if len(body) > self._max_bytes:
                    raise UnusableError(f"more than {self._max_bytes} bytes")
                if self._clock.monotonic() > deadline:
                    raise UnusableError(f"not complete after {self._timeout_s:g} s")
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnusableError("not UTF-8") from error
        finally:
            response.close()


def parse(text: str) -> frozenset[Offering]:
    """The offerings that the gauge calls unavailable.

    Args:
        text: In the text format of Prometheus. Lines of other metrics are not parsed.

    Raises:
        NoGaugeError: The gauge is missing.
        UnusableError: One of its lines is malformed, or there are too many.
    """
    lines = [line for line in text.splitlines() if _SAMPLE.match(line)]
    if not lines:
        raise NoGaugeError(f"no {GAUGE}")
    if len(lines) > _MAX_SAMPLES:
        raise UnusableError(f"more than {_MAX_SAMPLES} samples of {GAUGE}")
    return frozenset(offering for offering, value in _samples(lines) if not value)


def _samples(lines: list[str]) -> Iterator[tuple[Offering, bool]]:
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                instance_type, zone, capacity_type = (sample.labels.get(name, "") for name in _LABELS)
                if not (instance_type and zone and capacity_type) or sample.value not in {0.0, 1.0}:
                    raise UnusableError(f"malformed sample of {GAUGE}: {shown(str(sample), 120)}")
                yield (instance_type, zone, capacity_type), bool(sample.value)
    except (ValueError, KeyError, IndexError) as error:  # the parser raises these for lines that it cannot read
        raise UnusableError(f"malformed: {shown(str(error), 120)}") from error
