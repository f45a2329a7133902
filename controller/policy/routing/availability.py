"""How much of each unit can serve: its ready replicas, less those that the load balancer is known to call unhealthy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy.model import Application, Snapshot, Target, Verdict, Verification
from controller.policy.routing.reservations import leaving

HEALTH_FRESH_S: Final = 180.0
"""How long a count of healthy targets stays valid, seconds: three of the verifier's audits. Longer where the budget of calls makes those
rarer: otherwise the weights would change with the age of the counts."""

HEALTHY_SHARE: Final = 0.5
"""Share of a Service's ready endpoints that the load balancer must report healthy before a change counts as verified, and before a
fallback to the Service. Half leaves room for pods that wait for their first health check."""

SLACK: Final = 0.75
"""Share of its part of the demand that a unit must be able to carry to keep its weight. A third more than their throughput makes replicas
slow for a while and breaks nothing; weights that moved for less would follow every sample of the demand."""

_CLOSE: Final = 0.1  # as the HPA of KEDA, whose tolerance is a tenth
_PERCENT: Final = 100.0


def healthy_targets(snapshot: Snapshot) -> Mapping[str, int]:
    """Healthy targets by Service, as far as they are known lately: what the load balancer was counted to have, and open readiness gates."""
    seen = snapshot.routing.verification
    fresh = seen is not None and abs(snapshot.now - seen.counted_at) <= max(HEALTH_FRESH_S, seen.healthy_for_s or 0.0)
    return _with_gates(seen.healthy if seen is not None and fresh else {}, snapshot)


def known_targets(snapshot: Snapshot, healthy: Mapping[str, int]) -> Mapping[str, int]:
    """Healthy targets by Service, as they were last seen since the target group exists, however long ago.

    Args:
        snapshot: What is observed.
        healthy: See `healthy_targets`.

    Returns:
        A Service that is missing was never seen with any: it is not known to have a healthy target.
    """
    seen = snapshot.routing.verification
    return {**_with_gates(seen.counted if seen is not None else {}, snapshot), **healthy}


def _with_gates(counted: Mapping[str, int], snapshot: Snapshot) -> dict[str, int]:
    """The counts, and the targets that became healthy after them. Without a count every open gate is one target."""
    found = dict(counted)
    for service, gates in snapshot.routing.gates.items():
        found[service] = counted[service] + gates.lately if service in counted else gates.count
    return found


def with_known_health(seen: Verification, before: Verification | None) -> Verification:
    """Adds the target counts of the previous verification to one that has none.

    Targets are counted only behind a rule that matches the action. Without the old count, a unit that lost its weight for want of healthy
    targets would count as healthy until the new action is live, get its weight back, and lose it again, in every pass.

    Args:
        seen: The verification.
        before: The previous one, with the counts known then.

    Returns:
        While the rule does not match the action, the old counts count as new, because no newer ones can exist. Where the verification
        failed, they age.
    """
    kept = _last_counts(seen, before)
    if before is None or seen.healthy or not before.healthy:
        return kept
    waiting = seen.verdict is Verdict.NOT_YET
    return replace(kept, healthy=before.healthy, healthy_at=seen.at if waiting else before.counted_at)


def _last_counts(seen: Verification, before: Verification | None) -> Verification:
    """Adds what was known of each Service before, unless its target groups are others now."""
    if before is None:
        return replace(seen, counted={**seen.counted, **seen.healthy})
    same = {name for name in before.counted if not seen.groups or before.groups.get(name) == seen.groups.get(name)}
    counted = {name: count for name, count in before.counted.items() if name in same} | dict(seen.counted) | dict(seen.healthy)
    ill = {name: min(at, before.ill_since.get(name, at)) for name, at in seen.ill_since.items()} if seen.healthy else before.ill_since
    return replace(seen, counted=counted, groups=seen.groups or before.groups, ill_since=ill)


def of_these_groups(seen: Verification | None, bound: Mapping[str, frozenset[str]] | None) -> Verification | None:
    """A verification without the counts of target groups that their Services no longer have.

    Args:
        seen: The verification.
        bound: The ARNs of the target groups that each Service has now; None: not known.
    """
    if seen is None or bound is None or not seen.groups:
        return seen
    gone = {service for service, arns in seen.groups.items() if not bound.get(service, frozenset()).issuperset(arns)}
    counted = {service: count for service, count in seen.counted.items() if service not in gone}
    healthy = {service: count for service, count in seen.healthy.items() if service not in gone}
    return replace(seen, counted=counted, healthy=healthy, groups={})


def serving_replicas(snapshot: Snapshot, healthy: Mapping[str, int]) -> dict[str, int]:
    """Replicas that can serve, by unit, of those where anything is known: the smaller of ready replicas and healthy targets.

    Replicas that a Capacity Block takes away soon (`reservations.leaving`) count no more.

    A verification that finds another rule than the action asks for counts no targets. Where no earlier count exists either
    (`with_known_health`), a unit without weight keeps 0 until its targets are counted: weight given back without a count might be taken
    away again in the next pass.

    Args:
        snapshot: What is observed.
        healthy: Healthy targets by Service, see `healthy_targets`.
    """
    out = (_taken_out(snapshot) - healthy.keys()) | without_group(snapshot).intersection(snapshot.routing.standby)
    found = {}
    for unit in snapshot.application.units:
        if unit.backend.service in out or snapshot.units[unit.name].service_exists is False:
            found[unit.name] = 0
            continue
        counts = [count for count in (snapshot.units[unit.name].ready, healthy.get(unit.backend.service)) if count is not None]
        if counts:
            found[unit.name] = max(0, min(counts) - leaving(snapshot, unit.name))
    return found


def _taken_out(snapshot: Snapshot) -> frozenset[str]:
    """The Services that the action names without weight, while the load balancer is known to show another one."""
    seen = snapshot.routing.verification
    if seen is None or seen.verdict is not Verdict.NOT_YET or seen.applied:
        return frozenset()
    return frozenset(target.service for target in snapshot.routing.targets if target.weight == 0)


def without_group(snapshot: Snapshot) -> frozenset[str]:
    """The Services that rules name and that have no target group: what a standby rule keeps is gone, anything else may be on its way.

    Only the target groups of the application file's ports are known: an action may still name the port of an earlier file.
    """
    routing, ports = snapshot.routing, snapshot.application.ports
    if routing.bound is None:
        return frozenset()
    earlier = {target.service for target in routing.targets if target.port != ports.get(target.service)}
    return frozenset((*routing.standby, *(target.service for target in routing.targets))) - {*routing.bound} - earlier


def availability(application: Application, base: Mapping[str, int], serving: Mapping[str, int], demand: float | None) -> dict[str, float]:
    """``A_i`` of ``w_i ~ base_i * A_i``: the share of its part of the demand that a unit can carry.

    Args:
        application: For the units and their throughput.
        base: Base weights by unit name.
        serving: Replicas that can serve, by unit, see `serving_replicas`.
        demand: Requests per metric period over all units; None where it is not known.

    Returns:
        From 0 to 1 by unit. 0 where nothing can serve: the target group answers 503, or fails open to targets that fail. 1 where what can
        serve carries `SLACK` of the unit's part or more, where the demand is not known, and where nothing is known of the unit. In
        between, all units that cannot carry their parts end up equally loaded.
    """
    whole = sum(base.values())
    found = {}
    for unit in application.units:
        count = serving.get(unit.name)
        asked = SLACK * demand * base.get(unit.name, 0) / whole if demand is not None and whole else 0.0
        if count is None:
            found[unit.name] = 1.0
        elif count == 0 or asked <= 0:
            found[unit.name] = 1.0 if count else 0.0
        else:
            found[unit.name] = min(1.0, count * unit.throughput / asked)
    return found


def close(present: tuple[Target, ...], wanted: tuple[Target, ...]) -> bool:
    """Whether two actions are so similar that the difference is not worth a change of the load balancer's rule.

    Every change costs the load-balancer controller a full reconcile. Actions of which only one sends traffic to a Service are never close.
    """
    old, new = _shares(present), _shares(wanted)
    return alike(present, wanted) and all(abs(old[key] - share) <= max(1.0, _CLOSE * share) for key, share in new.items())


def alike(present: tuple[Target, ...], wanted: tuple[Target, ...]) -> bool:
    """Whether two actions send traffic to the same Services, however much to each."""
    old, new = _shares(present), _shares(wanted)
    return old.keys() == new.keys() and all((old[key] == 0) == (share == 0) for key, share in new.items())


def _shares(targets: tuple[Target, ...]) -> dict[tuple[str, int | str], float]:
    whole = sum(target.weight for target in targets) or 1
    return {(target.service, target.port): _PERCENT * target.weight / whole for target in targets}
