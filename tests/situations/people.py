"""Situations in which people and other writers act, or signals are missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.policy.model import Mode, Proof, Verb
from controller.policy.reasons import Reason
from tests.situations.returns import NAMED, QUARTER, back, forgotten
from tests.situations.shortages import INF2_OUT, short
from tests.situations.situation import G5, INF2, Changed, Do, Expected, Situation, world

if TYPE_CHECKING:
    from tests.situations.stage import Stage


def annotated(**annotations: str | None) -> Do:
    """A person writes annotations."""
    return lambda stage: stage.annotate(**annotations)


def _unreadable(stage: Stage) -> None:
    stage.faults.state_unreadable = True
    stage.restart()


def _newer_state(stage: Stage) -> None:
    """A newer release has stored a mode change with a reason that this one does not know, and another replica begins to lead."""
    stage.store.replace('"ShortageProven"', '"LaterReason"')
    stage.restart()


def _blind(stage: Stage) -> None:
    stage.absent["karpenter"] = "nodeclaims.karpenter.sh: not found"
    stage.hidden |= {"NodeClaim", "NodePool", "Event"}


def _deaf(stage: Stage) -> None:
    stage.stale.add("workloads")


def _no_metrics(stage: Stage) -> None:
    stage.metrics = False


def _fighting(stage: Stage) -> None:
    stage.route(Mode.COST)
    stage.cluster.at(stage.cluster.now + 20.0, lambda: _fighting(stage))


def _replacing(stage: Stage) -> None:
    stage.replace_ingress()
    stage.cluster.at(stage.cluster.now + 180.0, lambda: _replacing(stage))


def _marking(stage: Stage) -> None:
    stage.mark(Mode.COST)
    stage.cluster.at(stage.cluster.now + 180.0, lambda: _marking(stage))


def _rewritten(stage: Stage) -> None:
    stage.sticky_s = 300


def _put_back(stage: Stage) -> None:
    stage.put_back = True


def pinned(mode: Mode, verb: Verb) -> tuple[Changed, ...]:
    """The mode change of a pin, at once."""
    return (Changed(verb, Reason.PINNED_TO_MODE, 0.0, 1.0),)


_PEOPLE: Final = "People"
HEALTHY: Final = world(replace(INF2, replicas=((0.0, 4),)), G5)
PEOPLE: Final = (
    Situation(
        "paused",
        _PEOPLE,
        "All zones are out, and a person has paused the controller.",
        world(closed=INF2_OUT),
        Expected(Reason.PAUSED, NAMED, alerts=frozenset({"harmful-override"})),
        steps=((-10.0, annotated(paused_until="forever", pause_reason="maintenance")),),
    ),
    Situation(
        "pause ends",
        _PEOPLE,
        "All zones are out, and a person's pause ends after 5 min.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 300, 302, "harmful-override"),
        steps=((-10.0, annotated(paused_until="2027-01-15T08:08:00Z")),),
    ),
    Situation(
        "pause not readable",
        _PEOPLE,
        "All zones are out, and the annotation of a pause cannot be read.",
        world(closed=INF2_OUT),
        Expected(Reason.OVERRIDE_UNREADABLE, NAMED, (), frozenset({"held/OverrideUnreadable"})),
        steps=((-10.0, annotated(paused_until="until lunch")),),
    ),
    Situation(
        "pin not readable",
        _PEOPLE,
        "All zones are out, and the annotation of a pin names no mode.",
        world(closed=INF2_OUT),
        Expected(Reason.OVERRIDE_UNREADABLE, NAMED, (), frozenset({"held/OverrideUnreadable"})),
        steps=((-10.0, annotated(pinned_mode="fast")),),
    ),
    Situation(
        "pinned to capacity",
        _PEOPLE,
        "Nothing is wrong, and a person pins capacity mode.",
        HEALTHY,
        Expected(Reason.PINNED, changes=pinned(Mode.CAPACITY, Verb.FAILOVER)),
        steps=((0.0, annotated(pinned_mode="capacity", pin_reason="load test")),),
    ),
    Situation(
        "pinned to cost",
        _PEOPLE,
        "All zones are out, and a person has pinned cost mode.",
        world(closed=INF2_OUT),
        Expected(Reason.PINNED, NAMED, alerts=frozenset({"harmful-override"})),
        steps=((-10.0, annotated(pinned_mode="cost")),),
    ),
    Situation(
        "pinned back",
        _PEOPLE,
        "All zones are out, and a person pins cost mode after 5 min.",
        world(closed=INF2_OUT),
        Expected(
            Reason.PINNED,
            NAMED,
            (Changed(Verb.FAILOVER, Reason.SHORTAGE_PROVEN, 30, 40), Changed(Verb.FALLBACK, Reason.PINNED_TO_MODE, 300, 301)),
            frozenset({"harmful-override"}),
        ),
        steps=((300.0, annotated(pinned_mode="cost")),),
    ),
    Situation(
        "pin lifted",
        _PEOPLE,
        "Nothing is wrong, and a person pins capacity mode for 10 min.",
        HEALTHY,
        Expected(Reason.DEMAND_MET, {}, (*pinned(Mode.CAPACITY, Verb.FAILOVER), Changed(Verb.FALLBACK, Reason.RETURN_PROVEN, 600, 900))),
        steps=((0.0, annotated(pinned_mode="capacity")), (600.0, annotated(pinned_mode=None))),
    ),
    Situation(
        "by hand",
        _PEOPLE,
        "Nothing is wrong, and a person writes action and mode of capacity mode by hand.",
        HEALTHY,
        Expected(Reason.DEMAND_MET, {}, (Changed(Verb.FALLBACK, Reason.RETURN_PROVEN, 600, 900),)),
        steps=((0.0, lambda stage: stage.route(Mode.CAPACITY, "kubectl-edit", marker=True)),),
    ),
)

_OTHERS: Final = "Other writers"
OTHERS: Final = (
    Situation(
        "action changed once",
        _OTHERS,
        "Another writer changes the routing action once.",
        HEALTHY,
        Expected(Reason.DEMAND_MET),
        steps=((0.0, lambda stage: stage.route(Mode.CAPACITY)),),
    ),
    Situation(
        "action and mode deleted",
        _OTHERS,
        "In capacity mode somebody deletes the routing action and the mode annotation.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
        steps=((600.0, lambda stage: stage.unroute()),),
    ),
    Situation(
        "action changed again and again",
        _OTHERS,
        "In capacity mode a GitOps tool restores the action of cost mode every 20 s.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "fighting", reason=Reason.REASSERT_BACKOFF),
        steps=((120.0, _fighting),),
    ),
    Situation(
        "Ingress replaced again and again",
        _OTHERS,
        "In capacity mode somebody replaces the whole Ingress every 3 min by one with the action of cost mode and no mode annotation.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "fighting", reason=Reason.RETURN_UNPROVEN),
        steps=((120.0, _replacing),),
    ),
    Situation(
        "mode written again and again",
        _OTHERS,
        "In capacity mode a GitOps tool that ignores the action writes `cost` into the mode annotation every 3 min.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "fighting", reason=Reason.RETURN_UNPROVEN),
        steps=((120.0, _marking),),
    ),
    Situation(
        "action rewritten on its way",
        _OTHERS,
        "All zones are out, and a mutating webhook makes every routing action sticky that the controller writes.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "fighting", reason=Reason.REASSERT_BACKOFF),
        steps=((-10.0, _rewritten),),
    ),
    Situation(
        "floor put back",
        _OTHERS,
        "All zones are out, and a GitOps tool puts back each floor 5 s after the controller has written it.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "contested/g5/floor", "contested/inf2/floor"),
        steps=((-10.0, _put_back),),
    ),
    Situation(
        "unknown action",
        _OTHERS,
        "All zones are out, and somebody has written an action that the controller does not understand.",
        world(closed=INF2_OUT),
        Expected(Reason.ROUTING_UNKNOWN, NAMED, (), frozenset({"held/RoutingUnknown"})),
        steps=((-10.0, lambda stage: stage.route(None)),),
    ),
    Situation(
        "no Ingress",
        _OTHERS,
        "The Ingress is deleted.",
        HEALTHY,
        Expected(Reason.ROUTING_OBJECT_MISSING, {}, (), frozenset({"held/RoutingObjectMissing"})),
        steps=((0.0, lambda stage: stage.delete_ingress()),),
    ),
)

_BLIND: Final = "Signals and memory are missing"
BLIND: Final = (
    Situation(
        "no watch",
        _BLIND,
        "All zones are out, and the watch of pods has not been heard for longer than its limit.",
        world(closed=INF2_OUT),
        Expected(Reason.SIGNALS_STALE, NAMED, (), frozenset({"held/SignalsStale"})),
        steps=((-10.0, _deaf),),
    ),
    Situation(
        "no Karpenter",
        _BLIND,
        "NodeClaims cannot be listed (no CRD, no permission).",
        world(closed=INF2_OUT),
        Expected(Reason.WAITING_IS_NORMAL, alerts=frozenset({"absent/karpenter"})),
        steps=((-10.0, _blind),),
    ),
    Situation(
        "memory not readable",
        _BLIND,
        "All zones are out, and the stored memory cannot be read.",
        world(closed=INF2_OUT),
        Expected(Reason.SIGNALS_STALE, NAMED, (), frozenset({"held/SignalsStale"})),
        steps=((-10.0, _unreadable),),
    ),
    Situation(
        "memory lost",
        _BLIND,
        "All zones are out, and the stored memory is deleted after 25 s: patience begins anew.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 34, 50),
        steps=((25.0, forgotten),),
    ),
    Situation(
        "newer state",
        _BLIND,
        "In capacity mode the stored memory names a reason that this release does not know; all zones are out for 15 min.",
        world(closed=QUARTER),
        Expected(Reason.DEMAND_MET, NAMED, back(900, 2400)),
        steps=((600.0, _newer_state),),
        length_s=3000.0,
    ),
    Situation(
        "no metrics",
        _BLIND,
        "All zones are out, and CloudWatch has no new values.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40, "counters"),
        steps=((-10.0, _no_metrics),),
    ),
    Situation(
        "no metrics, back",
        _BLIND,
        "The same, and capacity returns after 15 min.",
        world(closed=QUARTER),
        Expected(Reason.DEMAND_MET, NAMED, back(900, 2400), frozenset({"counters"})),
        steps=((-10.0, _no_metrics),),
        length_s=3000.0,
    ),
)

ACTED: Final = (*PEOPLE, *OTHERS, *BLIND)
