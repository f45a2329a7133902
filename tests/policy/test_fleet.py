"""The cheapest fleet: the search against an enumeration of every fleet."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.policy.fleet.search import Offer, cheapest_fleet
from controller.policy.model import Fleet, Needs
from tests.policy.drawn_fleets import drawn

THROUGHPUTS = st.sampled_from((60.0, 61.0, 90.0, 105.0, 130.0, 1.5))
PRICES = st.sampled_from((0.7582, 0.8048, 1.006, 1.3438, 2.0))


@st.composite
def offered(draw: st.DrawFn) -> tuple[Offer, ...]:
    """One to four units of up to three families, of which some may start in time; spot instances of up to two pools a family."""
    offers = []
    for number in range(draw(st.integers(1, 4))):
        least, family, pool = draw(st.integers(0, 2)), draw(st.sampled_from("abc")), draw(st.sampled_from(("", "", "x", "y")))
        offers.append(
            Offer(
                name=f"unit-{number}",
                family=family,
                pool=pool and f"{family} spot in {pool}",
                soon=draw(st.sampled_from((0, 0, 3, 9))),
                throughput=draw(THROUGHPUTS),
                price=draw(PRICES),
                least=least,
                most=least + draw(st.integers(0, 4)),
                present=draw(st.integers(0, 6)),
                paid=draw(st.sampled_from((0, 0, 2))),
                start=draw(st.sampled_from((0.0, 1 / 6, 0.5))),
                stop=draw(st.sampled_from((0.0, 1 / 6, 1.0))),
            )
        )
    return tuple(offers)


def carried(offers: Sequence[Offer], counts: Sequence[int], without: str | None = None) -> float:
    """What replicas carry, without those of a family or a pool."""
    return sum(
        count * offer.throughput
        for count, offer in zip(counts, offers, strict=True)
        if without is None or without not in {offer.family, offer.pool}
    )


def survived(offers: Sequence[Offer], needs: Needs) -> set[str]:
    """What the fleet must survive the loss of: each family, or its pools, where others may make up for it in time or can never do so."""
    soon, most = [offer.soon for offer in offers], [offer.most for offer in offers]
    good = {offer.family for offer in offers if 0 < needs.without_any <= carried(offers, soon, offer.family) * (1 + 1e-9)}
    fatal = {offer.family for offer in offers if needs.without_any > carried(offers, most, offer.family) * (1 + 1e-9)} - good
    apart = {offer.family for offer in offers if offer.pool} & (good | fatal)
    return {offer.pool if offer.family in good | apart else offer.family for offer in offers} - {""}


def enumerated(offers: Sequence[Offer], needs: Needs) -> float:
    """The least cost of all fleets that meet the needs, as far as these can be met."""
    most = [offer.most for offer in offers]
    slack = 1e-9 * max(1.0, carried(offers, most))  # what the search takes for equal: less than any demand that a metric shows
    demand = min(needs.demand, carried(offers, most)) - slack
    left = {lost: min(needs.without_any, carried(offers, most, lost)) - slack for lost in survived(offers, needs)}
    return min(
        sum(offer.cost(count) for count, offer in zip(counts, offers, strict=True))
        for counts in itertools.product(*(range(offer.least, offer.most + 1) for offer in offers))
        if carried(offers, counts) >= demand and all(carried(offers, counts, lost) >= need for lost, need in left.items())
    )


def needed(offers: Sequence[Offer], of_all: float, share: float) -> Needs:
    demand = of_all * carried(offers, [offer.most for offer in offers])
    return Needs(demand, share * demand)


@settings(max_examples=150, deadline=None)
@example((Offer("unit-0", "a", throughput=1.5, price=0.7582, least=0, most=1),), 6e-8, 0.0)
@given(offered(), st.floats(0, 1.2), st.sampled_from((0.0, 0.5, 0.8, 1.0)))
def test_no_fleet_that_meets_the_needs_is_cheaper(offers: tuple[Offer, ...], of_all: float, share: float) -> None:
    """The search finds what the enumeration finds, and its certificate says so."""
    needs = needed(offers, of_all, share)
    found = cheapest_fleet(offers, needs)
    assert found.cost == pytest.approx(enumerated(offers, needs), abs=1e-6)
    assert found.least_cost == found.cost


@settings(max_examples=60, deadline=None)
@given(offered(), st.floats(0, 1.2), st.sampled_from((0.0, 0.8)))
def test_a_fleet_meets_its_needs(offers: tuple[Offer, ...], of_all: float, share: float) -> None:
    """Counts stay within the offers; what is carried, and left without a family, is what the fleet says, and enough unless it says so."""
    needs = needed(offers, of_all, share)
    found = cheapest_fleet(offers, needs)
    counts = [found.replicas[offer.name] for offer in offers]
    assert all(offer.least <= count <= offer.most for count, offer in zip(counts, offers, strict=True))
    assert found.carried == pytest.approx(carried(offers, counts))
    assert found.left == {lost: pytest.approx(carried(offers, counts, lost)) for lost in found.left}
    assert found.left.keys() == {offer.family for offer in offers} | survived(offers, needs)
    if not found.short:
        assert found.carried >= needs.demand - 1e-6
        assert all(found.left[lost] >= needs.without_any - 1e-6 for lost in survived(offers, needs))


SEED = (
    Offer("inf2", "inf2", 105, 0.7582, 1, 100),
    Offer("trn1", "trn1", 130, 1.3438, 1, 100),
    Offer("g5-triton", "g5", 90, 1.0060, 1, 100),
    Offer("g6-triton", "g6", 61, 0.8048, 1, 100),
    Offer("g5-cuda", "g5", 60, 1.0060, 1, 100),
)
"""The AWS sample's units."""


def test_the_cheapest_unit_takes_it_all_where_no_loss_is_planned_for() -> None:
    """Without the condition the fleet is all inf2 but for one replica each; with it no family carries too much."""
    plain, safe = cheapest_fleet(SEED, Needs(2_000, 0)), cheapest_fleet(SEED, Needs(2_000, 1_600))
    assert plain.replicas == {"inf2": 16, "trn1": 1, "g5-triton": 1, "g6-triton": 1, "g5-cuda": 1}
    assert plain.left["inf2"] < 400
    assert min(safe.left.values()) >= 1_600
    assert safe.price > plain.price


def test_pools_are_survived_where_the_loss_of_their_family_cannot_be() -> None:
    """Nothing but inf2: its loss is fatal, and that of one zone still takes no more than the rest can bear."""
    spot = [Offer(f"spot-{zone}", "inf2", 100.0, 0.4, 0, 10, pool=f"inf2 spot in {zone}") for zone in "ab"]
    found = cheapest_fleet((*spot, Offer("on-demand", "inf2", 100.0, 1.0, 0, 10)), Needs(1_000.0, 800.0))
    assert found.replicas == {"spot-a": 8, "spot-b": 8, "on-demand": 0}
    assert found.left == {"inf2 spot in a": 800.0, "inf2 spot in b": 800.0, "inf2": 0.0}
    assert found.short


def test_a_short_unit_gets_no_replica_more_than_it_has() -> None:
    """What may not grow stays, and the others carry the rest."""
    found = cheapest_fleet((replace(SEED[0], most=3), *SEED[1:]), Needs(1_000, 0))
    assert found.replicas["inf2"] == 3
    assert found.carried >= 1_000
    assert not found.short


def test_what_cannot_be_carried_is_named() -> None:
    """The fleet is then everything that carries more."""
    found = cheapest_fleet([replace(offer, most=2) for offer in SEED], Needs(5_000, 4_000))
    assert found.short
    assert set(found.replicas.values()) == {2}


def test_a_replica_that_runs_stays_where_another_is_hardly_cheaper() -> None:
    """The price of a start keeps noise and small differences of price from replacing replicas; a great difference does."""
    old, new = Offer("old", "a", 100, 1.0, 0, 10, present=5, start=0.2), Offer("new", "b", 100, 0.9, 0, 10, start=0.2)
    assert cheapest_fleet((old, new), Needs(500, 0)).replicas == {"old": 5, "new": 0}
    assert cheapest_fleet((old, replace(new, price=0.7)), Needs(500, 0)).replicas == {"old": 0, "new": 5}


def test_a_replica_that_goes_is_paid_for_a_while() -> None:
    """What it costs after it is needed no more keeps it where another is hardly cheaper; where nothing takes its place it goes."""
    old, new = Offer("old", "a", 100, 1.0, 0, 10, present=5, stop=0.2), Offer("new", "b", 100, 0.9, 0, 10)
    assert cheapest_fleet((old, new), Needs(500, 0)).replicas == {"old": 5, "new": 0}
    assert cheapest_fleet((old, replace(new, price=0.7)), Needs(500, 0)).replicas == {"old": 0, "new": 5}
    assert cheapest_fleet((replace(old, stop=1.0), new), Needs(200, 0)).replicas == {"old": 2, "new": 0}


def test_reserved_replicas_are_used_first() -> None:
    """They are paid already."""
    reserved = replace(SEED[1], paid=4)
    found = cheapest_fleet((SEED[0], reserved), Needs(520, 0))
    assert found.replicas["trn1"] == 4
    assert found.price == pytest.approx(0.7582)


def test_a_search_that_is_cut_short_says_how_far_off_it_may_be() -> None:
    """It still meets the needs."""
    found = cheapest_fleet(SEED, Needs(2_345, 1_876), nodes=0)
    best = cheapest_fleet(SEED, Needs(2_345, 1_876))
    assert found.least_cost <= best.cost <= found.cost
    assert min(found.left.values()) >= 1_876


@pytest.mark.parametrize(
    "offer",
    [
        replace(SEED[0], price=0.0),
        replace(SEED[0], price=math.nan),
        replace(SEED[0], throughput=0.0),
        replace(SEED[0], stop=1.1),
        replace(SEED[0], throughput=math.inf),
        replace(SEED[0], least=-1),
        replace(SEED[0], most=0),
    ],
)
def test_an_impossible_offer_is_an_error(offer: Offer) -> None:
    """Nothing is planned from it."""
    with pytest.raises(ValueError, match="inf2"):
        cheapest_fleet([offer], Needs(1, 0))


@pytest.mark.parametrize("needs", [Needs(math.nan, 0), Needs(-1, 0), Needs(math.inf, 0), Needs(1, math.inf)])
def test_impossible_needs_are_an_error(needs: Needs) -> None:
    """So is a demand that is no number."""
    with pytest.raises(ValueError, match="needs"):
        cheapest_fleet(SEED, needs)


def test_no_unit_carries_nothing() -> None:
    """An empty fleet is short of any demand."""
    found = cheapest_fleet((), Needs(1, 0))
    assert found == Fleet({}, 0.0, 0.0, 0.0, 0.0, {}, short=True)


def test_a_replica_that_carries_next_to_nothing_goes() -> None:
    """However many times its throughput what can be spared is: more than any float."""
    offers = Offer("a", "x", 5e-324, 1.0, 0, 5), Offer("b", "y", 100.0, 2.0, 0, 5)
    assert cheapest_fleet(offers, Needs(100.0, 0.0)).replicas == {"a": 0, "b": 1}


@pytest.mark.parametrize(
    ("needs", "short"),
    [
        pytest.param(Needs(300, 100), False, id="all that may be had"),
        pytest.param(Needs(301, 0), True, id="a request more"),
        pytest.param(Needs(0, 101), True, id="a request more without the first family"),
        pytest.param(Needs(300 * (1 + 5e-10), 100 * (1 + 5e-10)), False, id="what binary fractions leave"),
    ],
)
def test_the_last_request_that_may_be_had(needs: Needs, *, short: bool) -> None:
    """A person who raises limits must see which fleets lack replicas, and must not be sent to limits that suffice."""
    found = cheapest_fleet((Offer("a", "a", 100, 1.0, 0, 2), Offer("b", "b", 50, 1.0, 0, 2)), needs)
    assert found.short is short


@pytest.mark.parametrize(
    ("seed", "bound", "first", "best", "nodes"),
    [
        (4, 81.425848, 81.644600, 81.644600, 13),
        (30, 29.049348, 29.663000, 29.283900, 153),
        (47, 73.274488, 74.372000, 74.372000, 193),
        (83, 86.281009, 87.441267, 86.662933, 165),
        (85, 155.224601, 155.546400, 155.546400, 1),
        (93, 33.006200, 33.975367, 33.844067, 153),
        (94, 50.575751, 50.926933, 50.926933, 5),
        (175, 255.812400, 255.812400, 255.812400, 0),
        (193, 144.912785, 145.689667, 145.522000, 117),
        (218, 42.695445, 43.268900, 43.268900, 109),
        (226, 63.339758, 63.966300, 63.966300, 17),
        (227, 58.945847, 59.195000, 59.195000, 25),
        (235, 65.553856, 66.058867, 66.058867, 1),
        (238, 55.794655, 56.043867, 56.043867, 3),
        (265, 66.814461, 67.417067, 67.417067, 89),
        (272, 98.348885, 98.471000, 98.471000, 133),
        (277, 68.580696, 69.242400, 69.242400, 9),
        (281, 41.230515, 41.938300, 41.938300, 7),
        (337, 64.925167, 64.925167, 64.925167, 0),
        (349, 48.390545, 49.413333, 49.413333, 5),
        (350, 64.507207, 66.015800, 66.015800, 37),
        (376, 91.777631, 92.284967, 92.284967, 1),
        (392, 46.398368, 46.946667, 46.846067, 131),
        (398, 62.368677, 62.523400, 62.523400, 93),
    ],
)
def test_the_search_ends_within_as_many_nodes_as_it_needed(seed: int, bound: float, first: float, best: float, nodes: int) -> None:
    """A looser bound, a worse first fleet or another choice of what to branch on needs more, and there are a thousand applications.

    Bound and optimum are those of HiGHS: tests/research/test_fleet.py compares others with it.
    """
    offers, needs = drawn(seed)
    at_once, found = cheapest_fleet(offers, needs, nodes=0), cheapest_fleet(offers, needs, nodes=nodes)
    assert (at_once.least_cost, at_once.cost) == pytest.approx((bound, first), abs=2e-6)
    assert found.cost == found.least_cost == pytest.approx(best, abs=2e-6)
    if nodes:
        assert cheapest_fleet(offers, needs, nodes=nodes - 1).least_cost < found.cost
