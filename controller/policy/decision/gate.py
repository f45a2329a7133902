"""The gate: whether the routing is changed now within its mode; if not, why, and until when.

Each change costs the load-balancer controller a whole reconcile, and CloudWatch shows its effect only minutes later. So a change passes

- at once, where the present action overloads a unit or sends it requests that it cannot serve, and the wanted one does not; where the
  action is to name other target groups; and where the weights of the application file are to give traffic to a unit that had none;
- otherwise once the last change can be judged, and only if it is worth it: if it saves enough dollars, or moves enough traffic;
- after a pause that doubles, where somebody else changed what the controller wrote: two writers would fight;
- at most `CHANGES_PER_HOUR` times an hour, for whatever cause.

The last two hold back what is overloaded or cannot serve for `URGENT_S` at most. Mode changes have a budget of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.policy import text
from controller.policy.account import metrics_awaited, reassert_pause_s, shown_s, unit_loads
from controller.policy.case import Case
from controller.policy.memory import CHANGES_PER_HOUR, HOUR_S, REWRITTEN, sent_as
from controller.policy.model import GuardResult, Mode, Target
from controller.policy.reasons import Reason
from controller.policy.routing import SLACK, alike, awaited, blended_cost, close, follows_ready, same_routing, stickiness, unknown_ends
from controller.policy.strategies import part_of

URGENT_S: Final = 300.0
"""The longest time for which a pause or the bound holds back an urgent change, seconds after the last change: by then CloudWatch and the
load balancer show what that did. So there are never more than twelve urgent changes in an hour beyond the bound."""

_TENTH: Final = 1.1  # how much more than it should have a unit may get before that is urgent: the tolerance of KEDA's HPA
_TWENTIETH: Final = 1.05  # the same of a unit that is short, and whose replicas are full
_WORTH: Final = 0.05  # of the price of a request: weights that follow the ready replicas do not change to save less


@dataclass(frozen=True, slots=True)
class Passage:
    """What the gate lets pass.

    Attributes:
        targets: The routing action to have now: the wanted one, or the present one.
        kept: Why it is the present one, and until when; None where it is the wanted one.
        paused: Why even that is not written now; None where it is, or where it stands already.
        changes: Whether another action is shown, or another stickiness.
        writer: Who changed what the controller wrote; None where nobody did.
    """

    targets: tuple[Target, ...]
    kept: GuardResult | None
    paused: GuardResult | None
    changes: bool
    writer: str | None

    @property
    def held(self) -> GuardResult | None:
        """Why the wanted action is not written now."""
        return self.paused or self.kept

    @property
    def reopens_s(self) -> float | None:
        """When time alone may let the wanted action pass, seconds from now; None where it never does."""
        return None if self.held is None else self.held.reopens_s


def gate(mode: Mode, case: Case, wanted: tuple[Target, ...]) -> Passage:
    """Whether the routing action of a mode is written now.

    Args:
        mode: The present mode.
        case: What is observed, remembered and computed.
        wanted: The action that the mode should have by the present figures.
    """
    routing, urgent = case.snapshot.routing, _urgent(case, wanted)
    kept = None if routing.foreign or same_routing(routing.targets, wanted) else _kept(mode, case, wanted, urgent=urgent)
    targets, sticks_s = wanted if kept is None else routing.targets, stickiness(case.snapshot.application, mode, routing)
    changes = not (same_routing(routing.targets, targets) and routing.stickiness_s == sticks_s)
    writer = _writer(case, sent_as(targets, sticks_s)) if changes else None if routing.marks(mode) else routing.marked_by
    paused = _paused(mode, case, writer, urgent=urgent) if changes or writer is not None else None
    return Passage(targets, kept, paused, changes, writer)


def _urgent(case: Case, wanted: tuple[Target, ...]) -> bool:
    """Whether the present action gives a unit more than it can serve, and the wanted one gives it less.

    Explicit weights are cut once a unit has a third more than it is made for (`SLACK`), and weights that follow the ready replicas fill
    each unit. So do those that absorb a shortage, but of a light unit the noise of one sample is more than they may be off: that counts
    once the last change can be judged. Where all units together cannot carry the demand, a unit may have a tenth more than its part of it.
    """
    application, figures, present = case.snapshot.application, case.figures, case.snapshot.routing.targets
    follows, sure = follows_ready(application), case.absorption is not None and _young_s(case) == 0
    together = sum(count * application.unit(name).throughput for name, count in figures.serving.items())
    aim = max(1.0 if follows or sure else 1 / SLACK, (figures.demand or 0.0) / together if together else 0.0)
    most = aim * (_TWENTIETH if sure and not follows else _TENTH)
    now, then = unit_loads(application, figures, present), unit_loads(application, figures, wanted)
    less = {name: then.get(name, 0.0) for name, load in now.items() if load > most and then.get(name, 0.0) < load}
    if not close(present, wanted):
        return bool(less)
    # One unit's relief does not wait for another unit that has too much before and after.
    return any(load <= most for load in less.values()) and all(load <= max(most, now.get(name, 0.0)) for name, load in then.items())


def _kept(mode: Mode, case: Case, wanted: tuple[Target, ...], *, urgent: bool) -> GuardResult | None:
    """Why the present action stays although another one is wanted; None where it does not."""
    snapshot, present = case.snapshot, case.snapshot.routing.targets
    follows = mode is Mode.COST and follows_ready(snapshot.application)
    if mode is Mode.COST and _end_awaited(case, wanted):
        return _held(Reason.FIGURES_AWAITED, source="EC2")
    moved = not (_same_services(present, wanted) if follows else alike(present, wanted))
    if urgent or moved:
        return None
    if follows and case.figures.demand is None and metrics_awaited(snapshot):
        return _held(Reason.FIGURES_AWAITED, source="CloudWatch")  # all that is ready would get a part until then, also what is expensive
    judged = mode is Mode.COST and (case.figures.demand is not None or not follows)
    if judged and (left := _young_s(case)) > 0:
        return _held(Reason.WEIGHTS_SETTLING, left, remaining=text.duration(left))
    why = _too_little_saved(case, wanted) if judged and follows else _too_close(mode, case, wanted)
    return _held(Reason.WEIGHTS_KEPT, why=why) if why else None


def _held(reason: Reason, reopens_s: float | None = None, **details: str) -> GuardResult:
    return GuardResult("worth", reason, details=details, reopens_s=reopens_s)


def _young_s(case: Case) -> float:
    """How long until CloudWatch shows the effect of the last change of the routing action, seconds; 0 once it does."""
    changed_at = case.memory.changed_at
    return 0.0 if changed_at is None else case.remaining(changed_at + shown_s(case.snapshot.application.metric_period_s))


def _same_services(present: tuple[Target, ...], wanted: tuple[Target, ...]) -> bool:
    """Whether two actions name the same Services and ports. The application file may have another port by now."""
    return {(target.service, target.port) for target in present} == {(target.service, target.port) for target in wanted}


def _end_awaited(case: Case, wanted: tuple[Target, ...]) -> bool:
    """Whether an action gives traffic back to a unit in a Capacity Block whose end is about to be known.

    A process that has just started has not heard EC2 yet, and the one before may have moved the traffic away.
    """
    snapshot = case.snapshot
    if not awaited(snapshot):
        return False
    present, then = ({one.service for one in targets if one.weight > 0} for targets in (snapshot.routing.targets, wanted))
    back = [unit for unit in snapshot.application.units if unit.backend.service in then - present]
    return any(unknown_ends(unit, snapshot.units[unit.name]) for unit in back)


def _too_close(mode: Mode, case: Case, wanted: tuple[Target, ...]) -> str:
    """That an action moves too little traffic, in words; "" where it moves enough. The weights of the application file always count."""
    written = mode is Mode.COST and all(unit.weight == case.figures.cost.get(unit.name) for unit in case.snapshot.application.units)
    return "" if written or not close(case.snapshot.routing.targets, wanted) else "no share of the traffic would change by a tenth"


def _too_little_saved(case: Case, wanted: tuple[Target, ...]) -> str:
    """That weights that follow the ready replicas save too little, in words; "" where they save enough.

    A strategy may count a saving in its own way.
    """
    application = case.snapshot.application
    weights = [{target.service: target.weight for target in targets} for targets in (case.snapshot.routing.targets, wanted)]
    old, new = ({unit.name: each.get(unit.backend.service, 0) for unit in application.units} for each in weights)
    known = part_of(application.policy).saved(case, old, new)
    whole = blended_cost(new, application.units)
    saved, whole = known or (blended_cost(old, application.units) - whole, whole)
    return "" if saved > _WORTH * whole else f"they would save less than {_WORTH:.0%} of the price"


def _writer(case: Case, action: str) -> str | None:
    """Who changed or deleted the routing action that the controller wrote last; None where nobody did.

    A mutating webhook changes it in the controller's own request, and then the controller is named as its writer: what was sent
    was never seen there, or it is to be sent again. A webhook that only writes the same action in other words changes nothing.

    Args:
        case: What is observed and remembered.
        action: What is to be written, see `memory.sent_as`.
    """
    routing, memory = case.snapshot.routing, case.memory
    changed_now = memory.unverified_since is not None and memory.changed_at == case.snapshot.now
    found_so = routing.foreign and not (routing.marker or memory.sent or memory.reasserted.times or changed_now)
    if routing.action and found_so:
        return None  # the action of a routing object that the controller has never written
    seen = sent_as(routing.targets, routing.stickiness_s) == memory.sent
    if seen and routing.settings_elsewhere and routing.action:  # who edits another rule of a route owns all of them, and changed nothing
        return None
    if routing.foreign or not routing.action:
        return routing.writer or "somebody"
    return REWRITTEN if memory.sent and not seen and (memory.unseen or memory.sent == action) else None


def _paused(mode: Mode, case: Case, writer: str | None, *, urgent: bool) -> GuardResult | None:
    """What makes a change wait that is worth it: the pause before another writer is answered again, or the bound on changes."""
    memory, now = case.memory, case.snapshot.now
    recent = [at for at in memory.routed_at if now - at < HOUR_S]
    waits = [(now, Reason.ROUTING_BUDGET_SPENT)]
    if writer is not None and memory.reasserted.at is not None:
        waits.append((memory.reasserted.at + reassert_pause_s(memory.reasserted.times), Reason.REASSERT_BACKOFF))
    if len(recent) >= CHANGES_PER_HOUR:
        waits.append((recent[-CHANGES_PER_HOUR] + HOUR_S, Reason.ROUTING_BUDGET_SPENT))
    until, reason = max(waits)
    left = case.remaining(min(until, recent[-1] + URGENT_S) if urgent and recent else until)
    if left == 0:
        return None
    details = {"mode": str(mode), "writer": writer or "", "changes": str(len(recent)), "limit": str(CHANGES_PER_HOUR)}
    return _held(reason, left, remaining=text.duration(left), **details)
