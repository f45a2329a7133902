"""Objects full of garbage for 24 hours, one kind after the other and all together, as the API server's schemas would let it through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from controller.clients.kube import RESOURCES
from controller.policy.model import ActionKind, Mode
from controller.policy.reasons import Reason
from controller.routing.conclusion import conclude
from tests.signals.hostile import APP, Entry, World, everywhere
from tests.support.applications import memory
from tests.support.healthy import Healthy

TEXTS: Final = (
    "\x1b[31m\u202e" + "eyJ" * 40, "Infinity", "NaN", "-1", "9" * 400, "9999-12-31T23:59:59-23:59", "2026-08-25T10:00:00.9999",
)  # fmt: skip
INTEGERS: Final = (-1, 0, 1, 2**31 - 1, -(2**31), 2**63 - 1)
KINDS: Final = ("Deployment", "EndpointSlice", "Ingress", "ScaledObject", "Service", "TargetGroupBinding", "all")
PASSES: Final = 4 * len(TEXTS) * len(INTEGERS)  # each text with each number, four times: one in about nine minutes
REPLICAS: Final = 2


def _objects(mode: Mode) -> list[Entry]:
    healthy = Healthy(APP, mode)
    kinds = {one.name: one.kind for one in RESOURCES.values()}
    found: list[Entry] = [("Ingress", healthy.ingress), *((kinds[name], obj) for name, listed in healthy.listed.items() for obj in listed)]
    for kind, obj in found:
        if kind == "Deployment":
            obj["status"] = {"replicas": REPLICAS, "readyReplicas": REPLICAS}
    return found


def _garbage(number: int) -> Callable[[object], object]:
    """Another value of the same type: another type the API server refuses."""

    def new(value: Any) -> object:
        if isinstance(value, bool):
            return not value
        return INTEGERS[number % len(INTEGERS)] if isinstance(value, int) else TEXTS[number % len(TEXTS)]

    return new


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", KINDS)
def test_garbage_for_a_day_moves_no_traffic_and_lowers_nothing(kind: str, mode: Mode) -> None:
    """No weight changes, no floor sinks, no target is set but those of the mode; the first pass after it decides as the one before it.

    A floor that garbage hides may be raised again, to the replicas that the mode needs.
    """
    base, world = _objects(mode), World()
    for one, obj in base:
        world.give(one, obj)
    before = conclude(memory(mode), world.snapshot())
    usual = {(action.kind, action.name, action.after) for action in before.plan.actions}
    remembered = before.memory
    for number in range(PASSES):
        world.clock.advance(86_400 / PASSES)
        for one, obj in base:
            if kind in {one, "all"}:
                world.give(one, everywhere(obj, _garbage(number)), "MODIFIED")
        made = conclude(remembered, world.snapshot())
        remembered = made.memory
        # What is written as it stands only makes the load-balancer controller reconcile.
        new = {(action.kind, action.name, action.after) for action in made.plan.actions if action.after != action.before} - usual
        assert {action for action, _, _ in new} <= {ActionKind.RAISE_FLOOR}, (number, new)
        assert made.decision.mode in {mode, None}
        if kind in {"Ingress", "all"}:
            assert made.decision.reason is Reason.ROUTING_UNKNOWN
            assert made.decision.alerts
    for one, obj in base:
        world.give(one, obj, "MODIFIED")
    after = conclude(remembered, world.snapshot())
    assert {(action.kind, action.name, action.after) for action in after.plan.actions} == usual
    assert after.decision.reason is before.decision.reason or mode is Mode.CAPACITY  # the hold of capacity mode has passed meanwhile
