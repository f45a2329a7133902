"""Shortages, returns and a small world for the tests of the policy."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from controller.policy import memory as remembering
from controller.policy import plan as planning
from controller.policy.account import total_demand
from controller.policy.decision import conclude
from controller.policy.floors import asked, capacity_claims, highest
from controller.policy.model import (
    ActionKind,
    Cause,
    Claim,
    Decision,
    Launch,
    Memory,
    Mode,
    PendingPod,
    Plan,
    Refusal,
    Scaler,
    Snapshot,
    UnitEvidence,
    UnitMemory,
    UnitObservation,
    Verb,
    Verdict,
    Verification,
)
from controller.recording.stored import decode, encode
from controller.routing.annotations import MARKER
from controller.routing.conclusion import exact
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.names import action_key
from tests.support.applications import COUNTED, NOW, memory, snapshot

INF2 = "sd21-inf2"
TRN1 = "sd21-trn1"
G6 = "sd21-g6-triton"


def refused(at: float = NOW - 60, **changes: Any) -> Refusal:
    """A refusal for inf2, of a claim that allowed every zone."""
    made = Refusal(
        claim=f"inf2-{at:.0f}",
        pool="inf2",
        at=at,
        cause=Cause.CAPACITY,
        codes=("InsufficientInstanceCapacity",),
        attempt=f"{at:.0f}",
        seen=at,
        instance_types=("inf2.xlarge",),
    )
    return replace(made, **changes)


def launched(created: float, registered: float | None = None, **changes: Any) -> Launch:
    """A launch for inf2, two seconds after its claim."""
    return replace(Launch(claim="inf2-new", pool="inf2", created=created, launched=created + 2, registered=registered), **changes)


def pods(count: int = 2, since: float = NOW - 90) -> tuple[PendingPod, ...]:
    """Pods that wait."""
    return tuple(PendingPod(f"pod-{i}", since) for i in range(count))


def change(made: Snapshot, unit: str = INF2, **changes: Any) -> Snapshot:
    """The snapshot with one unit's observation changed; `pool_...` changes its NodePool."""
    observed = made.units[unit]
    pool = {key.removeprefix("pool_"): value for key, value in changes.items() if key.startswith("pool_")}
    rest = {key: value for key, value in changes.items() if not key.startswith("pool_")}
    return replace(made, units={**made.units, unit: replace(observed, pool=replace(observed.pool, **pool), **rest)})


def shortage(made: Snapshot | None = None, unit: str = INF2, at: float = NOW - 60, ready: int = 2, **failure: Any) -> Snapshot:
    """A unit with unmet demand and a refusal, after which Karpenter found nothing available in its NodePool."""
    made = made or snapshot()
    instance = made.application.unit(unit).instance_type
    failure = {"instance_types": (instance,), **failure}
    return change(made, unit, pool_failures=(refused(at, **failure),), pool_blocked_at=at, pending=pods(), desired=ready + 2, ready=ready)


def proven(at: float = NOW - 60, **changes: Any) -> dict[str, UnitMemory]:
    """What is remembered of inf2 once it is proven short."""
    return {INF2: replace(UnitMemory(at, Cause.CAPACITY, ready_then=2, proven_at=at), **changes)}


def scaler(unit: str = INF2, **changes: Any) -> Scaler:
    """A ScaledObject as the AWS sample ships it."""
    made = Scaler(f"{unit}-hpa", "5", 1, 20, "105", 0)
    return replace(made, **changes)


def replicas(floors: Mapping[str, Claim]) -> dict[str, int]:
    """The floors by unit, without who claims them."""
    return {name: claim.replicas for name, claim in floors.items()}


def capacity_floors(made: Snapshot, evidence: Mapping[str, UnitEvidence], due: Collection[str] = ()) -> dict[str, int]:
    """The floors of capacity mode at the measured demand, without those that others set."""
    claims = capacity_claims(made, evidence, total_demand(made), due=due)
    return replicas(highest(made, (*asked(made.application), *claims)))


def judge(made: Snapshot, remembered: Memory | None = None, unit: str = INF2) -> UnitEvidence:
    """What is proven of one unit."""
    return decide(remembered or memory(), made)[1].evidence[unit]


def returned(now: float = NOW, **changes: Any) -> tuple[Snapshot, Memory]:
    """Capacity mode for a day, inf2's capacity back for most of it: every guard of a fallback passes."""
    made = replace(snapshot(mode=Mode.CAPACITY), now=now)
    units = proven(now - 80_000, returned=changes.pop("returned"), returned_at=now - 79_000) if "returned" in changes else {}
    return replace(made, **changes), memory(Mode.CAPACITY, units=units)


class World:
    """A minimal world: due actions take effect at once, and the load balancer shows them if `verify` says so.

    Attributes:
        snapshot: What the next decision is made from.
        memory: What is remembered.
        verify: Whether the load balancer shows every change at once.
        seen: What the last decision was made from.
    """

    def __init__(self, made: Snapshot, remembered: Memory, *, verify: bool = True) -> None:
        self.snapshot, self.memory, self.verify = made, remembered, verify
        self.seen = made

    def unit(self, name: str, **changes: Any) -> None:
        """Changes a unit's observation."""
        self.snapshot = change(self.snapshot, name, **changes)

    def tick(self, seconds: float) -> tuple[Decision, Plan]:
        """Lets time pass, decides, and does what is due. The memory goes through the codec, as in a restart."""
        now = self.snapshot.now + seconds
        sources = tuple(replace(source, last_ok=now) for source in self.snapshot.sources)
        routing = self.snapshot.routing
        if self.verify:
            routing = replace(routing, verification=Verification(Verdict.YES, now, "", routing.action, counted=COUNTED))
        self.snapshot = replace(self.snapshot, now=now, sources=sources, routing=routing)
        self.seen = seen = self.snapshot
        self.memory, decision = decide(decode(encode(self.memory)), seen)
        made = plan(decision, seen)
        for action in made.due:
            if action.kind is ActionKind.ROUTE:
                self._route(action.body)
                self.memory = applied(self.memory, decision, now, seen.application.scaled_objects)
            elif action.kind is ActionKind.SET_TARGET:
                self._scale(action.unit, target=action.after)
            else:
                self._scale(action.unit, min_replicas=int(action.after))
        return decision, made

    def _route(self, body: str) -> None:
        annotations = json.loads(body)["metadata"]["annotations"]
        text = annotations[action_key(self.snapshot.application.route.part)]
        targets, stickiness_s, problem = parse_action(text)
        assert not problem, f"users get a 503: the Ingress was given an action that the load-balancer controller refuses: {problem}"
        routing = replace(
            self.snapshot.routing,
            action=text,
            targets=targets,
            stickiness_s=stickiness_s,
            marker=annotations[MARKER],
            foreign=False,
        )
        self.snapshot = replace(self.snapshot, routing=routing)

    def _scale(self, unit: str, **changes: Any) -> None:
        present = self.snapshot.units[unit].scaler
        assert present is not None
        self.unit(unit, scaler=replace(present, **changes))


def decide(remembered: Memory, made: Snapshot, *, preview: bool = False) -> tuple[Memory, Decision]:
    """The memory to keep and the decision, as `conclude` gives them."""
    concluded = conclude(remembered, made, preview=preview)
    return concluded.memory, concluded.decision


def plan(decision: Decision, made: Snapshot) -> Plan:
    """The plan of a decision, with exact requests."""
    return exact(planning.plan(decision, made), made)


def applied(remembered: Memory, decision: Decision, now: float, scaled_objects: Iterable[str] = ()) -> Memory:
    """What is remembered once a decision's routing action is written as an Ingress has it."""
    text = "" if decision.verb is Verb.NUDGE else format_action(decision.targets, decision.stickiness_s)
    return remembering.applied(remembered, decision, now, text, scaled_objects)


def verbs(decisions: list[Decision]) -> list[Verb]:
    """What the decisions asked for."""
    return [decision.verb for decision in decisions]


def with_scalers(made: Snapshot, **changes: Any) -> Snapshot:
    """Every unit with its ScaledObject, at the targets of cost mode."""
    units: dict[str, UnitObservation] = {}
    for unit in made.application.units:
        target = f"{unit.throughput:g}"
        units[unit.name] = replace(made.units[unit.name], scaler=scaler(unit.name, target=target, **changes))
    return replace(made, units=units)


def above_scaler(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Bounds planned floors and the expected demand at another share of the demand above the scalers."""
    for module in ("offers", "planned"):
        monkeypatch.setattr(import_module(f"controller.policy.fleet.{module}"), "MAX_ABOVE_SCALER", share)
