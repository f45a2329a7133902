"""What short units cannot serve and where it goes, as exact numbers that were computed by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from controller.policy.account import Absorption, Figures, absorption
from controller.policy.model import Application, PolicySettings, Shortage, UnitEvidence, WeightStrategy
from tests.support.applications import application, seed_units, snapshot

A, B, C = "a", "b", "c"
UNITS = {A: (100.0, 50), B: (50.0, 30), C: (10.0, 20)}  # requests per metric period of a replica, and the weight


def _application(scale: float, policy: PolicySettings) -> Application:
    units = tuple(
        replace(seed, name=name, throughput=scale * throughput, weight=weight)
        for seed, (name, (throughput, weight)) in zip(seed_units(), UNITS.items(), strict=False)
    )
    return application(units=units, policy=policy)


@dataclass(frozen=True)
class Case:
    """Serving replicas by unit, None where not known; the unit A is short, and the others can serve."""

    serving: tuple[int | None, int | None, int | None]
    demand: float = 500.0
    limit: float = 1.1
    able: frozenset[str] = frozenset({B, C})
    short: frozenset[str] = frozenset({A})
    weights: Mapping[str, int] = field(default_factory=dict)
    strategy: WeightStrategy = WeightStrategy.EXPLICIT

    def absorbed(self, scale: float) -> Absorption | None:
        """What is absorbed, of replicas that are faster or slower by a factor, and of a demand that is, too."""
        app = _application(scale, PolicySettings(failover_utilization=self.limit, weight_strategy=self.strategy))
        app = replace(app, units=tuple(replace(unit, weight=self.weights.get(unit.name, unit.weight)) for unit in app.units))
        serving = {name: count for name, count in zip(UNITS, self.serving, strict=True) if count is not None}
        figures = Figures(scale * self.demand, {}, serving, {}, {A: 7}, frozenset(), {})
        evidence = {
            name: UnitEvidence(name, Shortage.PROVEN if name in self.short else Shortage.NONE, can_serve=name in self.able)
            for name in UNITS
        }
        return absorption(snapshot(app), figures, evidence)


def _of(unmet: float, spare: float, utilization: float, weights: tuple[int, int, int], *cut: str) -> Absorption:
    return Absorption(unmet, spare, utilization, dict(zip(UNITS, weights, strict=True)), frozenset(cut))


@pytest.mark.parametrize(
    ("case", "fits", "meant"),
    [
        pytest.param(
            # A serves 200 of its 250. The others carry 600 and have 250, so 350 are free: a seventh of each one's room is filled.
            Case((2, 8, 20)),
            True,
            _of(50, 350, 300 / 600, (40, 37, 23), A),
            id="the others have room at their rated throughput",
        ),
        pytest.param(
            # At 100 % 50 are left and 40 free, at 102 % 46 and 45.8, at 104 % 42 and 51.6.
            Case((2, 3, 14)),
            True,
            _of(42, 51.6, 292 / 290, (42, 31, 27), A),
            id="at the least load at which they have",
        ),
        pytest.param(
            # At 106 % 38 are left and 36.2 free, at 108 % 34 and 41.6.
            Case((2, 3, 12)),
            True,
            _of(34, 41.6, 284 / 270, (43, 32, 25), A),
            id="at the last load before the limit",
        ),
        pytest.param(Case((2, 4, 10)), True, _of(50, 50, 1.0, (40, 40, 20), A), id="just as much room as is missing"),
        pytest.param(Case((0, 3, 14)), False, _of(250, 69, 500 / 290, (0, 41, 59)), id="not even at the limit: 165 and 154"),
        pytest.param(Case((0, 8, 20)), True, _of(250, 350, 500 / 600, (0, 66, 34)), id="all of it"),
        pytest.param(Case((2, 8, 20), able=frozenset()), False, _of(30, 0, math.inf, (47, 32, 21), A), id="nobody can serve"),
        pytest.param(Case((0, 0, 0)), False, _of(500, 0, math.inf, (100, 0, 0)), id="nothing serves anywhere"),
        pytest.param(Case((3, 8, 20)), True, _of(0, 350, 250 / 600, (50, 30, 20)), id="what is left of it is enough"),
        pytest.param(
            # B carries 100, of which 133 would be its part: 500 are split by 50 to 26.7 to 20.
            Case((3, 2, 20)),
            True,
            _of(0, 200 - 500 * 3 / 14.5, 500 * 3 / 14.5 / 200, (52, 27, 21)),
            id="another one lacks replicas, too",
        ),
        pytest.param(Case((3, 8, 20), weights={A: 5, B: 3, C: 2}), True, _of(0, 350, 250 / 600, (5, 3, 2)), id="weights stay as written"),
        pytest.param(Case((9, 8, 20)), True, _of(0, 350, 250 / 600, (50, 30, 20)), id="it serves more than all of the demand"),
        pytest.param(Case((0, 8, 20), demand=0.0), True, _of(0, 600, 0.0, (50, 30, 20)), id="no demand"),
        pytest.param(Case((2, 8, None)), True, _of(50, 250, 200 / 400, (40, 40, 20), A), id="nothing is known of C"),
        pytest.param(Case((2, 8, 20), weights={C: 0, B: 50}), True, _of(50, 150, 300 / 400, (40, 60, 0), A), id="no weight"),
        pytest.param(Case((2, 8, 20), limit=0.8), True, _of(90, 230, 340 / 600, (32, 43, 25), A), id="a limit below 100 %"),
        pytest.param(
            # At the limit A lacks 30 and B 95; C may serve 220 and has 100.
            Case((2, 1, 20), short=frozenset({A, B}), able=frozenset({C})),
            False,
            _of(125, 120, 225 / 200, (44, 11, 45), A, B),
            id="two are short",
        ),
    ],
)
def test_where_the_traffic_of_a_short_unit_goes(case: Case, *, fits: bool, meant: Absorption) -> None:
    """Too much room and the others answer late or not at all; too little and every request pays the price of capacity mode."""
    for scale in (2.0**-10, 1.0):
        found = case.absorbed(scale)
        assert found is not None
        assert found.fits is fits
        assert [found.unmet, found.spare] == pytest.approx([scale * meant.unmet, scale * meant.spare])
        assert found.utilization == pytest.approx(meant.utilization)
        assert (found.weights, found.cut) == (meant.weights, meant.cut)


@pytest.mark.parametrize(
    ("case", "fits", "unmet", "utilization"),
    [
        pytest.param(Case((2, 3, 14)), True, 0.0, 500 / 490, id="within the limit: 539"),
        pytest.param(Case((2, 3, 14), limit=1.0), False, 10.0, 500 / 490, id="beyond it"),
        pytest.param(Case((2, 3, 14), able=frozenset({C})), False, 500 - 374.0, 500 / 340, id="what cannot serve does not count"),
        pytest.param(Case((0, None, 0)), False, 500.0, math.inf, id="nothing serves"),
        pytest.param(Case((0, 0, 0), demand=0.0), True, 0.0, math.inf, id="nothing serves, and nothing is asked"),
    ],
)
def test_weights_that_follow_what_is_ready_leave_the_sum(case: Case, *, fits: bool, unmet: float, utilization: float) -> None:
    """They send nothing to what is not ready; only whether all of it is enough decides between a wait and a failover."""
    for scale in (2.0**-10, 1.0):
        found = replace(case, strategy=WeightStrategy.READY_PROPORTIONAL).absorbed(scale)
        assert found == Absorption(pytest.approx(scale * unmet), 0.0, pytest.approx(utilization), {A: 7}, frozenset())  # type: ignore[arg-type]
        assert found.fits is fits


def test_where_nothing_can_be_said() -> None:
    """No unit with traffic is short, or nobody knows what a short one serves: the shortage decides then, as without any room."""
    assert Case((2, 8, 20), short=frozenset()).absorbed(1.0) is None
    assert Case((2, 8, 20), weights={A: 0}).absorbed(1.0) is None
    assert Case((None, 8, 20)).absorbed(1.0) is None
