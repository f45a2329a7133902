"""Plays a situation through the production view, snapshot and pass. Only the API server, EC2 and CloudWatch are played."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from controller.clients.kube import RESOURCES
from controller.clock import format_rfc3339
from controller.policy.model import (
    Action,
    ActionKind,
    Alert,
    Application,
    Backend,
    Decision,
    Mode,
    Proof,
    Route,
    Sample,
    Snapshot,
    Source,
    Unit,
    Verb,
    Verdict,
    Verification,
)
from controller.policy.plan import FIELD_MANAGER
from controller.policy.reasons import Reason
from controller.policy.routing import capacity_targets, cost_targets
from controller.routing.annotations import MARKER, NUDGED_AT
from controller.routing.ingress.action import format_action, parse_action
from controller.routing.names import action_key
from controller.service.application_pass import ApplicationPass
from controller.service.executor import Executor
from controller.service.terms import TermRecord
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_analysis.fuzz.judge import Figures
from failover_analysis.fuzz.objects import START
from failover_analysis.fuzz.world import NAMESPACE
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.leadership import Lease, SimulatedLeadership
from failover_testbed.clocks import ManualClock
from tests.situations.cluster import StagedCluster
from tests.situations.situation import BEGIN_S, Situation

TICK_S: Final = 15.0
"""The longest time between two passes: the default of `polls.tick_interval_s`."""
SHOWN_S: Final = 8.0
"""How long the load balancer takes to show an action."""

_KINDS: Final = {resource.kind: resource for resource in RESOURCES.values()}
_BY_NAME: Final = {resource.name: resource for resource in RESOURCES.values()}
_THROUGHPUT: Final = 100.0
_FULL: Final = 0.95
"""The part of what the requested replicas can serve that is in use."""
_PRICES: Final = {"inf2": 1.0, "trn1": 1.2, "g6": 1.4, "g5": 3.0}
_COLD_START_S: Final = 120.0


@dataclass(slots=True)
class Played:
    """What the controller did. Times are seconds since the trouble began.

    Attributes:
        proofs: How each unit was first proven short, and when.
        changes: The mode changes that were written, and when.
        alerts: When each alert was first raised, with its last text.
        last: The last decision.
        sentences: Every sentence that a decision had, and every alert's text.
        reasons: Every reason, in order, without repetitions in a row.
        writes: When each kind of action was accepted.
        floors: The floors at the end.
        replicas: Requested replicas at the end.
    """

    proofs: dict[str, tuple[Proof, float]] = field(default_factory=dict)
    changes: list[tuple[float, Verb, Mode, Reason]] = field(default_factory=list)
    alerts: dict[str, tuple[float, Alert]] = field(default_factory=dict)
    last: Decision | None = None
    sentences: set[str] = field(default_factory=set)
    reasons: list[Reason] = field(default_factory=list)
    writes: list[tuple[float, ActionKind]] = field(default_factory=list)

    @property
    def decision(self) -> Decision:
        """The last decision."""
        assert self.last is not None
        return self.last


class _Figures(Figures):
    """What CloudWatch and EC2 say: the demand is what the requested replicas are for, and goes where the Ingress sends it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.situation.world, stage.cluster)
        self._stage = stage

    def demand(self, _application: str, unit: str) -> Sample | None:
        if not self._stage.metrics:
            return None
        cluster = self._stage.cluster
        total, at = self._stage.sampled or (self.total(), START + cluster.now)
        weights = self._stage.weights()
        ready = {name: sum(pod.ready for pod in pods) for name, pods in cluster.pods.items()}
        shares = weights if sum(weights.values()) else ready
        return Sample(total * shares.get(unit, 0) / max(1, sum(shares.values())), at)

    def total(self) -> float:
        """What the requested replicas are for, requests in a period."""
        return _FULL * _THROUGHPUT * sum(self._stage.cluster.wanted.values())


class Stage:
    """One situation while it is played. The steps of a situation change it.

    Args:
        situation: Which.
    """

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self.clock = ManualClock(START + situation.world.ahead_s)
        self.metrics = True
        self.sampled: tuple[float, float] | None = None
        """The newest sample of the demand and the end of its period, where CloudWatch shows none that is newer."""
        self.absent: dict[str, str] = {}
        self.stale: set[str] = set()
        self.hidden: set[str] = set()
        """Kinds that are not delivered."""
        self.put_back = False
        """Whether somebody puts back every floor a few seconds after it was written."""
        self.sticky_s = 0
        """What a mutating webhook writes into every routing action as its stickiness, seconds; 0: there is none."""
        self.played = Played()
        self.application = application_of(situation)
        self.view = ClusterView(self.clock, lambda: None)
        self._steps = sorted(((BEGIN_S + t, number, do) for number, (t, do) in enumerate(situation.steps)), key=lambda one: one[:2])
        self.cluster = StagedCluster(
            situation.world,
            self._emit,
            quotas=situation.quotas,
            create_errors=situation.create_errors,
            codes=situation.codes,
            zones=situation.zones,
        )
        self.faults = FaultState()
        self.store = Store(self.faults)
        self._lease = Lease()
        self._versions = itertools.count(1)
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}
        self._written_at = 0.0
        self._show_objects()
        for number in range(5):
            self.cluster.at(5.0 + 10.0 * number, partial(self._passer_by, number))
        self._builder = SnapshotBuilder(self.view, [self.application])
        self._external = _Figures(self)
        self.restart()

    # --- what steps may do ---

    def restart(self) -> None:
        """Another process of the controller begins to lead; it knows what is stored, and what the watches list."""
        number = self._lease.holder + 1
        self._lease.take(number)
        leadership = SimulatedLeadership(self._lease, number)
        record = TermRecord(self.store, leadership, self.application.key)
        self._passes = ApplicationPass(self, record, Executor(self, leadership, side_by_side=1), leadership, self.clock)

    def sample(self, *, held: bool) -> None:
        """CloudWatch shows the present demand from now on, whatever it becomes, or what it is again."""
        self.sampled = (self._external.total(), START + self.cluster.now) if held else None

    def annotate(self, **annotations: str | None) -> None:
        """A person writes annotations of the Ingress, by the last part of their names; None removes one."""
        obj = copy.deepcopy(self._objects["Ingress", self.application.route.name])
        for name, value in annotations.items():
            key = f"failoverctl.dev/{name.replace('_', '-')}"
            obj["metadata"]["annotations"].pop(key, None)
            if value is not None:
                obj["metadata"]["annotations"][key] = value
        self._store(obj, "kubectl-annotate")

    def route(self, mode: Mode | None, manager: str = "argocd-controller", *, marker: bool = False) -> None:
        """Somebody writes the routing action: that of a mode, or one that nobody understands."""
        obj = copy.deepcopy(self._objects["Ingress", self.application.route.name])
        text = '{"type":"redirect"}' if mode is None else self._action(mode)
        obj["metadata"]["annotations"][action_key(self.application.route.part)] = text
        if marker:
            obj["metadata"]["annotations"][MARKER] = str(mode)
        self._store(obj, manager, owns=True)

    def mark(self, mode: Mode) -> None:
        """A GitOps tool that leaves the action alone writes the mode annotation, which is in Git."""
        obj = copy.deepcopy(self._objects["Ingress", self.application.route.name])
        obj["metadata"]["annotations"][MARKER] = str(mode)
        time = format_rfc3339(START + self.cluster.now)
        fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{MARKER}": {}}}}
        ours = [one for one in obj["metadata"]["managedFields"] if one["manager"] == FIELD_MANAGER]
        obj["metadata"]["managedFields"] = [*ours, {"manager": "argocd-controller", "time": time, "fieldsV1": fields}]
        self._store(obj, "argocd-controller")

    def replace_ingress(self) -> None:
        """Somebody replaces the whole Ingress by the one in Git: with the action of cost mode, and without the mode annotation."""
        obj = copy.deepcopy(self._objects["Ingress", self.application.route.name])
        obj["metadata"]["annotations"] = {action_key(self.application.route.part): self._action(Mode.COST)}
        self._store(obj, "terraform", owns=True)

    def unroute(self) -> None:
        """Somebody deletes the routing action and the mode annotation."""
        obj = copy.deepcopy(self._objects["Ingress", self.application.route.name])
        for key in (action_key(self.application.route.part), MARKER):
            obj["metadata"]["annotations"].pop(key, None)
        self._store(obj, "kubectl-edit", owns=True)

    def delete_ingress(self) -> None:
        """The Ingress is deleted."""
        self.view.changed(_KINDS["Ingress"], None, "DELETED", self._objects["Ingress", self.application.route.name])

    def pause_scaler(self, unit: str) -> None:
        """A person pauses a ScaledObject."""
        obj = copy.deepcopy(self._objects["ScaledObject", f"{unit}-hpa"])
        obj["metadata"].setdefault("annotations", {})["autoscaling.keda.sh/paused"] = "true"
        self._store(obj, "kubectl-annotate")

    def now_s(self) -> float:
        """Seconds since the trouble began."""
        return self.cluster.now - BEGIN_S

    # --- playing ---

    def play(self) -> Played:
        """Plays it to the end."""
        end, due, tick = BEGIN_S + self.situation.length_s, 0.0, 0.0
        while True:
            step_s = self._steps[0][0] if self._steps else math.inf
            t = min(self.cluster.next_s(), step_s, tick, due, end)
            for _ in self.cluster.until(t):
                pass
            self._to(t)
            if t >= end:
                return self.played
            while self._steps and self._steps[0][0] <= t:
                self._steps.pop(0)[2](self)
            if t == tick:
                tick += TICK_S
            due = t + max(0.01, self._pass())

    def _pass(self) -> float:
        decided = self._passes.decide(self.application)
        self._note(decided.conclusion.decision)
        before = len(self.played.writes)
        acted = self._passes.act(decided)
        for decision in acted.written:
            if decision.verb.changes_mode and decision.mode is not None:
                self.played.changes.append((self.now_s(), decision.verb, decision.mode, decision.reason))
        return 0.2 if len(self.played.writes) > before else acted.again_s

    def _note(self, decision: Decision) -> None:
        played = self.played
        played.last = decision
        played.sentences.add(decision.sentence)
        for judged in decision.evidence.values():
            if judged.short and judged.proof is not None:
                played.proofs.setdefault(judged.unit, (judged.proof, self.now_s()))
        for alert in decision.alerts:
            played.sentences.add(alert.text)
            since = played.alerts.get(alert.key, (self.now_s(), alert))[0]
            played.alerts[alert.key] = (since, alert)
        if played.reasons[-1:] != [decision.reason]:
            played.reasons.append(decision.reason)

    # --- the ports of the pass ---

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`: there is no EC2."""

    def snapshot(self, application: Application, *, leader: bool, epoch: int, further: tuple[Source, ...] = ()) -> Snapshot:
        """See `controller.service.application_pass.Observer.snapshot`."""
        now = self.clock.now()
        names = ("karpenter", "workloads", "routing")
        sources = tuple(
            Source(name, True, None if name in self.stale else now, 180.0, name in self.absent, self.absent.get(name, "")) for name in names
        )
        sources = (*sources, Source("cloudwatch", False, now, 900.0))
        action = self._objects["Ingress", application.route.name]["metadata"]["annotations"].get(action_key(application.route.part), "")
        shown = self.cluster.now - self._written_at >= SHOWN_S
        services = (application.capacity.service, *(unit.backend.service for unit in application.units))
        seen = Verification(
            Verdict.YES if shown else Verdict.NOT_YET,
            now,
            "" if shown else "not there yet",
            action,
            applied=shown,
            counted={name: self.view.workloads.endpoints_ready(application.namespace, name) or 0 for name in services},
        )
        external = ExternalSignals(metrics=self._external, capacity=self._external, verification=seen)
        return self._builder.build(application, now, (*sources, *further), external, leader=leader, epoch=epoch)

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`."""
        del deadline_s
        for action in actions:
            self._apply(action)

    def _apply(self, action: Action) -> None:
        self.played.writes.append((self.now_s(), action.kind))
        key = ("Ingress" if action.kind is ActionKind.ROUTE else "ScaledObject", action.name)
        obj = copy.deepcopy(self._objects[key])
        match action.kind:
            case ActionKind.ROUTE:
                annotations = obj["metadata"]["annotations"]
                for name in (MARKER, NUDGED_AT):
                    annotations.pop(name, None)
                annotations.update(json.loads(action.body)["metadata"]["annotations"])
                if self.sticky_s:
                    annotations[action_key(self.application.route.part)] = format_action(parse_action(action.after)[0], self.sticky_s)
                self._written_at = self.cluster.now
            case ActionKind.SET_TARGET:
                obj["spec"]["triggers"][0]["metadata"]["targetMetricValue"] = action.after
            case _:
                self._floor(obj, action, int(action.after))
                return
        self._store(obj, FIELD_MANAGER, owns=True)

    def _floor(self, obj: dict[str, Any], action: Action, floor: int) -> None:
        before = obj["spec"]["minReplicaCount"]
        obj["spec"]["minReplicaCount"] = floor
        self._store(obj, FIELD_MANAGER, owns=True)
        self.cluster.follow(action.unit, floor)
        if self.put_back:
            other = copy.deepcopy(obj)
            other["spec"]["minReplicaCount"] = before
            self.cluster.at(self.cluster.now + 5.0, lambda: self._store(other, "argocd-controller", owns=True))

    # --- objects ---

    def weights(self) -> dict[str, int]:
        """The weight of each unit's Service on the Ingress."""
        text = self._objects["Ingress", self.application.route.name]["metadata"]["annotations"].get(
            action_key(self.application.route.part), "{}"
        )
        groups = json.loads(text).get("forwardConfig", {}).get("targetGroups", [])
        return {one["serviceName"]: int(one.get("weight", 1)) for one in groups if one["serviceName"] in self.cluster.pods}

    def _action(self, mode: Mode) -> str:
        weights = {unit.name: unit.weight or 0 for unit in self.application.units}
        targets = cost_targets(self.application, weights) if mode is Mode.COST else capacity_targets(self.application, {})
        return format_action(targets, 0)

    def _to(self, t: float) -> None:
        for at, seconds in self.situation.world.steps:
            if self.clock.monotonic() < at <= t:
                self.clock.advance(at - self.clock.monotonic())
                self.clock.step(seconds)
        self.clock.advance(max(0.0, t - self.clock.monotonic()))

    def _emit(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        self._to(self.cluster.now)
        if kind in self.hidden:
            return
        if kind == "EndpointSlice" and obj["metadata"]["name"] == "all" and not self.situation.capacity_ready:
            obj = {**obj, "endpoints": []}
        self.view.changed(_KINDS[kind], None, change, {"kind": kind, **obj})

    def _passer_by(self, number: int) -> None:
        """A pod that has nothing to do with the application: in every cluster some come and go, and show what time it is there."""
        metadata = {"name": f"job-{number}", "namespace": NAMESPACE, "creationTimestamp": format_rfc3339(START + self.cluster.now)}
        self._emit("Pod", "ADDED", {"metadata": metadata, "spec": {"nodeName": "node"}})

    def _store(self, obj: dict[str, Any], manager: str, *, owns: bool = False) -> None:
        kind, name = obj["kind"], obj["metadata"]["name"]
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        if owns:
            key = action_key(self.application.route.part)
            path: dict[str, Any] = (
                {"f:metadata": {"f:annotations": {f"f:{key}": {}}}} if kind == "Ingress" else {"f:spec": {"f:minReplicaCount": {}}}
            )
            time = format_rfc3339(START + self.cluster.now)
            obj["metadata"]["managedFields"] = [{"manager": manager, "time": time, "fieldsV1": path}]
        first = (kind, name) not in self._objects
        self._objects[kind, name] = obj
        self.view.changed(_KINDS[kind], None, "ADDED" if first else "MODIFIED", obj)

    def _show_objects(self) -> None:
        application, situation = self.application, self.situation
        services = [*(unit.name for unit in application.units), application.capacity.service]
        rules = [
            {"host": f"{name}.standby.invalid", "http": {"paths": [{"backend": {"service": {"name": name, "port": {"number": 80}}}}]}}
            for name in services
        ]
        annotations = {action_key(application.route.part): self._action(situation.mode), MARKER: str(situation.mode)}
        metadata = {"name": application.route.name, "namespace": NAMESPACE, "uid": "uid-1", "annotations": annotations}
        self._store({"kind": "Ingress", "metadata": metadata, "spec": {"rules": rules}}, FIELD_MANAGER, owns=True)
        for service in services:
            self._store(
                {"kind": "Service", "metadata": {"name": service, "namespace": NAMESPACE}, "spec": {"ports": [{"port": 80}]}}, "helm"
            )
        for unit in application.units:
            trigger = {"type": "aws-cloudwatch", "metadata": {"metricName": unit.counter_metric, "targetMetricValue": f"{_THROUGHPUT:g}"}}
            spec = {"minReplicaCount": 1, "maxReplicaCount": 20, "triggers": [trigger]}
            metadata = {"name": f"{unit.name}-hpa", "namespace": NAMESPACE, "annotations": {}}
            self._store({"kind": "ScaledObject", "metadata": metadata, "spec": spec}, "helm", owns=True)


def application_of(situation: Situation) -> Application:
    """The application of a situation: its weights are as the replicas at full demand, unless the situation says otherwise."""
    units = tuple(
        replace(
            Unit(
                name=plan.name,
                backend=Backend(plan.name, 80),
                deployment=plan.name,
                node_pool=plan.pools[0],
                instance_type=plan.types[0],
                price_per_hour=_PRICES.get(plan.name, 1.5),
                throughput=_THROUGHPUT,
                latency_s=0.3,
                weight=10 * max(replicas for _, replicas in plan.replicas),
                cold_start_s=_COLD_START_S,
                scaled_object=f"{plan.name}-hpa",
                counter_metric=f"{plan.name}-counter",
            ),
            **situation.units.get(plan.name, {}),
        )
        for plan in situation.world.units
    )
    return Application("shop", NAMESPACE, Route("shop", "routing"), Backend("all", 80), units, policy=situation.policy)


def play(situation: Situation) -> Played:
    """What the controller does in a situation."""
    return Stage(situation).play()
