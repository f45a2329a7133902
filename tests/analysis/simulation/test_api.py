"""The API that actions are applied to: what a real one would refuse, it refuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.errors import Conflict, NotFound, StateError, Unavailable
from controller.policy.model import Action, ActionKind, Memory, Mode, Override
from controller.routing.annotations import NUDGED_AT
from controller.routing.conclusion import conclude
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.simulated_view import SimulatedView
from failover_analysis.simulation.variety import KINDS_PLAYED, behind_route
from tests.analysis.simulation.support import INF2, outage, setup
from tests.support.applications import application


def failover(kind: str = "Ingress") -> tuple[Engine, list[Action]]:
    """A world in which a failover is due, and the actions of its plan."""
    made = setup(outages=(outage(0.0, 4.0),))
    engine = Engine(made if kind == "Ingress" else replace(made, application=behind_route(made.application)), 1)
    engine.start()
    caught: list[Action] = []
    apply = engine.api.apply

    def keep(actions: Sequence[Action], *, deadline_s: float) -> None:
        caught.extend(actions)
        raise Unavailable("not yet")

    engine.api.apply = keep  # type: ignore[method-assign]
    while not any(action.kind is ActionKind.ROUTE for action in caught):
        engine.event_queue.run(engine.event_queue.now + 60)
    engine.api.apply = apply  # type: ignore[method-assign]
    return engine, caught


@pytest.mark.parametrize("kind", KINDS_PLAYED)
def test_the_routing_action_writes_what_the_body_says(kind: str) -> None:
    """Action and marker in one request, and the version grows."""
    engine, actions = failover(kind)
    action = next(one for one in actions if one.kind is ActionKind.ROUTE)
    version = engine.api.routing.version
    engine.api.apply([action], deadline_s=1)
    assert engine.api.routing.observed.marker == "capacity"
    assert engine.api.routing.observed.action == action.after
    assert engine.api.routing.version == version + 1


def test_an_annotation_of_ours_that_an_apply_does_not_name_is_taken_away() -> None:
    """As server-side apply does: a nudge ends with the next change."""
    engine, actions = failover()
    routing, (action,) = engine.api.routing, [one for one in actions if one.kind is ActionKind.ROUTE][:1]
    routing.route_elsewhere(action.before, {NUDGED_AT: "1"})
    routing.change(lambda obj: obj["metadata"]["annotations"].update({"theirs": "kept"}))
    body = json.loads(action.body)
    body["metadata"]["resourceVersion"] = str(routing.version)
    engine.api.apply([replace(action, body=json.dumps(body))], deadline_s=1)
    assert NUDGED_AT not in routing.annotations
    assert routing.annotations["theirs"] == "kept"


@pytest.mark.parametrize("kind", KINDS_PLAYED)
def test_another_version_or_another_object_of_that_name_is_a_conflict(kind: str) -> None:
    """What was decided about one object is never written to another."""
    engine, actions = failover(kind)
    action = next(one for one in actions if one.kind is ActionKind.ROUTE)
    engine.api.routing.edit(action.before, "kubectl")
    with pytest.raises(Conflict):
        engine.api.apply([action], deadline_s=1)
    engine.api.routing.delete()
    engine.api.routing.create(action.before, "argocd", Override())
    with pytest.raises(Conflict):
        engine.api.apply([action], deadline_s=1)


def test_a_patch_of_another_version_is_refused() -> None:
    """Its tests must hold, and nothing is written where one fails."""
    engine, actions = failover()
    action = next(one for one in actions if one.kind is ActionKind.SET_TARGET)
    body = json.loads(action.body)
    body[1]["value"] = "another version"
    with pytest.raises(Conflict, match="resourceVersion failed"):
        engine.api.apply([replace(action, body=json.dumps(body))], deadline_s=1)
    engine.api.apply([action], deadline_s=1)
    assert engine.api.scalers[action.unit].target == action.after


def test_a_scaled_object_that_is_gone_is_not_found() -> None:
    """Somebody deleted it."""
    engine, actions = failover()
    action = next(one for one in actions if one.kind is ActionKind.RAISE_FLOOR)
    engine.api.scalers[action.unit].exists = False
    with pytest.raises(NotFound):
        engine.api.apply([action], deadline_s=1)


def test_memory_is_stored_under_compare_and_swap_and_epoch() -> None:
    """As the ConfigMap is."""
    store, key = Store(FaultState()), application().key
    first = store.load(key)
    stored = store.save(key, Memory(mode=Mode.COST), over=first, epoch=2)
    assert store.load(key) == stored
    with pytest.raises(Conflict):
        store.save(key, Memory(mode=Mode.CAPACITY), over=first, epoch=2)
    with pytest.raises(Conflict, match="epoch"):
        store.save(key, Memory(mode=Mode.CAPACITY), over=stored, epoch=1)


def test_memory_that_cannot_be_read_says_so() -> None:
    """Unknown state holds; it is never guessed."""
    with pytest.raises(StateError):
        Store(FaultState(state_unreadable=True)).load(application().key)


def test_a_plan_of_a_quiet_world_is_empty() -> None:
    """The world starts with what cost mode asks for, so that nothing is due that no event explains."""
    made = setup()
    engine = Engine(made, 1)
    seen = SimulatedView(engine.world, made.application, engine.clock).snapshot(made.application, leader=True, epoch=1)
    assert conclude(Memory(), seen).plan.actions == ()
    assert seen.units[INF2].ready == 3
