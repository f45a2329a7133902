"""What would be decided later if nothing but time passed, or if a unit were refused everywhere: `conclude`, asked about the future.

Nothing here acts: the values are for people, in `failoverctl explain`, in messages and on the status page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from controller.policy.decision.conclusion import conclude
from controller.policy.evidence import JUST_AFTER_S
from controller.policy.karpenter_times import ICE_CACHE_S, REPLACEMENT_HOLD_S
from controller.policy.model import (
    Cause,
    Decision,
    Memory,
    Override,
    PendingPod,
    PoolObservation,
    Proof,
    Refusal,
    Sample,
    Snapshot,
    UnitObservation,
    Verb,
)

HORIZON_S: Final = 6 * 3600.0
"""How far a forecast reaches, seconds: the longest waits of the policy are `holdMaxSeconds`, 4 hours by default."""
_STEPS: Final = 24  # decisions of one forecast; each waits for at least one moment at which time may change the decision
_HYPOTHETICAL: Final = "hypothetical"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes if nothing but time passes.

    Attributes:
        now: The present decision.
        in_s: Seconds until the mode changes, 0 where it would now; None where time alone does not change it within `HORIZON_S`.
        decision: The decision that changes the mode, or else the last decision that holds back what the present one does. After that,
            what was refused has aged, and nothing is held back any more.
        before: What holds it until then: the decision just before that one. None where nothing does.
    """

    now: Decision
    in_s: float | None
    decision: Decision
    before: Decision | None = None

    @property
    def proof(self) -> Proof | None:
        """How the shortage behind a failover is proven by then; None for other mode changes."""
        proofs = (judged.proof for judged in self.decision.evidence.values() if judged.short)
        return next(proofs, None) if self.decision.verb is Verb.FAILOVER else None


def forecast(memory: Memory, snapshot: Snapshot) -> Forecast:
    """Decides again and again, each time at the next moment at which time alone may change the decision.

    Every source stays as fresh as it is now, what waits goes on waiting, and what was refused is refused again.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
    """
    return _forecast(memory, lambda passed: _refused_again(later(snapshot, passed), snapshot.now))


def _forecast(memory: Memory, at: Callable[[float], Snapshot]) -> Forecast:
    """Decides again and again; `at` is what is observed some seconds from now."""
    passed, before = 0.0, None
    made = first = conclude(memory, at(passed))
    last = made.decision
    for _ in range(_STEPS):
        if made.decision.verb.changes_mode:
            return Forecast(first.decision, passed, made.decision, before)
        wait = made.decision.next_check_s
        if wait is None or passed + wait > HORIZON_S:
            break
        passed, before = passed + wait + JUST_AFTER_S, made.decision
        made = conclude(made.memory, at(passed))
        last = made.decision if made.decision.held_back is last.held_back else last
    return Forecast(first.decision, None, last, before)


def refused_everywhere(memory: Memory, snapshot: Snapshot, unit: str) -> Forecast:
    """What would come if one unit's pods waited and Karpenter found nothing that it may launch for them, from now on.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
        unit: The unit.
    """
    since = snapshot.now - REPLACEMENT_HOLD_S
    return _forecast(memory, lambda passed: _refused(later(snapshot, passed), unit, since))


def _refused(snapshot: Snapshot, unit: str, since: float) -> Snapshot:
    """The snapshot with a unit whose pods have waited since then, or longer, and for which everything was refused just now."""
    observed = snapshot.units[unit]
    pool, seen = observed.pool, snapshot.now - REPLACEMENT_HOLD_S  # past the wait for a replacement's mark
    refusal = Refusal(
        claim=_HYPOTHETICAL,
        pool=pool.name,
        at=seen,
        cause=Cause.CAPACITY,
        codes=("InsufficientInstanceCapacity",),
        attempt=_HYPOTHETICAL,
        seen=seen,
        instance_types=pool.instance_types,
    )
    empty = replace(pool, launches=(), failures=(*pool.failures, refusal), blocked_at=snapshot.now, at_limit="")
    # Waiting pods wait for this one NodePool: what another one may launch is refused too.
    pods = observed.pending or (PendingPod(name=f"{unit}-{_HYPOTHETICAL}", since=since),)
    waiting = tuple(replace(pod, pools=(), unavailable=((pool.name, snapshot.now),)) for pod in pods)
    wanted, waits = max(observed.desired or 0, (observed.ready or 0) + len(waiting)), observed.waiting_since or since
    short = replace(observed, pool=empty, pending=waiting, waiting_since=waits, desired=wanted, alternatives=())
    return replace(snapshot, units={**snapshot.units, unit: short})


def overridden(memory: Memory, snapshot: Snapshot, override: Override) -> Forecast:
    """What would come if a person's override were another one from now on.

    Args:
        memory: What is remembered.
        snapshot: What is observed.
        override: The override.
    """
    return forecast(memory, replace(snapshot, routing=replace(snapshot.routing, override=override)))


def later(snapshot: Snapshot, seconds: float) -> Snapshot:
    """The same snapshot some seconds later, as fresh as it is now.

    Args:
        snapshot: What is observed.
        seconds: How much time passes.
    """
    seen, errors = snapshot.routing.verification, snapshot.error_ratio
    counted = None if seen is None or seen.healthy_at is None else seen.healthy_at + seconds
    moved = None if seen is None else replace(seen, at=seen.at + seconds, healthy_at=counted)
    return replace(
        snapshot,
        now=snapshot.now + seconds,
        routing=replace(snapshot.routing, verification=moved),
        units={name: _later_unit(one, seconds) for name, one in snapshot.units.items()},
        sources=tuple(one if one.last_ok is None else replace(one, last_ok=one.last_ok + seconds) for one in snapshot.sources),
        error_ratio=_later_sample(errors, seconds),
    )


def _later_unit(observed: UnitObservation, seconds: float) -> UnitObservation:
    return replace(
        observed,
        pool=_later_pool(observed.pool, seconds),
        alternatives=tuple(_later_pool(pool, seconds) for pool in observed.alternatives),
        demand=_later_sample(observed.demand, seconds),
        latency=_later_sample(observed.latency, seconds),
    )


def _later_pool(pool: PoolObservation, seconds: float) -> PoolObservation:
    """A create error that stands goes on standing; what was said once gets older."""
    return replace(pool, failures=tuple(_standing(pool.failures, seconds)))


def _standing(refusals: Iterable[Refusal], seconds: float) -> Iterable[Refusal]:
    return (one if one.stood_until is None else replace(one, stood_until=one.stood_until + seconds) for one in refusals)


def _refused_again(snapshot: Snapshot, now: float) -> Snapshot:
    """The snapshot with what Karpenter asked for again since then, whenever it had left its cache, and was refused again."""
    units = {
        name: replace(
            one, pool=_again(one.pool, now, snapshot.now), alternatives=tuple(_again(p, now, snapshot.now) for p in one.alternatives)
        )
        for name, one in snapshot.units.items()
    }
    return replace(snapshot, units=units)


def _again(pool: PoolObservation, since: float, now: float) -> PoolObservation:
    refused = (one for one in pool.failures if one.stood_until is None)
    asked = ((one, one.at + (now - one.at) // ICE_CACHE_S * ICE_CACHE_S) for one in refused)
    return replace(pool, failures=(*pool.failures, *(replace(one, at=at, seen=at) for one, at in asked if at > since)))


def _later_sample(sample: Sample | None, seconds: float) -> Sample | None:
    return None if sample is None else replace(sample, at=sample.at + seconds)
