"""The invariants: what must be true at every step of every run, each with the harm to users that it rules out.

Safety is checked against the truth of the world wherever the controller could have known it. What it cannot know (somebody changed a
rule a second ago) it may get wrong once. Liveness is checked only while no fault is active, because a fault may keep the controller from
acting. After a fault, the bounds are `SETTLE_S` longer.
"""

from __future__ import annotations

import math
import traceback
from collections import defaultdict, deque
from typing import Final

from controller.errors import RemoteError
from controller.policy.account import Figures, break_even_s
from controller.policy.decision import DRAIN_S, Conclusion
from controller.policy.karpenter_times import ICE_CACHE_S, ICE_WINDOW_S, REPLACEMENT_HOLD_S
from controller.policy.model import Action, ActionKind, Decision, Memory, Mode, Snapshot, Strategy, Verb
from controller.policy.modes import DWELL_COST_S
from controller.policy.plan import FIELD_MANAGER
from controller.policy.reasons import Reason
from controller.policy.routing import action_problem, same_routing
from controller.service.application_pass import Acted
from failover_analysis.simulation.api import took_effect
from failover_analysis.simulation.built import LiveRule
from failover_analysis.simulation.cluster import types_of
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.floors_check import FloorsCheck
from failover_analysis.simulation.others_floors import OthersFloors
from failover_analysis.simulation.planned_check import PlannedCheck
from failover_analysis.simulation.recording import Violation
from failover_analysis.simulation.remembered import Remembered
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.shortage_check import ShortageCheck
from failover_analysis.simulation.traffic import Flow
from failover_analysis.simulation.truth import Truth
from failover_testbed.capacity.ec2 import FleetAnswer

HARMS: Final = {
    "legal": "AWS or the load-balancer controller refuses the routing, and the mode change that users need never happens",
    "one-writer": "two controllers fight over the same traffic",
    "ready": "requests go to a group without a ready pod, and fail",
    "registered": "requests go to a target group that was just made, and fail until its targets are registered",
    "drained": "replicas that still get traffic are removed",
    "not-ours": "a floor that a person set is lowered or forgotten, or a paused ScaledObject is written to",
    "mode-changes": "traffic is moved back and forth more often than allowed",
    "dwell": "traffic is moved back before the last move could have had an effect",
    "blind": "traffic or replicas are changed because of signals that are known to be stale",
    "paused": "the controller acts although a person paused it",
    "leaderless": "a process that is not the leader changes traffic",
    "explained": "a change has no readable reason",
    "recorded": "a mode change is forgotten, or one that was never made is remembered, so that the limits on further ones are wrong",
    "mode-change-harm": "requests fail that would have been served with the old routing",
    "late-failover": "requests fail although another unit could serve them",
    "nothing-behind": "every request fails although the other mode has healthy replicas",
    "late-fallback": "capacity returned long ago, and the more expensive mode goes on",
    "truth": "traffic moves to the more expensive mode for nothing, or stays where capacity is really missing",
    "planned-need": "a planned floor lets replicas go that the demand needs, or sinks because metrics are missing",
    "planned-churn": "planned floors follow noise: replicas are started and stopped, and each start is paid",
    "planned-loss": "the loss of one accelerator family, or spot pool, fails requests that planned floors should have kept replicas for",
    "last-replica": "a planned floor lets the last replica of a unit go that still gets requests",
    "lost-floors": "the other units get the traffic of a short one, but never the replicas to serve it",
    "restless": "the routing is rewritten so often that the load-balancer controller cannot keep up",
    "exception": "the controller stops deciding",
}
"""The harm to users if an invariant does not hold, by its name."""

MOST: Final = 20
"""Number of violations after which a run ends."""

_SLACK_S: Final = 60.0  # of liveness: the watches' lag, one interval, one retry of Karpenter's batch
_NOTHING_BEHIND_S: Final = 15.0  # one pass, and one check of the load balancer that counts the other side's targets
_RETRY_S: Final = 13.0  # Karpenter's retry after a refusal, and its fleet call
_RETURN_SLACK_S: Final = 2700.0  # of a fallback: the canary's node, then replicas that grow with the demand
_WATCHED_S: Final = 900.0  # how long the effect of a change of the live rule is compared with the old rule
_HARM: Final = 0.005  # share of a stretch's requests: less is noise from rounding weights
_HOUR_S: Final = 3600.0
_AUDIT_S: Final = 70.0  # the next audit sees a change of the rule by others
_ROUTES_AN_HOUR: Final = 24
_UNSEEN_S: Final = 5.0  # of an override: the watch's lag, and the pass in progress


class Invariants:
    """The checks of one run.

    Args:
        engine: The world and the processes in it.
        truth: The true state of the world.
    """

    def __init__(self, engine: Engine, truth: Truth) -> None:
        self._engine, self._truth = engine, truth
        self.violations: list[Violation] = []
        self._remembered: defaultdict[int, Remembered] = defaultdict(Remembered)
        self._mode_changes: deque[tuple[float, Mode]] = deque(maxlen=100)
        self._routes: deque[float] = deque(maxlen=_ROUTES_AN_HOUR + 1)
        self._mode_since = -math.inf
        self._short_since: float | None = None
        self._back_since: float | None = None
        self._nothing_behind_since: float | None = None
        self._before: tuple[LiveRule, float] | None = None  # the rule before our last change, and until when it is compared
        self._ours_at = -math.inf
        self._shortages = ShortageCheck(engine, truth)
        self._planned = PlannedCheck(engine, truth)
        self._floors, self._others = FloorsCheck(), OthersFloors()
        self._ignored: set[str] = set()  # units whose shortage was reported as ignored
        self.harm = 0.0
        """Requests that failed within 15 minutes of one of our changes and that the old routing would have served."""
        engine.observers.append(self)
        engine.balancer.listeners.append(self._moved)
        engine.traffic.listeners.append(self._flowed)

    # --- reporting ----------------------------------------------------------------------------------------------------------------------

    def full(self) -> bool:
        """Whether the run has had too many violations to go on."""
        return len(self.violations) >= MOST

    def _violated(self, name: str, text: str) -> None:
        if not self.full():
            self.violations.append(Violation(name, self._engine.event_queue.now, text))

    def broke(self, error: Exception) -> None:
        """The controller raised an exception that it should have handled."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._violated("exception", f"{type(error).__name__}: {error} at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}")

    # --- a pass -------------------------------------------------------------------------------------------------------------------------

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.decided`."""
        snapshot, decision, made = conclusion.snapshot, conclusion.decision, conclusion.plan
        self._shortages.observe(decision)
        if problem := self._remembered[replica.number].problem(conclusion):
            self._violated("recorded", problem)
        if problem := self._floors.lost(conclusion):
            self._violated("lost-floors", problem)
        if "?>" in decision.sentence or not decision.sentence:
            self._violated("explained", f"{decision.reason}: {decision.sentence}")
        if not made.due:
            return
        if problem := self._planned.below_need(conclusion.memory, snapshot, decision, made.due):
            self._violated("planned-need", problem)
        stale = [source.name for source in snapshot.sources if source.required and source.stale(snapshot.now)]
        if stale:
            self._violated("blind", f"{len(made.due)} action(s) with stale {', '.join(stale)}")
        if not snapshot.leader:
            self._violated("leaderless", f"replica {replica.number} plans {len(made.due)} action(s)")
        override = snapshot.routing.override
        if override.problem or (override.paused_until is not None and snapshot.now < override.paused_until):
            self._violated("paused", f"{len(made.due)} action(s) while paused")

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.acted`."""
        if not took_effect(error):
            return
        engine = self._engine
        if engine.lease.holder != replica.number or replica.leadership.epoch() != engine.lease.epoch:
            self._violated("one-writer", f"replica {replica.number} wrote, {engine.lease.holder} leads")
        self._floors.acted(conclusion, action)
        override, now = engine.api.routing.override, engine.event_queue.now
        blind = engine.fault_state.stalled or engine.fault_state.stale_s
        stopped = override.paused_until is not None and engine.clock.now() < override.paused_until
        if stopped and not blind and now - engine.override_at > _UNSEEN_S:
            self._violated("paused", f"{action.kind} while paused by a person")
        if action.kind is ActionKind.ROUTE:
            if error is not None and conclusion.decision.verb.changes_mode:
                self._remembered[replica.number].lost(conclusion, action)
            self._routed(conclusion.snapshot, conclusion.decision, action)
        else:
            self._scaled(conclusion.snapshot, action)
            if problem := self._planned.restless(conclusion.snapshot, conclusion.decision, action):
                self._violated("planned-churn", problem)

    def _routed(self, snapshot: Snapshot, decision: Decision, action: Action) -> None:
        now = self._engine.event_queue.now
        routing = self._engine.api.routing
        targets, _, problem = routing.port.read(routing.sent)
        problem = problem or action_problem(targets)
        if problem or routing.sent != action.after:
            self._violated("legal", problem or "the body is not what the plan shows")
        self._receivers_ready(snapshot, decision, action)
        if decision.verb.changes_mode and decision.mode is not None:
            self._mode_changed(snapshot, decision, decision.mode)
        self._ours_at = now
        self._routes.append(now)
        if len(self._routes) > _ROUTES_AN_HOUR and now - self._routes[0] < _HOUR_S:
            self._violated("restless", f"{len(self._routes)} changes of the routing within {now - self._routes[0]:.0f} s")

    def _receivers_ready(self, snapshot: Snapshot, decision: Decision, action: Action) -> None:
        """Every group that gets more traffic must have a ready endpoint; if the watches are fresh, in truth as well."""
        old = {target.service: target.weight for target in snapshot.routing.targets}
        whole, before = sum(target.weight for target in decision.targets), sum(old.values())
        application = snapshot.application
        for target in decision.targets:
            share = old.get(target.service, 0) / before if before else 0.0
            if target.weight == 0 or target.weight / whole <= share:
                continue
            unit = next((unit.name for unit in application.units if unit.backend.service == target.service), None)
            seen = snapshot.routing.capacity_ready if unit is None else snapshot.units[unit].ready
            if not seen or (self._truth.calm() and self._engine.balancer.ready(target.service) == 0):
                self._violated("ready", f"{action.kind} moves traffic to {target.service}, which has no ready endpoint")
            elif problem := self._unregistered(snapshot, target.service):
                self._violated("registered", f"{action.kind} moves traffic to {target.service}, {problem}")

    def _unregistered(self, snapshot: Snapshot, service: str) -> str:
        """Why the load balancer could not serve from a Service that gets traffic; "" if it can, or if the controller could not know.

        Nor where nothing served before: of a routing object that was just created again, no group has a target yet, whatever the weights.
        """
        engine = self._engine
        unseen = engine.event_queue.now - engine.tampered_at < _AUDIT_S
        if engine.fault_state.stalled or engine.fault_state.stale_s or unseen or not snapshot.routing.action:
            return ""
        present = [engine.balancer.group(target.service) for target in snapshot.routing.targets if target.weight > 0]
        if not any(group.registered for group in present if group is not None):
            return ""
        group = engine.balancer.group(service)
        if group is None:
            return "which has no target group"
        return "" if group.registered else f"whose target group {group.arn} has no target yet"

    def _mode_changed(self, snapshot: Snapshot, decision: Decision, mode: Mode) -> None:
        """Checks the limits on mode changes. Those that a person requests have none."""
        engine, now, policy = self._engine, self._engine.event_queue.now, snapshot.application.policy
        forgiven = now - engine.memory_lost_at < _HOUR_S or now - engine.last_disturbance < _HOUR_S
        if decision.reason is not Reason.PINNED_TO_MODE and decision.verb is not Verb.ROLLBACK and not forgiven:
            recent = [at for at, _ in self._mode_changes if now - at < _HOUR_S]
            if len(recent) >= policy.flips_per_hour:
                self._violated("mode-changes", f"{len(recent) + 1} mode changes within an hour, {policy.flips_per_hour} are allowed")
            least = policy.dwell_capacity_s if mode is Mode.COST else DWELL_COST_S
            if now - self._mode_since < least - 1:
                self._violated("dwell", f"to {mode} after {now - self._mode_since:.0f} s, {least:.0f} s are required")
        if problem := self._shortages.false(decision):
            self._violated("truth", problem)
        self._mode_changes.append((now, mode))
        self._mode_since = now

    def _scaled(self, snapshot: Snapshot, action: Action) -> None:
        """Nothing is lowered before the load balancer shows the routing and clients have drained; nobody else's settings are changed."""
        engine, now = self._engine, self._engine.event_queue.now
        scaler = snapshot.units[action.unit].scaler
        if scaler is None or scaler.paused:
            self._violated("not-ours", f"{action.kind} of a ScaledObject that is {'paused' if scaler else 'absent'}")
            return
        lowers = action.kind is ActionKind.LOWER_FLOOR or (
            action.kind is ActionKind.SET_TARGET and float(action.after) > float(action.before or "0")
        )
        if problem := self._others.problem(snapshot, action, engine.memory_lost_at):
            self._violated("not-ours", problem)
        service = snapshot.application.unit(action.unit).backend.service
        weight = sum(target.weight for target in snapshot.routing.targets if target.service == service)
        if action.kind is ActionKind.LOWER_FLOOR and action.after == "0" and weight and snapshot.application.policy.plans_floors:
            self._violated("last-replica", f"the floor of {action.unit} sinks to 0 with weight {weight}")
        if not lowers or now - engine.tampered_at < _AUDIT_S:
            return
        routing, live = engine.api.routing, engine.balancer.live
        drained = now - engine.balancer.live_since >= DRAIN_S
        seen = routing.writer == FIELD_MANAGER and snapshot.routing.resource_version == str(routing.version)
        shown = same_routing(routing.observed.targets, live.targets)
        if seen and not (shown and drained):
            age = now - engine.balancer.live_since
            self._violated("drained", f"{action.kind} of {action.unit}: live for {age:.0f} s, shown {shown}")

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.passed`."""
        self._remembered[replica.number].passed(conclusion, acted.memory.mode_changes)
        self._others.passed(conclusion, self._engine.event_queue.now)
        snapshot, decision, memory = conclusion.snapshot, conclusion.decision, acted.memory
        held = decision.verb is Verb.HOLD and decision.mode is not None
        if held and memory.mode is not decision.mode and snapshot.leader:
            self._violated("recorded", f"the routing object shows {decision.mode}, the memory has {memory.mode}")
        self._failover_due(snapshot, decision)
        self._leaves_nothing_behind(decision)
        self._shortage_ignored(decision)
        self._fallback_due(snapshot, decision, memory)
        if problem := self._planned.exposed(snapshot, decision):
            self._violated("planned-loss", problem)

    # --- liveness -----------------------------------------------------------------------------------------------------------------------

    def _failover_due(self, snapshot: Snapshot, decision: Decision) -> None:
        now, policy = self._engine.event_queue.now, snapshot.application.policy
        free = self._truth.calm() and policy.strategy is Strategy.TWO_MODE and self._failover_allowed()
        if not (free and self._refused_and_replaceable(snapshot)):
            self._short_since = None
            return
        since = self._short_since = now if self._short_since is None else self._short_since
        bound = policy.patience_s + REPLACEMENT_HOLD_S + _SLACK_S + self._asking_s()
        if now - since > bound:
            self._violated("late-failover", f"short for {now - since:.0f} s, {bound:.0f} s are allowed: {decision.sentence}")
            self._short_since = now + _HOUR_S  # one violation is enough

    def _leaves_nothing_behind(self, decision: Decision) -> None:
        """The routing object must not go on naming only Services that do not exist while those of the other mode have healthy targets."""
        engine, now = self._engine, self._engine.event_queue.now
        targets, deleted = engine.api.routing.observed.targets, engine.fault_state.deleted
        gone = bool(deleted) and all(target.service in deleted for target in targets if target.weight > 0)
        others = [one for one in engine.application.services if one not in {target.service for target in targets}]
        override = engine.api.routing.override
        free = self._truth.only_services_deleted() and override.paused_until is None and override.pinned_mode is None
        if not (gone and free and any(map(engine.balancer.healthy, others))):
            self._nothing_behind_since = None
            return
        since = self._nothing_behind_since = now if self._nothing_behind_since is None else self._nothing_behind_since
        if now - since > _NOTHING_BEHIND_S:
            self._violated("nothing-behind", f"nothing behind the routing for {now - since:.0f} s: {decision.sentence}")
            self._nothing_behind_since = now + _HOUR_S

    def _asking_s(self) -> float:
        """How long Karpenter may need to be refused everything that a unit may have: nothing proves a shortage before, but age."""
        engine = self._engine
        if engine.ec2.answer is FleetAnswer.ALL_ZONES:
            return 0.0
        return _RETRY_S * max(len(engine.karpenter.offerings_of(unit)) for unit in engine.application.units)

    def _failover_allowed(self) -> bool:
        """Whether people and the limits on mode changes allow a failover now."""
        now, policy, override = self._engine.event_queue.now, self._engine.application.policy, self._engine.api.routing.override
        free = override.paused_until is None and override.pinned_mode is None and self._truth.mode() is Mode.COST
        recent = [at for at, _ in self._mode_changes if now - at < _HOUR_S]
        return free and len(recent) < policy.flips_per_hour and now - self._mode_since >= DWELL_COST_S

    def _shortage_ignored(self, decision: Decision) -> None:
        found = self._shortages.ignored(free=self._failover_allowed())
        for name in sorted(found.keys() - self._ignored):  # one violation is enough
            self._violated("truth", f"{found[name]}: {decision.sentence}")
        self._ignored = set(found)

    def _refused_and_replaceable(self, snapshot: Snapshot) -> bool:
        """Whether a unit with weight has been refused capacity for what it needs, and another unit serves."""
        engine, now = self._engine, self._engine.event_queue.now
        starved = []
        for unit in engine.application.units:
            pool, types = engine.karpenter.pools[unit.node_pool], types_of(unit)
            refused = [one.at for one in pool.failures if not set(types).isdisjoint(one.instance_types)]
            last = max(refused, default=-math.inf)
            created = max((claim.created for claim in pool.launches if claim.instance_type in types), default=-math.inf)
            # One pass less than the whole window: near its end the evidence may be too old at the next pass.
            recent = now - last <= ICE_WINDOW_S - _SLACK_S and created < last
            if recent and (unit.weight is None or unit.weight > 0) and self._truth.starved(unit.name):
                starved.append(unit.name)
        others = [name for name, pods in engine.workloads.units.items() if name not in starved and pods.ready]
        return bool(starved) and bool(others) and not self._truth.absorbed(starved) and bool(Figures.of(snapshot).intended)

    def _fallback_due(self, snapshot: Snapshot, decision: Decision, memory: Memory) -> None:
        engine, now = self._engine, self._engine.event_queue.now
        application, override = snapshot.application, engine.api.routing.override
        limited = any(pool.limit is not None for pool in engine.karpenter.pools.values())
        free = self._truth.calm() and override.paused_until is None and override.pinned_mode is None and not engine.ec2.shortages
        if not free or limited or self._truth.mode() is not Mode.CAPACITY:
            self._back_since = None
            return
        since = self._back_since = now if self._back_since is None else self._back_since
        subject = tuple(name for name in memory.units if name in decision.evidence)
        hold = break_even_s(application, Figures.of(snapshot, memory.units).intended, subject, memory.hold_level)
        policy = application.policy
        cold = max(unit.cold_start_s for unit in application.units)
        bound = max(policy.quiet_s, hold, policy.dwell_capacity_s) + ICE_CACHE_S + 2.5 * cold + _RETURN_SLACK_S
        if now - since > bound:
            self._violated("late-fallback", f"capacity back for {now - since:.0f} s, {bound:.0f} s are allowed: {decision.sentence}")
            self._back_since = now + 24 * _HOUR_S

    # --- traffic ------------------------------------------------------------------------------------------------------------------------

    def _moved(self, before: LiveRule, after: LiveRule) -> None:
        """The live rule changed. If we asked for it, its effect is compared with that of the old rule."""
        del after
        now = self._engine.event_queue.now
        ours = now - self._ours_at < _WATCHED_S
        self._before = (before, now + _WATCHED_S) if ours and not before.answer else None

    def _flowed(self, flow: Flow, seconds: float) -> None:
        """Checks one stretch of traffic."""
        if self._before is None or not flow.failed:
            return
        rule, until = self._before
        engine = self._engine
        taken = engine.scarcity.interrupted_at > until - _WATCHED_S  # nobody can know which pods EC2 takes after a change
        if engine.event_queue.now > until or taken or not self._truth.calm():
            self._before = None
            return
        rate = flow.demand / seconds * engine.application.metric_period_s
        instead = engine.traffic.flow(rule.targets, rate, seconds)
        self.harm += max(0.0, flow.lost - instead.lost)
        # Only the sum shows a replica that sheds because round robin loads all replicas equally: see docs/laboratory/simulation.md.
        harm = flow.own_5xx - instead.own_5xx
        if harm > _HARM * flow.demand and harm > 1:
            self._violated("mode-change-harm", f"{harm:.1f} of {flow.demand:.0f} requests: {dict(sorted(flow.failed.items()))}")
            self._before = None
