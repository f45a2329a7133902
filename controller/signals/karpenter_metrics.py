"""Karpenter's own gauges: which offerings it holds for unavailable, and what an instance of each costs.

The first only completes what refusals say (`controller.policy.evidence`): Karpenter refreshes it once a minute, and its 0 may also mean
that there is no price, zone or subnet for an offering. So it proves nothing alone, its 1 disproves nothing, and without a fresh answer
nothing is known.

A price is that of AWS's price list, or of the spot market as Karpenter last read it; 0 where Karpenter knows none. No
discount is in it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from controller.clients.deadline import Deadline, DeadlineError, content_of
from controller.clock import Clock
from controller.foreign import shown
from controller.policy.evidence import Offering
from controller.policy.model import OFFERINGS_SOURCE, PriceSource, Source
from controller.signals.prices import KEPT_S, Quote

GAUGE: Final = "karpenter_cloudprovider_instance_type_offering_available"
PRICE_GAUGE: Final = "karpenter_cloudprovider_instance_type_offering_price_estimate"

_MAX_SAMPLES: Final = 100_000  # of one gauge: EC2 has about 1,000 types; a region at most six zones; there are three capacity types
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
        freshness_s: How old the last good answer may be, seconds; then nothing is known, and `source` is stale. Prices count for longer.
        prices: Whether prices are read as well.
    """

    def __init__(
        self, url: str, clock: Clock, *, timeout_s: float = 2.0, max_bytes: int = 1 << 24, freshness_s: float = 90.0, prices: bool = True
    ) -> None:
        self._url, self._clock, self._with_prices = url, clock, prices
        self._timeout_s, self._max_bytes, self._freshness_s = timeout_s, max_bytes, freshness_s
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False)
        self._lock = threading.Lock()
        self._unavailable: frozenset[Offering] = frozenset()
        self._prices: Mapping[Offering, float] = {}
        self._highest: Mapping[tuple[str, str], float] = {}  # by type and capacity type, of all zones
        self._answered = -math.inf  # the last good answer, monotonic
        self._last_ok: float | None = None  # the same by the wall clock, for people
        self._problem = ""

    def unavailable(self, instance_types: Collection[str]) -> tuple[Offering, ...]:
        """The offerings of some types that Karpenter holds for unavailable, sorted; () where nothing fresh is known."""
        with self._lock:
            if self._clock.monotonic() - self._answered > self._freshness_s:  # a clock that is set back makes nothing young again
                return ()
            return tuple(sorted(one for one in self._unavailable if one[0] in instance_types))

    def quote(self, offering: Offering) -> Quote | None:
        """The price of an instance, see `controller.signals.prices.Quotes`; without a zone the highest of any zone."""
        instance_type, zone, capacity_type = offering
        with self._lock:
            if self._last_ok is None or self._clock.monotonic() - self._answered > KEPT_S:
                return None
            dollars = self._prices.get(offering) if zone else self._highest.get((instance_type, capacity_type))
            return None if dollars is None else Quote(dollars, PriceSource.KARPENTER, self._last_ok)

    def source(self) -> Source:
        """How fresh the last good answer is, and what is wrong with the one after it."""
        with self._lock:
            return Source(OFFERINGS_SOURCE, required=False, last_ok=self._last_ok, budget_s=self._freshness_s, problem=self._problem)

    def poll(self) -> None:
        """Scrapes once. Never raises: after an answer that cannot be used, nothing new is known."""
        try:
            found = self._asked()
        except (UnusableError, urllib3.exceptions.HTTPError, DeadlineError) as error:
            problem = shown(f"{self._url}: {error}")
            log.info("karpenter_metrics.unusable", error=problem)
            with self._lock:
                self._problem = problem
            return
        with self._lock:
            self._unavailable, self._problem = found.unavailable, ""
            self._prices, self._highest = found.prices, found.highest
            self._answered, self._last_ok = self._clock.monotonic(), self._clock.now()

    def _asked(self) -> Scrape:
        """The answer of a replica that has the gauges: each attempt opens a connection of its own, and may reach another one."""
        for _ in range(_ATTEMPTS - 1):
            with suppress(NoGaugeError):
                return parse(self._scraped(), prices=self._with_prices)
        return parse(self._scraped(), prices=self._with_prices)

    def _scraped(self) -> str:
        """The answer's text. A server that sends a little at a time is cut off like one that sends nothing, or too much."""
        timeout = urllib3.Timeout(total=self._timeout_s)
        headers = {"Accept": "text/plain", "Accept-Encoding": "identity", "Connection": "close"}
        with Deadline(self._timeout_s):
            response = self._pool.request("GET", self._url, headers=headers, timeout=timeout, preload_content=False, redirect=False)
            try:
                if response.status != _OK:
                    raise UnusableError(f"HTTP {response.status}")
                body = content_of(response, self._max_bytes)
            finally:
                response.close()
        if len(body) > self._max_bytes:
            raise UnusableError(f"more than {self._max_bytes} bytes")
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnusableError("not UTF-8") from error


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one answer says.

    Attributes:
        unavailable: The offerings that Karpenter calls unavailable.
        prices: The price of an instance of each offering, US dollars per hour; without those that Karpenter does not know.
        highest: The highest of them in any zone, by type and capacity type.
    """

    unavailable: frozenset[Offering]
    prices: Mapping[Offering, float]
    highest: Mapping[tuple[str, str], float]


def parse(text: str, *, prices: bool = True) -> Scrape:
    """Reads an answer.

    Args:
        text: In the text format of Prometheus. Lines of other metrics are not parsed.
        prices: Whether prices are read. An older release of Karpenter may not have them.

    Raises:
        NoGaugeError: The gauge of unavailable offerings is missing.
        UnusableError: A line of a gauge is malformed, or there are too many.
    """
    lines = text.splitlines()
    available = list(_samples(GAUGE, lines))
    if not available:
        raise NoGaugeError(f"no {GAUGE}")
    if any(value not in {0.0, 1.0} for _, value in available):
        raise UnusableError(f"malformed sample of {GAUGE}: neither 0 nor 1")
    quoted = dict(_samples(PRICE_GAUGE, lines)) if prices else {}
    known = {offering: value for offering, value in quoted.items() if 0 < value < math.inf}
    highest = dict[tuple[str, str], float]()
    for (instance_type, _, capacity_type), value in known.items():
        highest[instance_type, capacity_type] = max(value, highest.get((instance_type, capacity_type), 0.0))
    return Scrape(frozenset(offering for offering, value in available if not value), known, highest)


def _samples(gauge: str, lines: Sequence[str]) -> Iterator[tuple[Offering, float]]:
    """The samples of a gauge with their offerings.

    Raises:
        UnusableError: See `parse`.
    """
    of_gauge = re.compile(rf"^{gauge}[{{ \t]")
    found = [line for line in lines if of_gauge.match(line)]
    if len(found) > _MAX_SAMPLES:
        raise UnusableError(f"more than {_MAX_SAMPLES} samples of {gauge}")
    try:
        for family in text_string_to_metric_families("\n".join(found) + "\n"):
            for sample in family.samples:
                instance_type, zone, capacity_type = (sample.labels.get(name, "") for name in _LABELS)
                if not (instance_type and zone and capacity_type):
                    raise UnusableError(f"malformed sample of {gauge}: {shown(str(sample), 120)}")
                yield (instance_type, zone, capacity_type), sample.value
    except (ValueError, KeyError, IndexError) as error:  # the parser raises these for lines that it cannot read
        raise UnusableError(f"malformed: {shown(str(error), 120)}") from error
