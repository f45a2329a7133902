"""What the signals prove about each deployment unit: a shortage (`controller.policy.evidence.proof`), and the return of capacity.

- A shortage needs a pod that waits, whose node is not on its way, and a proof for every NodePool that may launch for the pod.
- A launch of a NodeClaim that was created after the last refusal is the first sign of a return.
- No signal proves nothing, in either direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from controller.policy import text
from controller.policy.account import ceiling
from controller.policy.evidence.age import Ages
from controller.policy.evidence.offerings import allowed_offerings, unmet_pods
from controller.policy.evidence.proof import Finding, created_after, examine, heard_at
from controller.policy.evidence.quota import POOL_LIMIT_CODE, fits
from controller.policy.karpenter_times import CREATE_ERROR_S, ICE_WINDOW_S
from controller.policy.model import (
    CAUSE_PRECEDENCE,
    Cause,
    Launch,
    Memory,
    PendingPod,
    PolicySettings,
    PoolObservation,
    ProbeAnswer,
    Proof,
    Refusal,
    Return,
    Shortage,
    Snapshot,
    Unit,
    UnitEvidence,
    UnitObservation,
)
from controller.policy.routing import held_words, leaving

_STRENGTH: Final = tuple(Proof)

_decisive: Final = attrgetter(
    *("shortage", "demand", "demand_since", "cause", "codes", "truncated", "proof", "refused", "missing", "unavailable", "age_at"),
    *("returned", "can_serve", "leaving"),
)
"""All of a unit's evidence by which something is decided. When each refusal was made, and a return was found, changes nothing alone."""


def assess(snapshot: Snapshot, memory: Memory, needed: Mapping[str, int], ages: Ages | None = None) -> dict[str, UnitEvidence]:
    """Judges every unit of the application.

    Args:
        snapshot: What is observed now.
        memory: What is remembered of earlier shortages.
        needed: The ready replicas that cost mode needs at the present demand, by unit.
        ages: Answers about ages now; it knows afterwards until when the evidence stays as it is. The end of an instance's way is not
            awaited: its node or pod shows it.

    Returns:
        Evidence by unit name, in the application's order.
    """
    ages = Ages(snapshot.now) if ages is None else ages
    waiting = unmet_pods(snapshot, Ages(snapshot.now))
    found = {unit.name: _judge(unit, snapshot, memory, waiting[unit.name], needed, ages) for unit in snapshot.application.units}
    if _full_subnets(found):
        return {name: _with_full_subnets(evidence, snapshot.units[name].pool, ages) for name, evidence in found.items()}
    return found


def _full_subnets(found: Mapping[str, UnitEvidence]) -> bool:
    return any(evidence.cause is Cause.NETWORK and evidence.short for evidence in found.values())


def _judge(
    unit: Unit, snapshot: Snapshot, memory: Memory, waiting: tuple[PendingPod, ...], needed: Mapping[str, int], ages: Ages
) -> UnitEvidence:
    seen, wanted = snapshot.units[unit.name], needed.get(unit.name, unit.min_replicas)
    observed = seen if seen.probed is None else _with_grant(seen, seen.probed, snapshot.clock_skew_s)
    most = min(wanted, ceiling(unit, observed))
    remembered = memory.units.get(unit.name)
    found = Finding(None) if _silent(observed, waiting) else _examined(unit, observed, waiting, snapshot.application.policy, ages)
    proof, refusals, at_limit = found.proof, found.refusals, bool(observed.pool.at_limit)
    shortage = Shortage.NONE
    if waiting and proof is not None:
        shortage = Shortage.PROVEN
    elif refusals or (waiting and at_limit):
        shortage = Shortage.SUSPECTED
    causes = [refusal.cause for refusal in refusals] + ([Cause.QUOTA] if at_limit else [])
    codes = dict.fromkeys([code for refusal in refusals for code in refusal.codes] + ([POOL_LIMIT_CODE] if at_limit else []))
    last_refusal = max((f.last_at for f in refusals), default=None) if proof is not None else None
    if proof is not None and waiting and at_limit:
        last_refusal = ages.now  # a limit refuses without an event, for as long as it stands
    if remembered is not None:
        refused_at = observed.probed.at if observed.probed is not None and not observed.probed.granted else 0.0
        last_refusal = max(remembered.last_failure_at, last_refusal or 0.0, refused_at)
    ready, ending = observed.ready or 0, leaving(snapshot, unit.name, planned=True) if observed.pool.held else 0
    unplaced_at = max((pod.unplaced_at or 0.0 for pod in waiting), default=0.0)
    returned, returned_at = _returned(unit, observed, _Since(last_refusal, refusals, most, unplaced_at), snapshot, memory)
    return UnitEvidence(
        unit=unit.name,
        shortage=shortage,
        demand=len(waiting),
        demand_since=_since(waiting, observed),
        cause=min(causes, key=CAUSE_PRECEDENCE.index, default=remembered.cause if remembered else Cause.UNKNOWN),
        codes=tuple(codes),
        truncated=any(refusal.truncated for refusal in refusals),
        proof=proof,
        refused=_words(found.named, found.required),
        missing=_words(found.missing, found.required),
        unavailable=_words(found.unavailable, found.required),
        age_at=found.age_at,
        since=min((f.at for f in refusals), default=None),
        last_refusal_at=last_refusal,
        attempts=len({refusal.attempt for refusal in refusals}),
        returned=returned,
        returned_at=returned_at,
        can_serve=ready > ending and shortage is not Shortage.PROVEN,
        ready=ready,
        leaving=ending,
        needed=most,
        beyond_max=wanted - most,
        facts=_facts(unit, seen, found, waiting, ages),
    )


def _with_grant(observed: UnitObservation, answer: ProbeAnswer, skew_s: float) -> UnitObservation:
    """The unit with the reservation that EC2 made for a probe, if any: to what was refused before, it is a launch that ended at once.

    Refusals are known to the whole second of the cluster's clock, and so is the grant: of two within a second, the refusal counts.
    """
    if not answer.granted:
        return observed
    made = Launch(
        claim="",
        pool=observed.pool.name,
        created=float(math.floor(answer.at - skew_s)),
        launched=answer.at,
        instance_type=answer.instance_type,
        zone=answer.zone,
        capacity_type="on-demand",
        gone=True,
        asked_at=answer.at,
    )
    return replace(observed, pool=replace(observed.pool, launches=(*observed.pool.launches, made)))


def _silent(observed: UnitObservation, waiting: tuple[PendingPod, ...]) -> bool:
    """Whether there is nothing to judge: nobody waits, and nothing was refused through any NodePool."""
    return not waiting and not any(pool.failures or pool.elsewhere for pool in (observed.pool, *observed.alternatives))


def _examined(unit: Unit, observed: UnitObservation, waiting: tuple[PendingPod, ...], policy: PolicySettings, ages: Ages) -> Finding:
    """What is proven of the unit: where several NodePools may launch for a pod each must be short; of the unit, some of its pods."""
    without = _Without(unit, observed, ages)
    pools = {pool.name: pool for pool in (*observed.alternatives, observed.pool)}
    groups: dict[tuple[str, ...], list[PendingPod]] = {}
    for pod in waiting:
        named = tuple(name for name in pod.pools if name in pools) or (observed.pool.name,)
        launching = tuple(name for name in named if not without.why(pools[name], (pod,), [pools[one] for one in named]))
        groups.setdefault(launching or named, []).append(pod)
    best, heard = None, heard_at(pools.values(), waiting)
    whole = len(groups) == 1  # else nobody can tell whose pods the ones before were
    for names, pods in (groups or {(observed.pool.name,): []}).items():
        since = _since(pods, observed) if whole else None
        each = {
            name: examine(pools[name], allowed_offerings(unit, observed, pools[name]), pods, policy, ages, since, heard) for name in names
        }
        found = _weakest(each)
        best = found if best is None or _rank(found.proof) < _rank(best.proof) else best
    return best or Finding(None)


@dataclass(frozen=True, slots=True)
class _Without:
    """Which NodePools launch nothing for the pods of a unit whatever EC2 has.

    Through such a NodePool nothing is refused: it would never be short, and would disprove every shortage of pods that name it. That no
    type suits it, or suits a pod, is known where Karpenter says so, and nothing that it may launch, or that the pod could run on, was
    refused or launched within an hour: a refusal makes Karpenter say the same for some minutes. Nor does Karpenter ask a second NodePool
    while NodeClaims of a first, which it prefers, fail with a create error: it counts on them until it gives up on them, and begins anew.
    """

    unit: Unit
    observed: UnitObservation
    ages: Ages
    _known: dict[str, bool] = field(default_factory=dict)

    def why(self, pool: PoolObservation, pods: Sequence[PendingPod], beside: Sequence[PoolObservation] = ()) -> str:
        """Why a NodePool launches nothing for one of some pods, in words; "" where it may, or nobody knows.

        Args:
            pool: Which.
            pods: The pods.
            beside: The NodePools that may launch for them as well.
        """
        if not pool.exists or not pool.ready:
            return pool.problem or "not usable"
        if self._lately(pool.blocked_at) and not (pool.failures or pool.elsewhere or pool.launches):
            return "no compatible instance type"
        says = any(name == pool.name and self._lately(at) for pod in pods for name, at in pod.unavailable)
        if says and not self._tried(pool):
            return "no instance type that suits the pods"
        failing = next((one.name for one in beside if self._preferred(one, pool)), "")
        return f"Karpenter asks it for nothing while launches through NodePool {failing} fail" if failing else ""

    def _preferred(self, failing: PoolObservation, pool: PoolObservation) -> bool:
        """Whether launches through a NodePool fail with a create error, and Karpenter has asked for nothing through another since."""
        since = min((one.at for one in failing.failures if not one.cached and self._stands(one)), default=None)
        if since is None or failing.name == pool.name or pool.at_limit:
            return False
        asked = (*(one.last_at for one in (*pool.failures, *pool.elsewhere)), *(one.launched for one in pool.launches))
        return all(at < since for at in asked)

    def _stands(self, error: Refusal) -> bool:
        return self.ages.reached(error.at, CREATE_ERROR_S) and self._lately(error.last_at)

    def _lately(self, at: float | None) -> bool:
        return at is not None and self.ages.within(at, ICE_WINDOW_S)

    def _tried(self, pool: PoolObservation) -> bool:
        """Whether something that the unit's pods could run on was refused or launched through the NodePool: the same for each pod."""
        known = self._known.get(pool.name)
        if known is None:
            allowed = allowed_offerings(self.unit, self.observed, pool)
            refused = any(allowed.concerns(one.instance_types, one.zones) for one in (*pool.failures, *pool.elsewhere))
            known = self._known[pool.name] = refused or any(map(allowed.suits, pool.launches))
        return known


def _since(waiting: Sequence[PendingPod], observed: UnitObservation) -> float | None:
    """Since when pods have waited: a pod that is replaced does not make the demand younger. None where nobody waits."""
    oldest = min((pod.since for pod in waiting), default=None)
    return oldest if oldest is None or observed.waiting_since is None else min(oldest, observed.waiting_since)


def _rank(proof: Proof | None) -> int:
    return len(_STRENGTH) if proof is None else _STRENGTH.index(proof)


def _weakest(found: Mapping[str, Finding]) -> Finding:
    """What several NodePools, by name, prove together of a pod that each may launch for: no more than the least of them."""
    each = [*found.values()]
    if len(each) == 1:
        return each[0]
    least = max(each, key=lambda one: _rank(one.proof))
    open_ones = tuple(name for name, one in found.items() if one.age_at is None)
    silent = any(one.unheard for one in each)
    return Finding(
        least.proof,
        tuple(refusal for one in each for refusal in one.refusals),
        tuple(dict.fromkeys(offering for one in each for offering in one.named)),
        tuple(dict.fromkeys(offering for one in each for offering in one.required)) if all(one.required for one in each) else (),
        None if open_ones else max(one.age_at for one in each if one.age_at is not None),
        tuple(dict.fromkeys(offering for one in each for offering in one.unavailable)),
        () if silent else open_ones,
        silent,
    )


def _words(offerings: Sequence[tuple[str, str, str]], required: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    """Offerings for people: without what is the same of all that are required."""
    if not offerings:
        return ()
    shown = [place for place in range(3) if len({one[place] for one in required}) > 1] or [1]
    return tuple(" ".join(one[place] for place in shown) for one in offerings)


@dataclass(frozen=True, slots=True)
class _Since:
    """What a return is measured against.

    The last refusal that counts, those that stand, the replicas that cost mode needs, and when Karpenter last had no place for a pod.
    """

    last_refusal: float | None
    refusals: tuple[Refusal, ...]
    needed: int
    unplaced_at: float


def _returned(unit: Unit, observed: UnitObservation, since: _Since, snapshot: Snapshot, memory: Memory) -> tuple[Return, float | None]:
    """What proves that capacity is back: a node that was requested after the last refusal and joined, or the missing replicas running.

    Nothing does while a refusal stands: EC2 may grant some claims of a batch and refuse the rest. Nor does what came before Karpenter last
    said that it has no place for a pod that waits. The replicas that are missing are those
    that the present demand asks for: at night a unit needs fewer than it had, and where a quota allows no more it never gets those again.
    """
    last_refusal, remembered = since.last_refusal, memory.units.get(unit.name)
    if last_refusal is None:
        return Return.NONE, None
    later = _later(unit, observed, since)
    if remembered is not None and fits(observed, remembered, since.refusals, since.needed, snapshot):
        known = remembered.returned_at
        return Return.REPLICAS_READY, known if known is not None and known > last_refusal else snapshot.now
    if since.refusals:
        return (Return.LAUNCHED, None) if later else (Return.NONE, None)
    if remembered is not None and remembered.returned_at is not None and remembered.returned_at > max(last_refusal, since.unplaced_at):
        return remembered.returned, remembered.returned_at
    proven = [launch.registered for launch in later if launch.registered is not None and launch.registered > since.unplaced_at]
    if proven:
        return Return.REGISTERED, min(proven)
    if (
        remembered is not None
        and observed.desired is not None
        and observed.ready is not None
        and not observed.pending
        and observed.ready >= observed.desired
        and (observed.ready > remembered.ready_then or observed.ready > since.needed)
    ):
        return Return.REPLICAS_READY, snapshot.now
    if observed.probed is not None and observed.probed.granted and observed.probed.at > last_refusal:
        return Return.RESERVED, observed.probed.at
    return (Return.LAUNCHED, None) if later else (Return.NONE, None)


def _later(unit: Unit, observed: UnitObservation, since: _Since) -> list[Launch]:
    """The launches of the unit's offerings whose NodeClaims were created after every refusal."""
    last = since.last_refusal or 0.0
    return [
        launch
        for pool in (observed.pool, *observed.alternatives)
        for launch in pool.launches
        if (launch.created if launch.asked_at is None else launch.asked_at) > last
        and allowed_offerings(unit, observed, pool).suits(launch)
        and all(created_after(launch, refusal) for refusal in since.refusals)
    ]


def _with_full_subnets(evidence: UnitEvidence, pool: PoolObservation, ages: Ages) -> UnitEvidence:
    """The evidence where subnets are full: a unit whose pool is blocked too cannot grow either, so it takes no traffic of others."""
    blocked = pool.blocked_at is not None and ages.within(pool.blocked_at, ICE_WINDOW_S)
    return replace(evidence, can_serve=False) if blocked else evidence


def missing_words(found: Finding, observed: UnitObservation) -> str:
    """How far the proof of a shortage is, and what would complete it, in words; "" where nothing is refused.

    Args:
        found: What is proven.
        observed: The unit that it is about.
    """
    if not found.refusals:
        return ""
    refused = _words(found.named, found.required)
    at_once = f"if Karpenter finds nothing available in NodePool {observed.pool.name}"
    if found.required:
        what = "zones" if len({(one[0], one[2]) for one in found.required}) == 1 else "offerings"
        progress = f"{len(refused)} of {len(found.required)} {what} refused" + (f" ({text.listing(refused)})" if refused else "")
        if found.unavailable:
            said = _words(found.unavailable, found.required)
            progress += f", {len(said)} unavailable as Karpenter's metrics say ({text.listing(said)})"
        lacking = _words(found.missing, found.required)
        if lacking:  # nothing is where one NodePool lacks what another one has refused
            at_once = f"if {text.listing(lacking)} {'refuses' if len(lacking) == 1 else 'refuse'}"
    else:
        named = tuple(dict.fromkeys(f"{one.named_type} in {one.named_zone}" for one in found.refusals if one.named_zone))
        progress = f"{text.listing(named) if named else 'an offering that is not named'} refused, the zones that count are not known"
    if found.proof is not None:
        return f"{progress}; proven: {found.proof}"
    if found.unrefused:
        return f"{progress}; not proven while nothing is refused through NodePool {text.listing(found.unrefused)}"
    if found.unheard:
        return f"{progress}; not proven while Karpenter says nothing: check that it runs"
    if found.age_at is None:
        ageless = observed.pending and not any(one.ages for one in found.refusals)
        return f"{progress}; proven at once {at_once}" if ageless else f"{progress}; no pod waits for it"
    return f"{progress}; proven at once {at_once}, else at {text.clock_time(found.age_at)}"


def _facts(unit: Unit, observed: UnitObservation, found: Finding, waiting: Sequence[PendingPod], ages: Ages) -> tuple[str, ...]:
    facts, refusals, now = [], found.refusals, ages.now
    if refusals:
        last = max(refusals, key=lambda refusal: refusal.at)
        attempts = len({refusal.attempt for refusal in refusals})
        cut = " (and perhaps others: the message was cut)" if last.truncated else ""
        where = f" {last.named_type} in {last.named_zone}" if last.named_type and last.named_zone else ""
        scope = "" if last.requirements_known else "; its NodeClaim was never seen"
        scope += (
            f"; its NodeClaim does not list all its {text.listing(one.replace('_', ' ') for one in last.inexact)}" if last.inexact else ""
        )
        facts.append(
            f"{attempts} refused attempt(s), last {text.duration(now - last.at)} ago: {text.listing(last.codes)}{where}{cut}{scope}"
        )
        facts.append(missing_words(found, observed))
    if observed.probed is not None:
        facts.append(f"EC2 {observed.probed.words}, asked {text.duration(now - observed.probed.at)} ago")
    if observed.pool.blocked_at is not None:
        facts.append(f"NodePool {observed.pool.name}: no compatible instance type, {text.duration(now - observed.pool.blocked_at)} ago")
    if observed.pool.at_limit:
        facts.append(f"NodePool {observed.pool.name}: {observed.pool.at_limit}")
    if observed.pool.problem:
        facts.append(f"NodePool {observed.pool.name}: {observed.pool.problem}")
    without = _Without(unit, observed, ages)
    pools = (observed.pool, *observed.alternatives)
    unable = {pool.name: without.why(pool, waiting, pools) for pool in observed.alternatives}
    facts += [f"NodePool {name} can launch nothing and does not count: {why}" for name, why in unable.items() if why]
    recent = [launch for launch in observed.pool.launches if now - launch.launched <= 3600]  # noqa: PLR2004 - as long as events are kept
    if recent and not refusals:
        newest = recent[-1]
        state = "initialized, " if newest.initialized else "registered, " if newest.registered else ""
        others = f" ({len(recent)} launches in the last hour)" if len(recent) > 1 else ""
        facts.append(f"NodeClaim {newest.claim} {state}launched {text.duration(now - newest.launched)} ago{others}")
    if waiting:
        facts.append(f"{len(waiting)} pod(s) unschedulable, the oldest for {text.duration(now - min(p.since for p in waiting))}")
    if observed.demand is not None:
        facts.append(f"{observed.demand.value:.0f} requests in the period that ended {text.duration(now - observed.demand.at)} ago")
    if observed.latency is not None:
        facts.append(f"latency {observed.latency.value:.2f} s, limit {unit.latency_limit_s:.2f} s")
    return (*facts, *(held_words(observed) if observed.pool.held else ()), *observed.notes)
