"""An HTTPRoute in the place of the Ingress: the same faults and invariants, and what only a route can suffer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ConfigError
from controller.policy.model import Decision, Mode
from controller.policy.reasons import Reason
from failover_analysis.simulation.faults import FAULTS
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import find, load, written_out
from failover_analysis.simulation.setup import Setup
from failover_analysis.simulation.variety import ROUTE, behind_route
from tests.analysis.simulation.support import HOUR, fault, outage, setup

OF_ROUTES = [name for name, kind in FAULTS.items() if kind.of_routes]
WORLD = "month"


def routed(**changes: object) -> Setup:
    """A world with an outage behind a route."""
    made = setup(outages=(outage(0.25, 1.5),), seconds=3 * HOUR)
    return replace(replace(made, application=behind_route(made.application)), **changes)  # type: ignore[arg-type]


def played(made: Setup) -> tuple[list[tuple[Mode, str]], list[Decision]]:
    """The mode changes with their reasons, and every decision."""
    simulation, decisions = Simulation(made, 1), list[Decision]()
    decide = simulation.recorder.decided

    def decided(replica: object, conclusion: object) -> None:
        decisions.append(conclusion.decision)  # type: ignore[attr-defined]
        decide(replica, conclusion)  # type: ignore[arg-type]

    simulation.recorder.decided = decided  # type: ignore[method-assign]
    result = simulation.run()
    assert not result.violations
    return [(change.to, change.reason) for change in result.mode_changes], decisions


def test_a_shortage_leads_to_capacity_mode_and_back() -> None:
    """And the load balancer follows: the route's rule is what it serves."""
    changes, _ = played(routed(seconds=6 * HOUR))
    assert [mode for mode, _ in changes] == [Mode.CAPACITY, Mode.COST]


@pytest.mark.parametrize("name", ["ingress-recreated", "action-edited", "action-broken", "unit-service-deleted", *OF_ROUTES])
def test_what_happens_to_a_route_breaks_nothing(name: str) -> None:
    """In either mode; afterwards the world is as it would have been."""
    changes, _ = played(routed(seconds=6 * HOUR, faults=(fault(name, 0.1, 0.05), fault(name, 1.0, 0.2), fault(name, 3.5, 0.2))))
    assert changes[-1][0] is Mode.COST


@pytest.mark.parametrize("name", ["route-refused", "other-rule-overweight"])
def test_a_failover_waits_until_the_load_balancer_would_follow(name: str) -> None:
    """A mode change that reaches no request would only move the replicas away."""
    changes, decisions = played(routed(faults=(fault(name, 0.7, 0.3),)))
    assert changes[0] == (Mode.CAPACITY, Reason.SHORTAGE_PROVEN)
    assert any(one.reason is Reason.ROUTING_BLOCKED for one in decisions)


@pytest.mark.parametrize("name", ["other-rule-added", "other-rule-unresolved"])
def test_another_rule_does_not_hold_a_failover(name: str) -> None:
    """Nor does it move the write to the wrong rule: the first one is somebody else's now."""
    changes, decisions = played(routed(faults=(fault(name, 0.7, 0.3),)))
    assert changes[0] == (Mode.CAPACITY, Reason.SHORTAGE_PROVEN)
    assert all(one.reason is not Reason.ROUTING_BLOCKED for one in decisions)


def test_the_capacity_service_of_a_route_that_is_deleted_costs_seconds() -> None:
    """The load balancer answers 500, and cost mode has healthy targets."""
    changes, _ = played(routed(outages=(outage(0.25, 3),), faults=(fault("capacity-service-deleted", 1.5, 0.5),)))
    assert changes[:2] == [(Mode.CAPACITY, Reason.SHORTAGE_PROVEN), (Mode.COST, Reason.NOTHING_ANSWERS)]


def test_an_ingress_has_none_of_the_routes_faults() -> None:
    """Somebody may write one into the file of such a world all the same."""
    made = setup(outages=(outage(0.25, 1.5),), seconds=3 * HOUR)
    plain, _ = played(made)
    assert played(replace(made, faults=tuple(fault(name, 1.0, 0.1) for name in OF_ROUTES if name != "marker-removed")))[0] == plain


def test_the_seed_draws_the_kind_and_nothing_else_with_it() -> None:
    """Else a change of the share would change every world."""
    world = load(find(WORLD))
    as_ingress = replace(world, file=world.file.model_copy(update={"routing": "Ingress"}))
    drawn = [(world.setup(seed, days=3, random_faults=True), as_ingress.setup(seed, days=3, random_faults=True)) for seed in range(1, 31)]
    kinds = [one.application.route.kind for one, _ in drawn]
    assert 5 < kinds.count(ROUTE) < 15
    for ours, other in drawn:
        assert replace(ours.application, route=other.application.route) == other.application
        assert [plan for plan in ours.faults if plan.name not in OF_ROUTES] == [*other.faults]
        assert ours.outages == other.outages
        assert {plan.name for plan in ours.faults if plan.name in OF_ROUTES} == set() or ours.application.route.kind == ROUTE


def test_a_saved_world_keeps_its_route(tmp_path: Path) -> None:
    """The file says the kind, so that the run stays the same when the drawing changes."""
    world = load(find(WORLD))
    seed = next(seed for seed in range(1, 31) if world.setup(seed, random_faults=True).application.route.kind == ROUTE)
    drawn = world.setup(seed, days=5, random_faults=True)
    path = tmp_path / "world.yaml"
    path.write_text(written_out(world, drawn, seed, tmp_path))
    again = load(path).setup(seed)
    assert again.application == drawn.application
    assert [one.name for one in again.faults] == [one.name for one in drawn.faults]


def test_a_kind_that_is_not_played_is_refused(tmp_path: Path) -> None:
    """Instead of a world whose load balancer would do something else."""
    world = load(find(WORLD))
    text = written_out(world, world.setup(1, days=1), 1, tmp_path)
    path = tmp_path / "world.yaml"
    path.write_text(text.replace("routing: Ingress", "routing: GRPCRoute"))
    with pytest.raises(ConfigError, match="routing"):
        load(path)
