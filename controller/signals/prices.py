"""What an instance costs, from whichever source knows it: Karpenter's gauge, AWS's price list, else the application file.

A price is used only where it is plausible. One that is unknown, not positive, or more than ten times or less than a tenth of what the
application file makes of it is not: the file's stays, and `Price.problem` says so. (EC2 sells spot instances for up to 90 % less.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controller.foreign import shown
from controller.policy.evidence import Offering
from controller.policy.model import Price, PriceSource, Unit
from controller.signals.launchable import Placement, placed_on, price_of

KEPT_S: Final = 86_400.0
"""How long a price counts after it was read, seconds. Karpenter and AWS's price list change on-demand prices within days, and Karpenter
itself reads both kinds of prices every 12 hours."""

PLAUSIBLE: Final = 10.0
"""Most times that a price may be above, or below, that of the application file."""

ON_DEMAND: Final = "on-demand"
_RESERVED: Final = "reserved"  # Karpenter gives a reserved offering a price of almost nothing: it is paid whether it is used or not


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of an instance as a source gave it.

    Attributes:
        dollars: US dollars per hour.
        source: Which.
        at: When it was read, seconds since the Unix epoch.
    """

    dollars: float
    source: PriceSource
    at: float


class Quotes(Protocol):
    """A source of prices."""

    def quote(self, offering: Offering) -> Quote | None:
        """The price of an instance of a type, in a zone ("": any), of a capacity type; None where nothing recent is known."""


class FirstKnown:
    """Several sources, the first of which that knows a price gives it.

    Args:
        sources: In the order in which they are preferred.
    """

    def __init__(self, sources: Iterable[Quotes]) -> None:
        self._sources = tuple(sources)

    def quote(self, offering: Offering) -> Quote | None:
        """See `Quotes`."""
        return next((found for one in self._sources if (found := one.quote(offering)) is not None), None)


def priced(
    unit: Unit, nodes: Mapping[Offering, int], placement: Placement, ready: int, capacity_types: Sequence[str], quotes: Quotes | None
) -> Price:
    """The average price of the unit's replicas on the nodes that run.

    Args:
        unit: The unit, with the application file's price. That counts for replicas on nodes that are not known, and in proportion to EC2's
            on-demand prices for those on another type whose price no source knows.
        nodes: The nodes of its NodePool that run.
        placement: Where its pods may run.
        ready: Its ready replicas.
        capacity_types: What its NodePool may launch; () where it does not say. Without a node, an on-demand price counts only where the
            NodePool launches nothing else.
        quotes: The sources of prices; None: the application file alone.
    """
    found, replicas, dollars = list[_Found](), 0, 0.0
    for offering, count in placed_on(nodes, placement).items():
        one = _of(unit, offering, placement, quotes)
        if one is not None:
            on_them = count * placement.needs.pods_on(offering[0]) // placement.needs.pods
            found.append(one)
            dollars, replicas = dollars + one.dollars * on_them, replicas + on_them
    elsewhere = max(0, ready - replicas)
    if elsewhere or not replicas:
        only_on_demand = set(capacity_types) <= {ON_DEMAND}
        at_rest = _of(unit, (unit.instance_type, "", ON_DEMAND if only_on_demand else ""), placement, quotes if only_on_demand else None)
        rest = at_rest or _Found(unit.price_per_hour)
        found.append(rest)
        dollars, replicas = dollars + rest.dollars * (elsewhere or 1), replicas + (elsewhere or 1)
    used = [one.quote for one in found if one.quote is not None]
    problem = "; ".join(dict.fromkeys(one.problem for one in found if one.problem))
    price = unit.price_per_hour if all(one.dollars == unit.price_per_hour for one in found) else round(dollars / replicas, 6)
    if not used:
        return Price(price, PriceSource.FILE, None, problem)
    oldest = min(used, key=lambda quote: quote.at)
    return Price(price, oldest.source, oldest.at, problem)


@dataclass(frozen=True, slots=True)
class _Found:
    """The price of a replica, US dollars per hour, the quote that it is from, and why a quote was not used."""

    dollars: float
    quote: Quote | None = None
    problem: str = ""


def _of(unit: Unit, offering: Offering, placement: Placement, quotes: Quotes | None) -> _Found | None:
    """The price of a replica on an offering; None where nothing says one."""
    instance_type, _, capacity_type = offering
    by_file = price_of(unit, instance_type, placement.needs)
    kept = None if by_file is None else _Found(by_file)
    if quotes is None or capacity_type == _RESERVED:
        return kept
    quote = quotes.quote(offering)
    if quote is None:
        return kept
    dollars, known = (
        quote.dollars * placement.needs.pods / placement.needs.pods_on(instance_type),
        by_file if by_file is not None else unit.price_per_hour,
    )
    if math.isfinite(dollars) and known / PLAUSIBLE <= dollars <= known * PLAUSIBLE:
        return _Found(dollars, quote)
    problem = f"{quote.source} says ${dollars:.4g}/h a replica of {shown(instance_type)}, which is not plausible beside ${known:.4g}/h"
    return _Found(known, problem=problem)
