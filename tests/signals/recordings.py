"""Object streams recorded from a real Karpenter, replayed through the production signal code and `decide` in recorded time."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import RESOURCES, Resource
from controller.clock import parse_rfc3339
from controller.policy.model import Application, Decision, Memory, Reservation, Snapshot, Source, Verb, Verdict, Verification
from controller.routing.conclusion import conclude
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock

SHARED = Path(__file__).parents[3] / "shared"
KINDS: dict[str, Resource] = {resource.kind: resource for resource in RESOURCES.values()}
TICK_S = 1.0


def recording(name: str) -> Path:
    """The path of a recording; skips the test where the recordings are absent."""
    path = SHARED / "data" / "karpenter" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"recording {name}.jsonl is absent: it lives outside the project, in shared/data/karpenter")
    return path


@dataclass(frozen=True)
class Step:
    """One decision of a replay; `t` is the recording's own time in seconds."""

    t: float
    decision: Decision
    snapshot: Snapshot


def lines(path: Path) -> Iterator[tuple[float, str, str, dict[str, Any]]]:
    """The recorded changes: time, kind, watch type, object."""
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] != "Mark":
            yield entry["t"], entry["kind"], entry["type"], entry["object"]


def start_of(path: Path) -> float:
    """The wall-clock time of the recording's zero, from the first object created while it ran."""
    for t, _, kind, obj in lines(path):
        created = parse_rfc3339(obj.get("metadata", {}).get("creationTimestamp"))
        if kind == "ADDED" and created is not None:
            return created - t + 1.0  # timestamps are cut to whole seconds
    raise AssertionError("the recording creates nothing")


class Sold:
    """What EC2 says of instance types: zones by type, and nothing else.

    Args:
        zones: Where every type is sold.
    """

    def __init__(self, zones: tuple[str, ...]) -> None:
        self._zones = zones

    def offered_zones(self, _instance_type: str) -> tuple[str, ...]:
        """Zones in which it is sold."""
        return self._zones

    def reservations(self, _instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
        """Not known."""
        return None

    def blocks(self, _instance_types: Collection[str]) -> tuple[Reservation, ...]:
        """None is known."""
        return ()

    def notes(self, _instance_type: str) -> tuple[str, ...]:
        """Quota and reservations, in words."""
        return ()


def replay(
    path: Path,
    application: Application,
    *,
    act: bool,
    until: float,
    prepare: Callable[[ClusterView], None] | None = None,
    zones: tuple[str, ...] = (),
    seen_as: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None,
) -> list[Step]:
    """Feeds a recording through the view and decides after every change and once a second.

    Args:
        path: The recording.
        application: Whose decisions.
        act: Whether an accepted change of mode is noted and shown on the Ingress, as the service would.
        until: Where to stop, in the recording's seconds; past its end time goes on without changes.
        prepare: Adds objects that the recording lacks.
        zones: Where EC2 sells every type; () where it is not asked.
        seen_as: What becomes of each object, by kind, before it is delivered; None: it stays as recorded.
    """
    clock = ManualClock(start_of(path))
    begin = clock.now()
    view = ClusterView(clock, lambda: None)
    builder = SnapshotBuilder(view, [application])
    if prepare is not None:
        prepare(view)
    memory, steps = Memory(), []
    pending = list(lines(path))
    times = sorted({t for t, *_ in pending} | {i * TICK_S for i in range(int(until / TICK_S) + 1)})
    for t in (t for t in times if t <= until):
        clock.set(begin + t)
        while pending and pending[0][0] <= t:
            _, kind, change, obj = pending.pop(0)
            obj = seen_as(kind, obj) if seen_as is not None else obj
            if kind in KINDS:
                view.changed(KINDS[kind], None, "ADDED" if change == "LISTED" else change, {"kind": kind, **obj})
        sources = tuple(Source(name, True, clock.now(), 180.0) for name in ("karpenter", "workloads", "routing"))
        services = (application.capacity.service, *(unit.backend.service for unit in application.units))
        seen = Verification(Verdict.CANNOT_TELL, clock.now(), counted=dict.fromkeys(services, 1000))  # recordings have no load balancer
        external = ExternalSignals(capacity=Sold(zones) if zones else None, verification=seen)
        snapshot = builder.build(application, clock.now(), sources, external, leader=True, epoch=1)
        made = conclude(memory, snapshot)
        memory, decision = made.memory, made.decision
        steps.append(Step(t, decision, snapshot))
        if act and decision.verb in {Verb.FAILOVER, Verb.FALLBACK}:
            memory = made.routed(clock.now())
            _show(view, application, decision)
    return steps


def _show(view: ClusterView, application: Application, decision: Decision) -> None:
    """Writes to the Ingress what the decision's patch would."""
    from controller.routing.annotations import MARKER
    from controller.routing.ingress.action import format_action
    from controller.routing.names import action_key

    obj = view.routing_object(application)
    assert obj is not None
    metadata = dict(obj["metadata"])
    annotations = dict(metadata["annotations"])
    annotations[action_key(application.route.part)] = format_action(decision.targets, decision.stickiness_s)
    annotations[MARKER] = str(decision.mode)
    metadata["annotations"] = annotations
    view.changed(KINDS["Ingress"], None, "MODIFIED", {**obj, "metadata": metadata})


def as_in_auto_mode(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """An object of a recording as EKS Auto Mode would show it: other domain of labels, node class, component, and start of a message.

    See docs/research/auto-mode.md for what is known of these names.
    """
    text = json.dumps(obj)
    for own, auto in (("karpenter.k8s.aws/ec2nodeclass", "eks.amazonaws.com/nodeclass"), ("EC2NodeClass", "NodeClass")):
        text = text.replace(own, auto)
    text = text.replace("karpenter.k8s.aws", "eks.amazonaws.com")
    if kind == "Event":
        text = text.replace("creating instance, insufficient", "creating nodeclaim, insufficient")
    made: dict[str, Any] = json.loads(text)
    if kind == "Event" and made.get("source", {}).get("component") == "karpenter":
        made["source"] = {**made["source"], "component": "eks-auto-mode/compute"}
        made["reportingComponent"] = "eks-auto-mode/compute"
    return made


def without_alerts(decision: Decision) -> Decision:
    """The decision without its texts, for comparing the requests."""
    return replace(decision, alerts=(), degraded=())
