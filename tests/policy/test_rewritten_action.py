"""A mutating webhook rewrites the routing action in the controller's own request, so that managedFields name the controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.policy.memory import REWRITTEN, fingerprint, sent_as
from controller.policy.model import ActionKind, Decision, Mode, PolicySettings, RoutingStyle, Sample, Strategy, Verb
from controller.policy.reasons import Reason
from controller.routing.ingress.action import format_action, parse_action
from tests.policy.support import World, decide, with_scalers
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, NOW, application, memory, routing, snapshot

Webhook = Callable[[str], str]
TICKS = 180  # of 15 s: 45 minutes, within the dwell of capacity mode


def _as_sent(action: str) -> str:
    return action


def _sticky(action: str) -> str:
    return format_action(parse_action(action)[0], 300)


def _halved(action: str) -> str:
    """Takes half of the weight of the last target."""
    *others, last = parse_action(action)[0]
    return format_action((*others, replace(last, weight=max(1, last.weight // 2))), 0)


class _Rewritten(World):
    """A world with a webhook."""

    webhook: Webhook = staticmethod(_as_sent)
    patches = 0

    def _route(self, body: str) -> None:
        super()._route(body)
        self.patches += 1
        action = self.webhook(self.snapshot.routing.action)
        targets, stickiness_s, _ = parse_action(action)
        shown = replace(self.snapshot.routing, action=action, targets=targets, stickiness_s=stickiness_s)
        self.snapshot = replace(self.snapshot, routing=shown)


def _world(mode: Mode, webhook: Webhook, style: RoutingStyle = RoutingStyle.SINGLE_SERVICE) -> _Rewritten:
    """One in which the action of a mode was just found rewritten, and floors that the controller raised may sink."""
    made = with_scalers(snapshot(application(routing_style=style), mode), min_replicas=6)
    world = _Rewritten(made, memory(mode))
    world.webhook = webhook
    for name in made.units:
        world.unit(name, demand=Sample(50.0, NOW), ready=2, desired=2)
    action = webhook(made.routing.action)
    targets, stickiness_s, _ = parse_action(action)
    world.snapshot = replace(world.snapshot, routing=replace(made.routing, action=action, targets=targets, stickiness_s=stickiness_s))
    return world


def _played(world: _Rewritten) -> tuple[list[Decision], int]:
    """The decisions of 45 minutes, and how many floors were lowered in it."""
    decisions, lowered = [], 0
    for _ in range(TICKS):
        for name in world.snapshot.units:
            world.unit(name, demand=Sample(50.0, world.snapshot.now))
        decision, made = world.tick(15)
        decisions.append(decision)
        lowered += sum(action.kind is ActionKind.LOWER_FLOOR for action in made.due)
    return decisions, lowered


@pytest.mark.parametrize(
    ("mode", "webhook", "style"),
    [
        (Mode.COST, _sticky, RoutingStyle.SINGLE_SERVICE),
        (Mode.COST, _halved, RoutingStyle.SINGLE_SERVICE),
        (Mode.CAPACITY, _sticky, RoutingStyle.SINGLE_SERVICE),
        (Mode.CAPACITY, _sticky, RoutingStyle.IN_PLACE),
        (Mode.CAPACITY, _halved, RoutingStyle.IN_PLACE),
    ],
)
def test_the_controller_pauses_and_notifies_people_and_floors_sink(mode: Mode, webhook: Webhook, style: RoutingStyle) -> None:
    """It wrote in every pass, four times a minute, no floor ever sank, and no alert was raised."""
    world = _world(mode, webhook, style=style)
    decisions, lowered = _played(world)
    plain = _played(_world(mode, _as_sent, style=style))[1]
    assert world.patches <= 14, "the load balancer is changed again and again"
    assert lowered == plain, "replicas are paid for that nobody needs"
    (alert,) = [one for one in decisions[-1].alerts if one.key == "fighting"]
    times = world.memory.reasserted.times
    said = f"the controller restored the routing action {times} times; {REWRITTEN} keeps changing it, and requests follow"
    assert alert.text.startswith(said)
    assert decisions[-1].reason is Reason.REASSERT_BACKOFF


def test_once_the_webhook_is_gone_the_action_is_restored_and_counts_as_changed() -> None:
    """It must be verified and drained like any other."""
    world = _world(Mode.COST, _sticky)
    _played(world)
    world.webhook = _as_sent
    while world.snapshot.routing.stickiness_s:
        world.tick(15)
    world.tick(15)
    assert (world.memory.changed_at, world.snapshot.routing.targets) == (world.snapshot.now, COST_TARGETS)
    calm, _ = _played(world)
    assert {decision.verb for decision in calm} == {Verb.HOLD}


def _capacity(_: str) -> str:
    return format_action(CAPACITY_TARGETS, 0)


def _with_samples(world: _Rewritten, ticks: int) -> list[Decision]:
    """The decisions of some ticks with another demand in each, so that the weights that follow it differ as well."""
    decisions = []
    for tick in range(ticks):
        for name in world.snapshot.units:
            world.unit(name, demand=Sample(50.0 + 15 * (tick % 5), world.snapshot.now))
        decisions.append(world.tick(15)[0])
    return decisions


def test_weights_that_follow_each_sample_wait_like_the_same_action_sent_again() -> None:
    """Each was sent, twice a minute, because it was not the one that had been rewritten."""
    adaptive = application(policy=PolicySettings(strategy=Strategy.ADAPTIVE))
    world = _Rewritten(with_scalers(snapshot(adaptive, Mode.COST), min_replicas=6), memory(Mode.COST))
    world.webhook = _capacity
    shown = replace(world.snapshot.routing, action=_capacity(""), targets=CAPACITY_TARGETS)
    world.snapshot = replace(world.snapshot, routing=shown)
    for name in world.snapshot.units:
        world.unit(name, demand=Sample(50.0, NOW), ready=2, desired=2)
    decisions = _with_samples(world, TICKS)
    assert world.patches <= 14
    assert {one.reason for one in decisions} == {Reason.AVAILABILITY_CHANGED, Reason.ROUTING_DRIFTED, Reason.REASSERT_BACKOFF}
    world.webhook = _as_sent
    while world.snapshot.routing.targets == CAPACITY_TARGETS:
        _with_samples(world, 1)
    assert Reason.REASSERT_BACKOFF not in {one.reason for one in _with_samples(world, TICKS)}, "what is sent is shown: nobody rewrites it"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        pytest.param(sent_as(COST_TARGETS, 0), Reason.ROUTING_DRIFTED, id="sent, and another is shown"),
        pytest.param(sent_as(COST_TARGETS, 60), Reason.AVAILABILITY_CHANGED, id="another was sent"),
        pytest.param("", Reason.AVAILABILITY_CHANGED, id="nothing is known to be sent, as in the memory of an earlier version"),
    ],
)
def test_only_an_action_that_was_sent_just_so_was_put_back(sent: str, reason: Reason) -> None:
    """New weights are written at once, whatever a webhook made of the last ones."""
    action = format_action(COST_TARGETS, 300)
    made = snapshot(routing=routing(action=action, stickiness_s=300))
    decision = decide(memory(sent=sent, action=fingerprint(action)), made)[1]
    assert (decision.verb, decision.reason) == (Verb.REWEIGHT, reason)
