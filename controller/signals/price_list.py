"""AWS's price list: what an on-demand instance of each type costs in the region.

The price list API answers in a few regions only, for all of them, so the controller asks the one in Northern Virginia. A call serves one
instance type, and its answer stays for `EVERY_S`: prices change within days.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from controller.clients.aws import AwsClients, translated
from controller.clock import Clock
from controller.errors import Forbidden, RemoteError
from controller.policy.evidence import Offering
from controller.policy.model import PriceSource, Source, Unit
from controller.signals.prices import KEPT_S, ON_DEMAND, Quote

SERVICE: Final = "pricing"
REGION: Final = "us-east-1"
"""Where the price list API is asked: it has an endpoint there, in Frankfurt and in Mumbai."""

SOURCE: Final = "price-list"
PERMISSION: Final = "pricing:GetProducts"

EVERY_S: Final = 43_200.0
"""How often a type's price is read, seconds: as often as Karpenter reads it."""

MOST_TYPES: Final = 100
"""Most instance types whose prices are kept."""

_CALLS_A_POLL: Final = 20  # one after the other; the next poll asks for the rest
_BACKOFF_MIN_S: Final = 300.0
_BACKOFF_MAX_S: Final = 21_600.0
_PRODUCTS: Final = 20  # that one type may have with these filters: one; a few where AWS lists a new variant
_HOURS: Final = "Hrs"
_FILTERS: Final = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


@dataclass(frozen=True, slots=True)
class _Read:
    """An answer: the price in US dollars per hour, None where the list has none; when it came, by both clocks."""

    dollars: float | None
    at: float
    since: float


class PriceList:
    """Keeps the on-demand prices of the units' instance types. Threads may share it; call `poll` from one thread at a time.

    Args:
        clients: The AWS client factory.
        clock: The clock.
    """

    def __init__(self, clients: AwsClients, clock: Clock) -> None:
        self._clients, self._clock = clients, clock
        self._lock = threading.Lock()
        self._read: dict[str, _Read] = {}
        self._last_ok: float | None = None
        self._problem, self._forbidden = "", False
        self._due, self._backoff_s = -math.inf, 0.0

    def quote(self, offering: Offering) -> Quote | None:
        """The price of an on-demand instance, see `controller.signals.prices.Quotes`."""
        instance_type, _, capacity_type = offering
        with self._lock:
            known = self._read.get(instance_type)
        if known is None or known.dollars is None or capacity_type != ON_DEMAND or self._clock.monotonic() - known.since > KEPT_S:
            return None
        return Quote(known.dollars, PriceSource.PRICE_LIST, known.at)

    def source(self) -> Source:
        """How fresh the last good answer is; absent without the permission."""
        with self._lock:
            return Source(SOURCE, required=False, last_ok=self._last_ok, budget_s=KEPT_S, absent=self._forbidden, problem=self._problem)

    def poll(self, units: Iterable[Unit]) -> None:
        """Reads the prices that are due, a few in each poll. Never raises; after a failure the last prices stay.

        Args:
            units: All deployment units; prices of other instance types are dropped.
        """
        types = sorted({name for unit in units for name in (unit.instance_type, *unit.instance_types) if name})[:MOST_TYPES]
        now = self._clock.monotonic()
        with self._lock:
            self._read = {name: one for name, one in self._read.items() if name in types}
            due = [name for name in types if name not in self._read or now - self._read[name].since >= EVERY_S]
        if now < self._due:
            return
        for name in due[:_CALLS_A_POLL]:
            if not self._ask(name):
                return

    def _ask(self, instance_type: str) -> bool:
        """Reads one price; returns whether an answer came."""
        try:
            dollars = self._price(instance_type)
        except RemoteError as error:
            with self._lock:
                self._forbidden = isinstance(error, Forbidden)
                self._problem = f"needs {PERMISSION}: {error}" if self._forbidden else str(error)
                self._backoff_s = min(_BACKOFF_MAX_S, max(_BACKOFF_MIN_S, 2 * self._backoff_s))
                self._due = self._clock.monotonic() + self._backoff_s
            return False
        with self._lock:
            self._read[instance_type] = _Read(dollars, self._clock.now(), self._clock.monotonic())
            self._last_ok, self._problem, self._forbidden, self._backoff_s = self._clock.now(), "", False, 0.0
        return True

    def _price(self, instance_type: str) -> float | None:
        with translated(SERVICE, "GetProducts"):
            client = self._clients.client(SERVICE, REGION)
            wanted = {**_FILTERS, "instanceType": instance_type, "regionCode": self._clients.region()}
            filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
            answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters, FormatVersion="aws_v1", MaxResults=_PRODUCTS)
        return hourly_price(answer.get("PriceList", ()))


def hourly_price(products: Iterable[str]) -> float | None:
    """The on-demand price of an hour in products of the price list, US dollars.

    Args:
        products: JSON documents.

    Returns:
        None where none of them says one, or they do not agree.
    """
    found = {price for product in products for price in _prices(product)}
    return found.pop() if len(found) == 1 else None


def _prices(product: str) -> Iterator[float]:
    """The prices above zero of one product: a document lists reservations of capacity at zero."""
    try:
        terms = json.loads(product)["terms"]["OnDemand"]
        dimensions = [one for term in terms.values() for one in term["priceDimensions"].values()]
        prices = [float(one["pricePerUnit"]["USD"]) for one in dimensions if one["unit"] == _HOURS]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return
    yield from (price for price in prices if 0 < price < math.inf)
