"""The world in which the replayed decisions were carried out instead of the recorded ones, as far as that can be known.

Our own writes are known: the routing action, its marker, floors and targets of ScaledObjects. Everything else stays as recorded: no pod
starts or leaves, and no refusal appears or disappears, because of a decision that was never made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from controller.policy.model import Action, ActionKind, Plan, RoutingObservation, Scaler, Snapshot, Target, UnitObservation, Verdict
from controller.policy.plan import FIELD_MANAGER
from controller.recording.lines import Recorded, Request
from failover_analysis.replay.bodies import identity


@dataclass(frozen=True, slots=True)
class _Routing:
    """The routing on the Ingress."""

    marker: str
    action: str
    targets: tuple[Target, ...]
    stickiness_s: int


class Imagined:
    """What differs from one application's recorded world: at first nothing."""

    def __init__(self) -> None:
        self._routing: _Routing | None = None
        self._scalers: dict[tuple[str, str], Any] = {}  # values by unit and field

    def seen(self, snapshot: Snapshot) -> Snapshot:
        """A recorded snapshot as it would have been. When both worlds agree again, nothing differs any more."""
        units = {name: self._unit(observed) for name, observed in snapshot.units.items()}
        return replace(snapshot, units=units, routing=self._routed(snapshot))

    def _routed(self, snapshot: Snapshot) -> RoutingObservation:
        observed, mine = snapshot.routing, self._routing
        if mine is None or not observed.exists or mine == _standing(observed):
            self._routing = None
            return observed
        verification = observed.verification
        if verification is not None:  # the load balancer never got this action: assume that it shows it at once
            verification = replace(verification, verdict=Verdict.YES, at=snapshot.now, problem="", action=mine.action, applied=True)
        return replace(
            observed,
            marker=mine.marker,
            action=mine.action,
            targets=mine.targets,
            stickiness_s=mine.stickiness_s,
            problem="",
            writer=FIELD_MANAGER,
            foreign=False,
            verification=verification,
        )

    def _unit(self, observed: UnitObservation) -> UnitObservation:
        scaler = observed.scaler
        mine = {field: value for (unit, field), value in self._scalers.items() if unit == observed.unit}
        if scaler is None or not mine:
            return observed
        for field, value in mine.items():
            if getattr(scaler, field) == value:
                del self._scalers[observed.unit, field]
        return replace(observed, scaler=replace(scaler, **mine))

    def carry_out(self, made: Plan, seen: Snapshot, recorded: Recorded | None) -> tuple[list[Action], float]:
        """Carries out a replayed plan instead of what was recorded.

        Args:
            made: The replayed plan.
            seen: The snapshot that it was made from.
            recorded: What was done at that moment; None if nothing was.

        Returns:
            The actions that were carried out, and when, seconds since the Unix epoch.
        """
        theirs = recorded.decided.requests if recorded is not None else ()
        failed = recorded is not None and recorded.failed
        refused = {identity(one) for one in theirs if failed and not one.applied and not one.deferred}
        ours = [action for action in made.due if identity(action) not in refused]  # the API server would refuse again what it refused then
        done = {identity(one): one for one in theirs if one.applied}
        wanted = {identity(action): action for action in ours}
        for known, request in done.items():
            if known not in wanted:
                self._undo(request, seen)
        for known, action in wanted.items():
            if known not in done:
                self._do(action, made)
        last = next((action for action in ours if action.kind is ActionKind.ROUTE), ours[0] if ours else None)
        return ours, recorded.done if recorded is not None and last is not None and identity(last) in done else seen.now

    def _do(self, action: Action, made: Plan) -> None:
        decision = made.decision
        match action.kind:
            case ActionKind.ROUTE:
                self._routing = _Routing(str(decision.mode), action.after, decision.targets, decision.stickiness_s)
            case ActionKind.SET_TARGET:
                self._scalers[action.unit, "target"] = action.after
            case _:
                self._scalers[action.unit, "min_replicas"] = int(action.after)

    def _undo(self, request: Request, seen: Snapshot) -> None:
        """Keeps the old value of what a recorded request changed and the replay does not."""
        if request.kind == ActionKind.ROUTE:
            self._routing = _standing(seen.routing)
            return
        field = "target" if request.kind == ActionKind.SET_TARGET else "min_replicas"
        for name, observed in seen.units.items():
            scaler: Scaler | None = observed.scaler
            if scaler is not None and scaler.name == request.name:
                self._scalers[name, field] = getattr(scaler, field)


def _standing(routing: RoutingObservation) -> _Routing:
    return _Routing(routing.marker, routing.action, routing.targets, routing.stickiness_s)
