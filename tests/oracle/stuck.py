# ruff: noqa
"""States that would go on unnoticed: nothing is decided about them, and nothing changes until a person acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from controller.policy import text
from controller.policy.model import Launch, Memory, Mode, Return, Snapshot, Unit, UnitEvidence, UnitObservation
from controller.policy.offerings import allowed_offerings
from controller.policy.weights import carries
from tests.oracle.alert import Alert

UNPROVEN_S: Final = 3600.0
"""How long a return may be neither proven nor refused. With the canary Karpenter asks EC2 every three minutes."""

JOINS_S: Final = 600.0
"""How long an instance may take to join, and its node to become usable then. The slowest accelerated images take half of it; Karpenter
gives up after 15 minutes on one that does not join, and never on one that has joined."""

_REMEMBERED_S: Final = 3600.0

_REPEATED: Final = 2
"""How many instances must be gone before they could join, while pods wait for them, to mean something: EC2 ends each at its start where it
may not use the key of its disk. One may have been interrupted, or was needed no more."""


def stuck(snapshot: Snapshot, memory: Memory, evidence: Mapping[str, UnitEvidence]) -> Iterator[Alert]:
    """What a person must know because it does not end by itself, with what to do.

    Args:
        snapshot: What is observed.
        memory: What is remembered.
        evidence: What is proven.
    """
    yield from _unjoined(snapshot)
    yield from _unusable(snapshot)
    if memory.mode is Mode.CAPACITY:
        yield from _unproven(snapshot, memory, evidence)
        yield from _mostly_short(snapshot, evidence)


def _unproven(snapshot: Snapshot, memory: Memory, evidence: Mapping[str, UnitEvidence]) -> Iterator[Alert]:
    """Units that were short, and of which nothing has been heard since."""
    for name in memory.units:
        judged = evidence.get(name)
        if judged is None or judged.last_refusal_at is None or judged.returned not in {Return.NONE, Return.LAUNCHED}:
            continue
        quiet = snapshot.now - max(judged.last_refusal_at, memory.mode_since)
        if quiet < UNPROVEN_S:
            continue
        observed = snapshot.units[name]
        if observed.pending:
            why = f"{len(observed.pending)} pod(s) wait and Karpenter launches nothing: check its log and NodePool {observed.pool.name}"
        elif observed.scaler is not None and observed.scaler.paused:
            why = f"ScaledObject {observed.scaler.name} is paused, so that KEDA requests no replica: unpause it"
        else:
            why = "nothing requests a replica: scale its Deployment up by one"
        words = f"{name}: its return has been neither proven nor refused for {text.duration(quiet)}, and capacity mode goes on. {why}"
        yield Alert(f"unproven/{name}", "warning", f"{words}, or pin cost mode")


def _mostly_short(snapshot: Snapshot, evidence: Mapping[str, UnitEvidence]) -> Iterator[Alert]:
    """Capacity mode in which most units cannot grow: what is left carries everything, and no mode change helps."""
    units = [unit for unit in snapshot.application.units if carries(snapshot.application, unit.name)]
    short = [unit.name for unit in units if evidence[unit.name].short]
    left = [unit for unit in units if unit.name not in short]
    if len(short) > 1 and len(short) > len(left):
        ready = sum(evidence[unit.name].ready for unit in left)
        words = f"{len(short)} of {len(units)} units get no capacity ({text.listing(short)}), and no mode change helps"
        rest = f"only {text.listing(unit.name for unit in left)} can grow, with {ready} ready replica(s)" if left else "no unit can grow"
        yield Alert("mostly-short", "critical", f"{words}: {rest}. Allow more zones or instance types, or add another accelerator")


def _unjoined(snapshot: Snapshot) -> Iterator[Alert]:
    """Instances that were launched, are paid for, and never became nodes."""
    for name, observed in snapshot.units.items():
        lost = lost_launches(observed, snapshot.now)
        if not lost:
            continue
        last = max(lost, key=lambda launch: launch.launched)
        count = f"{len(lost)} instance(s) were" if len(lost) > 1 else "an instance was"
        words = f"{name}: {count} launched and never became a node, the last one {text.duration(snapshot.now - last.launched)} ago"
        check = f"check image, user data, node role and security groups of NodePool {last.pool}"
        yield Alert(f"unjoined/{name}", "critical", f"{words} ({last.claim}): {check}")


def _unusable(snapshot: Snapshot) -> Iterator[Alert]:
    """Nodes that joined and cannot run the pods that wait for them: Karpenter counts on them, and launches nothing else."""
    for unit in snapshot.application.units:
        observed = snapshot.units[unit.name]
        found = unusable_launches(unit, observed, snapshot.now)
        if not found:
            continue
        last = max(found, key=lambda launch: launch.registered or 0.0)
        joined = f"{len(found)} nodes have joined and are" if len(found) > 1 else "a node has joined and is"
        ago = text.duration(snapshot.now - (last.registered or snapshot.now))
        words = f"{unit.name}: {joined} not usable, the last one for {ago} ({last.claim}), while {len(observed.pending)} pod(s) wait"
        check = "its condition Initialized says what is missing: check the device plugin and the startup taints"
        yield Alert(f"unusable/{unit.name}", "critical", f"{words}: {check} of NodePool {last.pool}")


def unusable_launches(unit: Unit, observed: UnitObservation, now: float) -> list[Launch]:
    """The instances whose nodes joined and should have become usable by now, while pods of a unit wait that could run on them.

    Args:
        unit: The unit.
        observed: What is known of it.
        now: Seconds since the Unix epoch.
    """
    if not observed.pending:
        return []
    return [
        one
        for pool in (observed.pool, *observed.alternatives)
        for one in pool.launches
        if one.registered is not None
        and one.initialized is None
        and not one.gone
        and now - one.registered >= JOINS_S
        and allowed_offerings(unit, observed, pool).suits(one)
    ]


def lost_launches(observed: UnitObservation, now: float) -> list[Launch]:
    """The instances of the last hour that should have become nodes by now and did not; none where a later one did.

    Args:
        observed: The unit whose NodePools launched them.
        now: Seconds since the Unix epoch.
    """
    launches = [launch for pool in (observed.pool, *observed.alternatives) for launch in pool.launches]
    lost = [
        one for one in launches if one.registered is None and one.initialized is None and JOINS_S <= now - one.launched <= _REMEMBERED_S
    ]
    if not observed.pending or sum(map(_cut_short, lost)) < _REPEATED:
        lost = [one for one in lost if not _cut_short(one)]
    last = max((one.launched for one in lost), default=0.0)
    return [] if any(one.registered is not None and one.launched > last for one in launches) else lost


def _cut_short(launch: Launch) -> bool:
    """Whether an instance was gone before it had to have joined."""
    return launch.unjoined_at is not None and launch.unjoined_at - launch.launched < JOINS_S
