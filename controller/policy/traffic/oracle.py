"""The predicates that the gate replaces, for one commit: both run, and a difference that is not listed fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.availability import alike, carry, close
from controller.policy.case import Case
from controller.policy.known_demand import metrics_awaited
from controller.policy.metric_times import shown_s
from controller.policy.model import Application, Mode, Target
from controller.policy.planned_weights import beyond
from controller.policy.reservations import awaited, unknown_ends
from controller.policy.routing import same_routing
from controller.policy.targets import capacity_targets, cost_targets
from controller.policy.weights import blended_cost, follows_ready

_TOO_MUCH: Final = 1.05  # of what an absorbed unit can serve
_WORTH: Final = 0.05  # of the price of a request: weights that follow the ready replicas do not change to save less


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The routing action that a mode is to have.

    Attributes:
        targets: The action; () where nothing could serve, and the present one is left as it is.
        settles_s: How long the present action is kept because the last change is too young to judge, seconds; 0: for another reason.
    """

    targets: tuple[Target, ...]
    settles_s: float = 0.0


def _wanted(mode: Mode, case: Case) -> _Wanted:
    """The mode's routing action now."""
    application, figures, routing = case.snapshot.application, case.figures, case.snapshot.routing
    if mode is Mode.CAPACITY:
        targets = capacity_targets(application, figures.serving)
    else:
        if not figures.cost:
            return _Wanted(())
        targets = cost_targets(application, figures.cost)
        if _end_awaited(targets, case) or _only_unknown(targets, case):
            return _Wanted(routing.targets)
        if _young_s(case) > 0 and (_only_gives_back(targets, case) or _follows_noise(targets, case)):
            return _Wanted(routing.targets, _young_s(case))
        if follows_ready(application) and _carried(targets, case) and (_young_s(case) > 0 or not _worthwhile(targets, case)):
            return _Wanted(routing.targets, _young_s(case))
        if _as_written(application, figures.cost):
            return _Wanted(targets)
    kept = not routing.foreign and close(routing.targets, targets) and not (mode is Mode.COST and _overloads(targets, case))
    return _Wanted(routing.targets if kept else targets)


def _follows_noise(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action shifts a shortage that is absorbed among the same units before the last change can be judged.

    Of a light unit the noise of one sample is more than the weights may be off, so they would follow every sample of the demand.
    """
    routing = case.snapshot.routing
    return case.absorption is not None and not routing.foreign and alike(routing.targets, targets)


def _overloads(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether the present weights send a unit more than it can serve, and those of another action would not.

    Of a light unit a point of a percent may be a third of its share, so weights that are close may be far too much.
    """
    application, figures = case.snapshot.application, case.figures
    if not follows_ready(application):
        return _overloads_short(case)
    return not _carried(targets, case) and carry(application, _by_unit(application, targets), figures.serving, figures.demand)


def _overloads_short(case: Case) -> bool:
    """Whether the present weights send an absorbed unit more than it can serve."""
    found, application = case.absorption, case.snapshot.application
    if found is None or not found.fits or not found.cut:
        return False
    present = _by_unit(application, case.snapshot.routing.targets)
    whole = sum(present.values())
    return whole > 0 and any(present[name] > _TOO_MUCH * found.most[name] * whole for name in found.cut)


def _end_awaited(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action gives traffic back to a unit in a Capacity Block whose end is about to be known.

    A process that has just started has not heard EC2 yet, and the one before may have moved the traffic away.
    """
    snapshot, routing = case.snapshot, case.snapshot.routing
    if routing.foreign or not awaited(snapshot):
        return False
    present = {target.service: target.weight for target in routing.targets}
    idle = [unit for unit in snapshot.application.units if present.get(unit.backend.service, 0) == 0]
    back = {target.service for target in targets if target.weight > 0}
    return any(unit.backend.service in back and unknown_ends(unit, snapshot.units[unit.name]) for unit in idle)


def _demand_awaited(case: Case) -> bool:
    """Whether the demand is about to be known: a process that has just started has not heard CloudWatch yet."""
    return case.figures.demand is None and metrics_awaited(case.snapshot)


def _only_unknown(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether nothing is wrong with the present action but that the demand is not known yet.

    Without a demand all that is ready would get a part, also what is expensive, until the next change is due.
    """
    routing, application = case.snapshot.routing, case.snapshot.application
    if not follows_ready(application) or routing.foreign or not _demand_awaited(case):
        return False
    if not _same_services(routing.targets, targets):
        return False
    return carry(application, _by_unit(application, routing.targets), case.figures.serving, 0.0)


def _same_services(one: Iterable[Target], other: Iterable[Target]) -> bool:
    """Whether two actions name the same Services and ports. The application file may have another port by now."""
    return {(target.service, target.port) for target in one} == {(target.service, target.port) for target in other}


def _young_s(case: Case) -> float:
    """How long until CloudWatch shows the effect of the last change of the routing action, seconds; 0 once it does."""
    changed_at = case.memory.changed_at
    return 0.0 if changed_at is None else case.remaining(changed_at + shown_s(case.snapshot.application.metric_period_s))


def _only_gives_back(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action only restores weight that units had lost, which must wait until the last change can be judged.

    Less weight for an overloaded unit is urgent; more weight is not. Without the pause, weights would follow every sample of a demand that
    is close to a limit, or that is known in one pass and too old in the next.
    """
    routing = case.snapshot.routing
    whole = not follows_ready(case.snapshot.application) and not case.figures.cut
    return whole and not routing.foreign and alike(routing.targets, targets) and not same_routing(routing.targets, targets)


def _carried(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether the present weights carry the demand as well as others of the same units would.

    Without this check, weights that follow the ready replicas and the demand would change with every sample, and the unit that takes the
    rest of the demand would get traffic in one pass and none in the next. Only a change away from an overloaded unit, or from one without
    a serving replica, is urgent.
    """
    routing, application, figures = case.snapshot.routing, case.snapshot.application, case.figures
    if routing.foreign or not _same_services(routing.targets, targets):
        return False
    return carry(application, _by_unit(application, routing.targets), figures.serving, figures.demand)


def _worthwhile(targets: tuple[Target, ...], case: Case) -> bool:
    """Whether an action for the same units saves enough to be worth a change."""
    application, shown, demand = case.snapshot.application, case.planned, case.figures.demand
    old, new = _by_unit(application, case.snapshot.routing.targets), _by_unit(application, targets)
    if shown is not None and shown.followed and demand is not None:
        saved = beyond(application, old, demand, shown) - beyond(application, new, demand, shown)
        return saved > _WORTH * shown.fleet.price
    return blended_cost(old, application.units) > (1 + _WORTH) * blended_cost(new, application.units)


def _by_unit(application: Application, targets: tuple[Target, ...]) -> dict[str, int]:
    weights = {target.service: target.weight for target in targets}
    return {unit.name: weights[unit.backend.service] for unit in application.units}


def _as_written(application: Application, weights: Mapping[str, int]) -> bool:
    """Whether weights are exactly those of the application file. Then they are applied, however close the present ones are."""
    return all(unit.weight == weights.get(unit.name) for unit in application.units)


def compare(mode: Mode, case: Case, targets: tuple[Target, ...]) -> None:
    """Fails where the predicates want another action than the gate, but for the differences that are meant.

    Both are of explicit weights before the last change can be judged: part of a weight that was cut comes back as late as all of it, and a
    unit that is overloaded although a shortage is absorbed is relieved at once.
    """
    before, explicit = _wanted(mode, case).targets, not follows_ready(case.snapshot.application)
    meant = explicit and mode is Mode.COST and _young_s(case) > 0 and (case.absorption is not None or bool(case.figures.cut))
    if before != targets and not meant:
        raise AssertionError(f"{case.snapshot.application.key} {mode}: {before} before, {targets} now")
