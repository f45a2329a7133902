"""What must be true at every step of every run, each with the harm to users that it rules out.

Safety is checked against the truth of the world wherever the controller could have known it: what it cannot know (a rule that somebody
changed a second ago) it may get wrong once. Liveness is checked while nothing else is wrong: a fault may keep the controller from acting,
and what it does after the fault is over is bounded by `SETTLE_S` more.
"""

from __future__ import annotations

import json
import math
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final

from controller.errors import RemoteError, Unavailable
from controller.policy.hold import break_even_s
from controller.policy.model import Action, ActionKind, Decision, Memory, Mode, Plan, Snapshot, Strategy, Verb
from controller.policy.plan import FIELD_MANAGER
from controller.policy.reasons import Reason
from controller.policy.routing import MARKER, action_problem, parse_action, same_routing
from controller.policy.targets import intended_weights
from failover_analysis.simulation.balancer import LiveRule
from failover_analysis.simulation.recording import Violation
from failover_analysis.simulation.traffic import Flow

if TYPE_CHECKING:
    from failover_analysis.simulation.engine import Simulation
    from failover_analysis.simulation.replica import Replica

HARMS: Final = {
    "legal": "AWS or the load-balancer controller refuses the routing, and the switch that users need never happens",
    "one-writer": "two controllers move the same traffic against one another",
    "ready": "requests are sent to a group of pods none of which is ready, and fail",
    "drained": "replicas are taken away from traffic that still goes to them",
    "not-ours": "a floor or a ScaledObject that a person set is overruled",
    "flips": "traffic is moved to and fro more often than was allowed",
    "dwell": "traffic is moved back before the last move could have had an effect",
    "blind": "traffic or replicas are changed on the strength of signals that are known to be old",
    "paused": "a person said stop, and it went on",
    "leaderless": "a process that does not lead changes traffic",
    "explained": "a change has no reason that a person could read",
    "recorded": "a change is forgotten, and with it the limits on further ones",
    "switch-harm": "requests fail that would have been served had the routing been left alone",
    "late-failover": "users are failed although somebody else could serve them",
    "late-fallback": "capacity has been back for long, and the dear mode goes on",
    "restless": "the load balancer's rule is rewritten so often that its controller cannot keep up",
    "exception": "the controller stops deciding",
}
"""By invariant: what users would suffer if it did not hold."""

MOST: Final = 20
"""Violations after which a run ends."""

SETTLE_S: Final = 900.0
"""How long after a fault nothing is demanded yet: a cold start, and what was missed is caught up with."""

_SLACK_S: Final = 60.0  # of liveness: the watches' lag, one interval, one retry of Karpenter's batch
_RETURN_SLACK_S: Final = 2700.0  # of a fallback: an hour's quarter for the canary's node, and replicas that grow with the demand
_WATCHED_S: Final = 900.0  # how long after a change of the live rule its effect is compared with leaving it alone
_HARM: Final = 0.005  # share of a stretch's requests: less is the noise of rounding weights
_HOUR_S: Final = 3600.0
_AUDIT_S: Final = 70.0  # a change of the rule behind our back is seen by the next audit
_ROUTES_AN_HOUR: Final = 24
_UNSEEN_S: Final = 5.0  # of an override: the watch's lag, and the pass that was under way


class Invariants:
    """The checks of one run.

    Args:
        simulation: The run.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.violations: list[Violation] = []
        self._flips: deque[tuple[float, Mode]] = deque(maxlen=100)
        self._routes: deque[float] = deque(maxlen=_ROUTES_AN_HOUR + 1)
        self._mode_since = -math.inf
        self._override_since = -math.inf
        self._short_since: float | None = None
        self._back_since: float | None = None
        self._before: tuple[LiveRule, float] | None = None  # what was live before our last change, and until when it is compared
        self._ours_at = -math.inf
        self.harm = 0.0
        """Requests that failed within a quarter of an hour of a change of ours and would not have, had the routing been left alone."""
        self.tampered_at = -math.inf
        self.memory_lost_at = -math.inf
        simulation.balancer.listeners.append(self._moved)

    # --- reporting ----------------------------------------------------------------------------------------------------------------------

    def full(self) -> bool:
        """Whether there is no point in going on."""
        return len(self.violations) >= MOST

    def _violated(self, name: str, text: str) -> None:
        if not self.full():
            self.violations.append(Violation(name, self._simulation.event_queue.now, text))

    def broke(self, error: Exception) -> None:
        """Something raised that never should."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._violated("exception", f"{type(error).__name__}: {error} at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}")

    # --- the truth ----------------------------------------------------------------------------------------------------------------------

    def calm(self) -> bool:
        """Whether nothing is wrong but capacity, and has not been for long enough."""
        simulation = self._simulation
        return not simulation.active and simulation.event_queue.now - simulation.last_fault >= SETTLE_S

    def exhausted(self, unit: str) -> bool:
        """Whether EC2 has no room for any offering of a unit's NodePool."""
        simulation = self._simulation
        shortages = simulation.ec2.shortages
        if not shortages:
            return False
        pool = simulation.karpenter.pools[simulation.application.unit(unit).node_pool]
        offerings = [(one, zone) for one in pool.types for zone in simulation.setup.zones]
        return all(any(shortage.concerns(offering) for shortage in shortages) for offering in offerings)

    def _starved(self, unit: str) -> bool:
        """Whether pods of a unit wait for what EC2 does not have."""
        pods = self._simulation.workloads.units[unit]
        return pods.ready < pods.desired and any(pod.node is None for pod in pods.pods) and self.exhausted(unit)

    def exposed(self) -> bool:
        """Whether cost mode sends traffic to a unit that cannot grow as it needs to."""
        simulation = self._simulation
        if not simulation.ec2.shortages or self.mode() is Mode.CAPACITY:
            return False
        weights = {target.service: target.weight for target in simulation.balancer.live.targets}
        return any(weights.get(unit.backend.service) and self._starved(unit.name) for unit in simulation.application.units)

    def mode(self) -> Mode:
        """The mode that the Ingress shows; that of the start until the first switch."""
        shown = self._simulation.api.ingress.annotations.get(MARKER)
        return {str(mode): mode for mode in Mode}.get(shown or "", self._simulation.setup.mode)

    # --- a pass -------------------------------------------------------------------------------------------------------------------------

    def decided(self, replica: Replica, snapshot: Snapshot, decision: Decision, made: Plan) -> None:
        """Before anything of a plan is applied."""
        if "?>" in decision.sentence or not decision.sentence:
            self._violated("explained", f"{decision.reason}: {decision.sentence}")
        if not made.due:
            return
        stale = [source.name for source in snapshot.sources if source.required and source.stale(snapshot.now)]
        if stale:
            self._violated("blind", f"{len(made.due)} action(s) with stale {', '.join(stale)}")
        if not snapshot.leader:
            self._violated("leaderless", f"replica {replica.number} plans {len(made.due)} action(s)")
        override = snapshot.routing.override
        if override.problem or (override.paused_until is not None and snapshot.now < override.paused_until):
            self._violated("paused", f"{len(made.due)} action(s) while paused")

    def acted(self, replica: Replica, snapshot: Snapshot, decision: Decision, action: Action, error: RemoteError | None) -> None:
        """After an action was answered."""
        effective = error is None or (isinstance(error, Unavailable) and str(error) == "read timed out")
        if not effective:
            return
        simulation = self._simulation
        if simulation.lease.holder != replica.number or replica.leadership.epoch() != simulation.lease.epoch:
            self._violated("one-writer", f"replica {replica.number} wrote, {simulation.lease.holder} leads")
        override, now = simulation.api.ingress.override, simulation.event_queue.now
        blind = simulation.fault_state.stalled or simulation.fault_state.stale_s
        stopped = override.paused_until is not None and simulation.clock() < override.paused_until
        if stopped and not blind and now - self._override_since > _UNSEEN_S:
            self._violated("paused", f"{action.kind} while a person had it paused")
        if action.kind is ActionKind.ROUTE:
            self._routed(snapshot, decision, action)
        else:
            self._scaled(snapshot, action)

    def override_changed(self) -> None:
        """An operator has just written an override."""
        self._override_since = self._simulation.event_queue.now

    def _routed(self, snapshot: Snapshot, decision: Decision, action: Action) -> None:
        now = self._simulation.event_queue.now
        written = json.loads(action.body)["metadata"]["annotations"][self._simulation.api.action_key]
        targets, _, problem = parse_action(written)
        problem = problem or action_problem(targets)
        if problem or written != action.after:
            self._violated("legal", problem or "the body is not what the plan shows")
        self._receivers_ready(snapshot, decision, action)
        if decision.verb.switches and decision.mode is not None:
            self._flipped(snapshot, decision, decision.mode)
        self._ours_at = now
        self._routes.append(now)
        if len(self._routes) > _ROUTES_AN_HOUR and now - self._routes[0] < _HOUR_S:
            self._violated("restless", f"{len(self._routes)} changes of the routing within {now - self._routes[0]:.0f} s")

    def _receivers_ready(self, snapshot: Snapshot, decision: Decision, action: Action) -> None:
        """Every group that is to get more traffic has a ready endpoint; in truth as well, where the watches were true."""
        old = {target.service: target.weight for target in snapshot.routing.targets}
        whole, before = sum(target.weight for target in decision.targets), sum(old.values())
        application = snapshot.application
        for target in decision.targets:
            share = old.get(target.service, 0) / before if before else 0.0
            if target.weight == 0 or target.weight / whole <= share:
                continue
            unit = next((unit.name for unit in application.units if unit.backend.service == target.service), None)
            seen = snapshot.routing.capacity_ready if unit is None else snapshot.units[unit].ready
            if not seen or (self.calm() and self._simulation.balancer.ready(target.service) == 0):
                self._violated("ready", f"{action.kind} moves traffic to {target.service}, which has no ready endpoint")

    def _flipped(self, snapshot: Snapshot, decision: Decision, mode: Mode) -> None:
        """Limits on mode changes; what a person asked for has none."""
        simulation, now, policy = self._simulation, self._simulation.event_queue.now, snapshot.application.policy
        forgiven = now - self.memory_lost_at < _HOUR_S or simulation.clock_offset != 0 or now - simulation.last_fault < _HOUR_S
        if decision.reason is not Reason.PINNED_TO_MODE and decision.verb is not Verb.ROLLBACK and not forgiven:
            recent = [at for at, _ in self._flips if now - at < _HOUR_S]
            if len(recent) >= policy.flips_per_hour:
                self._violated("flips", f"{len(recent) + 1} mode changes within an hour, {policy.flips_per_hour} are allowed")
            least = policy.dwell_capacity_s if mode is Mode.COST else policy.dwell_cost_s
            if now - self._mode_since < least - 1:
                self._violated("dwell", f"to {mode} after {now - self._mode_since:.0f} s, {least:.0f} s are asked for")
        self._flips.append((now, mode))
        self._mode_since = now

    def _scaled(self, snapshot: Snapshot, action: Action) -> None:
        """Nothing is lowered before the load balancer shows the routing and clients have left; nothing of somebody else's is."""
        simulation, now = self._simulation, self._simulation.event_queue.now
        scaler = snapshot.units[action.unit].scaler
        if scaler is None or scaler.paused:
            self._violated("not-ours", f"{action.kind} of a ScaledObject that is {'paused' if scaler else 'not there'}")
            return
        lowers = action.kind is ActionKind.LOWER_FLOOR or (
            action.kind is ActionKind.SET_TARGET and float(action.after) > float(action.before or "0")
        )
        if action.kind is ActionKind.LOWER_FLOOR and not scaler.floor_ours:
            self._violated("not-ours", f"the floor of {action.unit} was set by somebody else")
        policy = snapshot.application.policy
        if not lowers or now - self.tampered_at < _AUDIT_S or now - simulation.clock_set_at < policy.drain_s:
            return  # a wall clock that jumps ahead ends every wait, the drain's too
        asked, live = parse_action(simulation.api.ingress.annotations.get(simulation.api.action_key, ""))[0], simulation.balancer.live
        drained = now - simulation.balancer.live_since >= policy.drain_s
        seen = simulation.api.ingress.writer == FIELD_MANAGER and snapshot.routing.resource_version == str(simulation.api.ingress.version)
        if seen and not (same_routing(asked, live.targets) and drained):
            age = now - simulation.balancer.live_since
            self._violated("drained", f"{action.kind} of {action.unit}: live for {age:.0f} s, shown {same_routing(asked, live.targets)}")

    def passed(self, snapshot: Snapshot, decision: Decision, memory: Memory | None) -> None:
        """A pass is over."""
        held = decision.verb is Verb.HOLD and decision.mode is not None
        if held and memory is not None and memory.mode is not decision.mode and snapshot.leader:
            self._violated("recorded", f"the Ingress shows {decision.mode}, remembered is {memory.mode}")
        if memory is not None:
            self._failover_due(snapshot, decision)
            self._fallback_due(snapshot, decision, memory)

    # --- liveness -----------------------------------------------------------------------------------------------------------------------

    def _failover_due(self, snapshot: Snapshot, decision: Decision) -> None:
        simulation, now, policy = self._simulation, self._simulation.event_queue.now, snapshot.application.policy
        override = simulation.api.ingress.override
        free = self.calm() and override.paused_until is None and override.pinned_mode is None and self.mode() is Mode.COST
        free = free and policy.strategy is Strategy.TWO_MODE
        recent = [at for at, _ in self._flips if now - at < _HOUR_S]
        free = free and len(recent) < policy.flips_per_hour and now - self._mode_since >= policy.dwell_cost_s
        if not (free and self._refused_and_replaceable(snapshot)):
            self._short_since = None
            return
        since = self._short_since = now if self._short_since is None else self._short_since
        bound = policy.patience_s + policy.replacement_hold_s + _SLACK_S
        if now - since > bound:
            self._violated("late-failover", f"short for {now - since:.0f} s, {bound:.0f} s are allowed: {decision.sentence}")
            self._short_since = now + _HOUR_S  # once is enough

    def _refused_and_replaceable(self, snapshot: Snapshot) -> bool:
        """Whether a unit that carries weight is provably starved, and another one serves."""
        simulation, now = self._simulation, self._simulation.event_queue.now
        weights = intended_weights(snapshot, ())
        starved = []
        for unit in simulation.application.units:
            pool = simulation.karpenter.pools[unit.node_pool]
            last = max((failure.at for failure in pool.failures), default=-math.inf)
            launched = max((claim.launched or 0.0 for claim in pool.launches), default=-math.inf)
            # The whole window but a pass: near its end the evidence may be too old at the next look.
            recent = now - last <= snapshot.application.policy.ice_window_s - _SLACK_S and launched < last
            if recent and (unit.weight is None or unit.weight > 0) and self._starved(unit.name):
                starved.append(unit.name)
        others = [name for name, pods in simulation.workloads.units.items() if name not in starved and pods.ready]
        return bool(starved) and bool(others) and bool(weights)

    def _fallback_due(self, snapshot: Snapshot, decision: Decision, memory: Memory) -> None:
        simulation, now = self._simulation, self._simulation.event_queue.now
        application, override = snapshot.application, simulation.api.ingress.override
        limited = any(pool.limit is not None for pool in simulation.karpenter.pools.values())
        free = self.calm() and override.paused_until is None and override.pinned_mode is None and not simulation.ec2.shortages
        if not free or limited or self.mode() is not Mode.CAPACITY:
            self._back_since = None
            return
        since = self._back_since = now if self._back_since is None else self._back_since
        subject = tuple(name for name in memory.units if name in decision.evidence)
        hold = break_even_s(application, intended_weights(snapshot, memory.units), subject, memory.hold_level)
        policy = application.policy
        cold = max(unit.cold_start_s for unit in application.units)
        bound = max(policy.quiet_s, hold, policy.dwell_capacity_s) + policy.ice_cache_s + 2.5 * cold + _RETURN_SLACK_S
        if now - since > bound:
            self._violated("late-fallback", f"capacity back for {now - since:.0f} s, {bound:.0f} s are allowed: {decision.sentence}")
            self._back_since = now + 24 * _HOUR_S

    # --- traffic ------------------------------------------------------------------------------------------------------------------------

    def _moved(self, before: LiveRule, after: LiveRule) -> None:
        """The live rule changed. Where we asked for that, what it does is compared with what would have been."""
        del after
        now = self._simulation.event_queue.now
        ours = now - self._ours_at < _WATCHED_S
        self._before = (before, now + _WATCHED_S) if ours and not before.answer else None

    def flowed(self, flow: Flow, seconds: float) -> None:
        """A stretch of traffic."""
        if self._before is None or not flow.failed:
            return
        rule, until = self._before
        simulation = self._simulation
        if simulation.event_queue.now > until or not self.calm():
            self._before = None
            return
        rate = flow.demand / seconds * simulation.application.metric_period_s
        instead = simulation.traffic.flow(rule.targets, rate, seconds)
        self.harm += max(0.0, flow.lost - instead.lost)
        # A replica that sheds because round robin gives all alike is told by the sum alone: see docs/simulation.md.
        harm = flow.own_5xx - instead.own_5xx
        if harm > _HARM * flow.demand and harm > 1:
            self._violated("switch-harm", f"{harm:.1f} of {flow.demand:.0f} requests: {dict(sorted(flow.failed.items()))}")
            self._before = None
