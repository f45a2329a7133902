"""The search of the cheapest fleet against HiGHS, a solver of linear and integer programs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.policy.fleet.search import Offer, cheapest_fleet
from controller.policy.model import Needs
from tests.policy.drawn_fleets import drawn

pytest.importorskip("scipy", reason="scipy is of the bench group")


def solved(offers: Sequence[Offer], needs: Needs, *, whole: bool) -> float:
    """The least cost by HiGHS, with whole replicas or with fractions of them.

    A replica's price never falls from one step of its unit to the next, so each step is a variable of its own: the cheaper ones fill first.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    families = sorted({offer.family for offer in offers})
    steps = [
        (price, offer.family, offer.throughput, high - max(low, offer.least))
        for offer in offers
        for price, low, high in offer.steps()
        if high > max(low, offer.least)
    ]
    least = {family: sum(one.least * one.throughput for one in offers if one.family == family) for family in families}
    carried = sum(least.values())
    rows = [[throughput for _, _, throughput, _ in steps]]
    rows += [[0.0 if name == family else throughput for _, name, throughput, _ in steps] for family in families]
    lows = [needs.demand - carried]
    for family in families:
        most = sum(one.most * one.throughput for one in offers if one.family != family)
        lows.append(min(needs.without_any, most) - (carried - least[family]))
    found = milp(
        [price for price, *_ in steps],
        integrality=[int(whole)] * len(steps),
        bounds=Bounds(0.0, [width for *_, width in steps]),
        constraints=LinearConstraint(rows, lows),
        options={"mip_rel_gap": 0.0},
    )
    assert found.success
    return float(found.fun) + sum(offer.cost(offer.least) for offer in offers)


@pytest.mark.parametrize("seed", range(60))
def test_fleet_and_bound_are_those_of_a_solver(seed: int) -> None:
    """The fleet is the cheapest; cut short at once, its certificate is the program with fractions of replicas."""
    offers, needs = drawn(seed)
    best, first = cheapest_fleet(offers, needs), cheapest_fleet(offers, needs, nodes=0)
    assert best.cost == best.least_cost == pytest.approx(solved(offers, needs, whole=True))
    assert first.least_cost == pytest.approx(min(first.cost, solved(offers, needs, whole=False)))
