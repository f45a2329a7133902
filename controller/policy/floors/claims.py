"""The claims on replicas, and the floor of each unit: its highest claim.

The floor of a unit whose weight was cut for want of replicas stays at what its full weight needs: its own counter shows only the traffic
that it still gets, and its scaler would stop there. A raised floor sinks only to what the demand needs: a scaler may have no metric, or
still that of the time before a mode change. A strategy may decide instead how far raised floors sink in cost mode, see `floors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.policy.account import ceilings
from controller.policy.case import Case
from controller.policy.floors import metrics
from controller.policy.floors.account import found, remembered
from controller.policy.floors.capacity import capacity_claims
from controller.policy.model import Application, Claim, Memory, Mode, Snapshot
from controller.policy.reasons import ClaimReason


def floors(mode: Mode, case: Case, strategy: Iterable[Claim]) -> dict[str, Claim]:
    """The floor of each unit.

    Args:
        mode: The mode to be in.
        case: What the floors are decided from.
        strategy: Claims of cost mode that replace `ClaimReason.IN_USE` of their units.
    """
    snapshot = case.snapshot
    own = _of_capacity(case) if mode is Mode.CAPACITY else _of_cost(case, strategy)
    return highest(snapshot, (*asked(snapshot.application), *_found(case.memory, snapshot), *own, *metrics.claims(snapshot, case.memory)))


def highest(snapshot: Snapshot, claims: Iterable[Claim]) -> dict[str, Claim]:
    """The highest claim on each unit, the first of equal ones, bounded by the unit's ceiling."""
    found: dict[str, Claim] = {}
    limits = ceilings(snapshot)
    for claim in claims:
        most = limits[claim.unit]
        bounded = claim if claim.replicas <= most else Claim(claim.unit, most, claim.reason, claim.until)
        if claim.unit not in found or bounded.replicas > found[claim.unit].replicas:
            found[claim.unit] = bounded
    return found


def needed(case: Case) -> Iterator[Claim]:
    """The claims of a fallback that is being prepared, or under way."""
    return (Claim(name, judged.needed, ClaimReason.NEEDED) for name, judged in case.evidence.items())


def asked(application: Application) -> Iterator[Claim]:
    """The claims of the application file."""
    return (Claim(unit.name, unit.min_replicas, ClaimReason.FILE) for unit in application.units)


def _found(memory: Memory, snapshot: Snapshot) -> Iterator[Claim]:
    return (Claim(unit.name, found(memory, snapshot, unit), ClaimReason.FOUND) for unit in snapshot.application.units)


def _of_capacity(case: Case) -> tuple[Claim, ...]:
    snapshot, units = case.snapshot, case.snapshot.application.units
    due = {unit.name for unit in units if case.mode is not Mode.CAPACITY or remembered(case.memory, unit).due}
    return capacity_claims(snapshot, case.evidence, case.figures.demand, due=due)


def _of_cost(case: Case, strategy: Iterable[Claim]) -> Iterator[Claim]:
    """Until the nodes of a Capacity Block are gone, its end only raises floors. Without metrics for long, no floor stays raised."""
    snapshot, forgotten = case.snapshot, metrics.missing_for_long(case.snapshot, case.memory)
    instead = {} if forgotten else {claim.unit: claim for claim in strategy}
    for name, judged in case.evidence.items():
        scaler = snapshot.units[name].scaler
        raised = scaler.min_replicas if scaler is not None and scaler.floor_ours and not forgotten else 0
        if name in case.figures.cut or case.figures.ending:
            yield Claim(name, judged.needed, ClaimReason.NEEDED)
        yield instead.get(name) or Claim(name, min(judged.needed, raised), ClaimReason.IN_USE)
        if case.figures.ending:
            yield Claim(name, raised, ClaimReason.BLOCK)
    yield from _last(snapshot)


def _last(snapshot: Snapshot) -> Iterator[Claim]:
    """The last replica of a unit that may run nothing: it goes after its weight. An action that cannot be read says nothing of weights."""
    targets = snapshot.routing.targets
    for unit in snapshot.application.units if snapshot.application.policy.plans_floors else ():
        scaler = snapshot.units[unit.name].scaler
        weighted = not targets or any(target.weight for target in targets if target.service == unit.backend.service)
        if weighted and scaler is not None and scaler.floor_ours:
            yield Claim(unit.name, min(1, scaler.min_replicas), ClaimReason.WEIGHTED)
