"""What a replica costs: by the first source that knows, where it is plausible, else by the application file."""

from __future__ import annotations

import math

import pytest

from controller.policy.account import price_words
from controller.policy.evidence import Offering
from controller.policy.model import Price, PriceSource, Snapshot
from controller.signals.prices import KEPT_S, PLAUSIBLE, FirstKnown, Quote, Quotes
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from tests.signals.samples import requirement
from tests.signals.test_launchable import APP, FAMILY, INF2, T0, Cluster
from tests.signals.test_snapshots import FRESH

ZONE, CAPACITY = "topology.kubernetes.io/zone", "karpenter.sh/capacity-type"
FILE = INF2.price_per_hour


class Book:
    """A source that knows some prices."""

    def __init__(self, prices: dict[Offering, float], source: PriceSource = PriceSource.KARPENTER) -> None:
        self._prices, self._source = prices, source

    def quote(self, offering: Offering) -> Quote | None:
        found = self._prices.get(offering)
        return None if found is None else Quote(found, self._source, T0 - 60)


def seen(cluster: Cluster, quotes: Quotes | None) -> Snapshot:
    """The snapshot with these sources of prices."""
    external = ExternalSignals(prices=quotes)
    return SnapshotBuilder(cluster.view, [APP]).build(APP, cluster.clock.now(), FRESH, external, leader=True, epoch=1)


def price(cluster: Cluster, quotes: Quotes | None) -> Price:
    """The price of a replica; decisions have the same."""
    snapshot = seen(cluster, quotes)
    found = snapshot.units[INF2.name].price
    assert found is not None
    assert snapshot.application.unit(INF2.name).price_per_hour == found.dollars
    return found


def cluster(*launched: tuple[str, str, str], capacity_types: tuple[str, ...] = (), ready: int = 0) -> Cluster:
    """A NodePool with some nodes: type, zone and capacity type of each."""
    made = Cluster()
    more = (requirement(CAPACITY, *capacity_types),) if capacity_types else ()
    made.pool(requirement(FAMILY, "inf2"), *more)
    made.deployment(ready=ready)
    for number, (kind, zone, capacity) in enumerate(launched):
        made.launch(f"inf2-{number:05}", kind, T0, **{ZONE: zone, CAPACITY: capacity})
    return made


def test_each_node_costs_what_its_offering_costs() -> None:
    """A spot instance in one zone, an on-demand one in another, and their average."""
    made = cluster(("inf2.xlarge", "us-west-2a", "spot"), ("inf2.xlarge", "us-west-2b", "on-demand"))
    book = Book({("inf2.xlarge", "us-west-2a", "spot"): 0.25, ("inf2.xlarge", "us-west-2b", "on-demand"): 0.75})
    assert price(made, book) == Price(0.5, PriceSource.KARPENTER, T0 - 60)


def test_a_large_node_costs_a_replica_its_share() -> None:
    """Six devices, one each."""
    made = cluster(("inf2.24xlarge", "us-west-2a", "on-demand"))
    assert price(made, Book({("inf2.24xlarge", "us-west-2a", "on-demand"): 6.0})).dollars == 1.0


def test_without_a_source_nothing_changes() -> None:
    """The application file's price, and no sentence about it."""
    made = cluster(("inf2.xlarge", "us-west-2a", "spot"))
    assert price(made, None) == price(made, Book({})) == Price(FILE, PriceSource.FILE, None)
    assert price_words(price(made, None), T0) == ()


@pytest.mark.parametrize(
    "dollars",
    [0.0, -1.0, math.nan, math.inf, FILE * PLAUSIBLE * 1.01, FILE / PLAUSIBLE / 1.01],
    ids=["nothing", "negative", "not a number", "infinite", "far above", "far below"],
)
def test_a_price_that_is_not_plausible_is_not_used(dollars: float) -> None:
    """The account and the weights would follow it. The page says so."""
    made = cluster(("inf2.xlarge", "us-west-2a", "on-demand"))
    found = price(made, Book({("inf2.xlarge", "us-west-2a", "on-demand"): dollars}))
    assert (found.dollars, found.source, found.at) == (FILE, PriceSource.FILE, None)
    assert "not plausible" in found.problem
    (words,) = price_words(found, T0)
    assert words.startswith("the application file's price counts: karpenter says $")
    assert words in seen(made, Book({("inf2.xlarge", "us-west-2a", "on-demand"): dollars})).units[INF2.name].notes


def test_a_reserved_instance_costs_what_the_file_says() -> None:
    """Karpenter gives it a price of almost nothing, so that it is used first. It is paid all the same."""
    made = cluster(("inf2.xlarge", "us-west-2a", "reserved"))
    assert price(made, Book({("inf2.xlarge", "us-west-2a", "reserved"): 7.5e-8})) == Price(FILE, PriceSource.FILE, None)


@pytest.mark.parametrize(
    ("capacity_types", "expected"),
    [
        pytest.param((), Price(FILE, PriceSource.FILE, None), id="not said: Karpenter asks for spot first"),
        pytest.param(("on-demand",), Price(0.8, PriceSource.KARPENTER, T0 - 60), id="on demand alone"),
        pytest.param(("on-demand", "spot"), Price(FILE, PriceSource.FILE, None), id="nobody knows which"),
    ],
)
def test_a_unit_without_a_node_costs_what_would_be_launched(capacity_types: tuple[str, ...], expected: Price) -> None:
    """So that the cheapest fleet counts with it before there is one."""
    assert price(cluster(capacity_types=capacity_types), Book({("inf2.xlarge", "", "on-demand"): 0.8})) == expected


def test_the_first_source_that_knows_gives_the_price() -> None:
    """Karpenter knows spot prices too, so it comes first; the price list serves the rest."""
    offering = ("inf2.xlarge", "us-west-2a", "on-demand")
    karpenter, listed = Book({offering: 0.7}), Book({offering: 0.9}, PriceSource.PRICE_LIST)
    made = cluster(offering)
    assert price(made, FirstKnown((karpenter, listed))).source is PriceSource.KARPENTER
    found = price(made, FirstKnown((Book({}), listed)))
    assert found == Price(0.9, PriceSource.PRICE_LIST, T0 - 60)
    assert price_words(found, T0) == ("a replica costs $0.9/h: AWS's price list, read 1 min ago",)
    assert KEPT_S == 86_400
