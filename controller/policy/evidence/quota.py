"""Quotas and limits: ceilings that a person may raise, and no outages. Where they bind, waiting brings nothing, and less demand does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy import text
from controller.policy.account import total_demand
from controller.policy.model import Cause, Refusal, Snapshot, UnitEvidence, UnitMemory, UnitObservation

POOL_LIMIT_CODE: Final = "NodePoolLimit"
"""Our code for a NodePool that its own limit keeps from growing."""

_VCPUS: Final = "Service Quotas > Amazon EC2 > Running On-Demand instances of the family (vCPUs)"
_SPOT: Final = "Service Quotas > Amazon EC2 > Spot Instance Requests of the family (vCPUs)"
_FLEET: Final = "Service Quotas > Amazon EC2 > fleet quotas"
_VERIFICATION: Final = "AWS Support, which verifies the account"

_WHERE: Final[Mapping[str, str]] = {
    "VcpuLimitExceeded": _VCPUS,
    "VCPULimitExceeded": _VCPUS,
    "InstanceLimitExceeded": _VCPUS,
    "MaxSpotInstanceCountExceeded": _SPOT,
    "SpotQuotaExceeded": _SPOT,
    "MaxFleetCountExceeded": _FLEET,
    "FleetQuotaExceeded": _FLEET,
    "PendingVerification": _VERIFICATION,
    "AccountPendingVerification": _VERIFICATION,
}


def only_spot(judged: UnitEvidence) -> bool:
    """Whether all that a unit met is a quota of spot instances, and it is not proven short: Karpenter asks for on-demand instances next."""
    return not judged.short and all(_WHERE.get(code) == _SPOT for code in judged.codes)


def quota_words(judged: UnitEvidence, observed: UnitObservation) -> str:
    """Which ceiling a unit has reached: code, value, use, and where to raise it.

    Args:
        judged: What is proven of the unit, with cause `Cause.QUOTA`.
        observed: The unit.
    """
    where = [_WHERE[code] for code in judged.codes if code in _WHERE]
    values = [note for note in observed.notes if " quota " in note] if where else []
    if observed.pool.at_limit and POOL_LIMIT_CODE in judged.codes:
        where.append(f"spec.limits of NodePool {observed.pool.name}")
        values.append(observed.pool.at_limit)
    least = "at least " if judged.truncated else ""
    value = "; ".join(values) or "its value and use are not known"
    raised = text.listing(dict.fromkeys(where)) if where else "Service Quotas"
    return (
        f"a quota or limit is reached ({least}{text.listing(judged.codes)}: {value}), and waiting does not help. {judged.ready} of the "
        f"{judged.needed} replicas that cost mode needs are ready. Raise it: {raised}; or the demand fits under it again"
    )


def fits(observed: UnitObservation, remembered: UnitMemory, refusals: tuple[Refusal, ...], needed: int, snapshot: Snapshot) -> bool:
    """Whether a unit that met a quota has what the present demand asks for: it needs no more and can get no more.

    Args:
        observed: The unit.
        remembered: What is remembered of its shortage.
        refusals: The refusals that stand; those of a quota say only that there is no more.
        needed: The replicas that cost mode needs at the present demand.
        snapshot: For the demand, which must be known.
    """
    return (
        remembered.cause is Cause.QUOTA
        and all(one.cause is Cause.QUOTA for one in refusals)
        and not observed.pending
        and observed.ready is not None
        and observed.ready >= max(needed, observed.desired or 0)
        and total_demand(snapshot) is not None
    )
