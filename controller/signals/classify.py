"""What the text of a refused launch says: cause class, codes, instance type, zone.

The wording changed often between Karpenter's versions, so everything is anchored on substrings, capped in length, and what is not
understood has a class of its own: the event's reason already says that it is about capacity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from controller.foreign import MAX_VALUE
from controller.policy.model import CAUSE_PRECEDENCE, Cause

MAX_CODES: Final = 16
"""The most codes of one launch: far more than one fleet request has errors of different kinds."""

_ANCHOR: Final = "insufficient capacity, "
_ALL_UNAVAILABLE: Final = "all requested instance types were unavailable during launch"
_CONFIG_TAILS: Final = {"truncating instance types": "MinValuesUnmet", "resolving nodeclass": "NodeClassUnresolved"}
_CUT: Final = ("..", "…")  # messages of Karpenter that are cut end with two dots or three
_PLACEMENT_GROUP: Final = "limit of instances in this spread placement group"

_CODE: Final = re.compile(r"(?:with fleet error\(s\), |; )([A-Z][A-Za-z0-9]{0,63}(?:\.[A-Z][A-Za-z0-9]{0,63})?): ")
_TYPE: Final = re.compile(r"sufficient ([a-z0-9][a-z0-9-]{0,31}\.[a-z0-9-]{1,31}) capacity")
_ZONE: Final = re.compile(r"requested \(([a-z]{2,8}(?:-[a-z0-9]{1,16}){1,5}-\d[a-z])\)")
_PAIR: Final = re.compile(_TYPE.pattern + r"[^;]{0,80}?" + _ZONE.pattern)
_LACKING: Final = re.compile(r"no instance type |minValues requirement is not met ")
"""Begins each of the sentences in which Karpenter filters the types of a NodePool for a pod; the last where some are left, and too few."""
_POOL: Final = re.compile(r"karpenter\.sh/nodepool In \[([^\]\s]+)\]")
_MORE_OF_ONE: Final = re.compile(r"; (?=key )")  # continues what is said of one NodePool
_FOREIGN: Final = re.compile(r"not in karpenter\.sh/nodepool In \[([^\]\s]+)\]|^incompatible with nodepool \"([^\"\s]+)\"")
_TAINT: Final = re.compile(r"did not tolerate taint \(taint=([^=:)\s]+)")
_BEGINS: Final = "Failed to schedule pod, "
_NOTHING_AT_ALL: Final = "nodepool requirements filtered out all available instance types"
_ENDS: Final = ("]", "}", ")", '"')  # of what is said of a NodePool; what ends otherwise was cut
_LIMIT: Final = re.compile(
    r"(?:all available instance types exceed limits|node limits have been exhausted) for nodepool:? ?"
    r"(?:\(NodePool=([^)\s]+)\)|\"([^\"\s]+)\")"
)

CODE_CAUSES: Final[dict[str, Cause]] = {
    "InsufficientInstanceCapacity": Cause.CAPACITY,
    "UnfulfillableCapacity": Cause.CAPACITY,
    "ReservationCapacityExceeded": Cause.CAPACITY,
    "InsufficientHostCapacity": Cause.CAPACITY,
    "InsufficientReservedInstanceCapacity": Cause.CAPACITY,
    "InsufficientCapacity": Cause.CAPACITY,
    "SpotMaxPriceTooLow": Cause.CAPACITY,
    "VcpuLimitExceeded": Cause.QUOTA,
    "MaxSpotInstanceCountExceeded": Cause.QUOTA,
    "MaxFleetCountExceeded": Cause.QUOTA,
    "InstanceLimitExceeded": Cause.QUOTA,
    "PendingVerification": Cause.QUOTA,
    "InsufficientFreeAddressesInSubnet": Cause.NETWORK,
    "Unsupported": Cause.CONFIG,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Cause.CONFIG,
}

INTERRUPTED: Final = "SpotInterrupted"
"""The reason of the event with which Karpenter says that EC2 takes a spot instance back. It caches its offering as one that was refused."""

_UNLAUNCHED: Final = "NotLaunched"
"""Our code for a NodeClaim that was gone within a minute without an instance or an error. Karpenter deletes one so that EC2 refused."""

# Reasons that Karpenter sets on `Launched=Unknown`. None: passing trouble that says nothing about capacity.
CREATE_ERROR_CAUSES: Final[dict[str, Cause | None]] = {
    "VCPULimitExceeded": Cause.QUOTA,
    "SpotQuotaExceeded": Cause.QUOTA,
    "FleetQuotaExceeded": Cause.QUOTA,
    "AccountPendingVerification": Cause.QUOTA,
    "InsufficientFreeAddressesInSubnet": Cause.NETWORK,
    "RequestLimitExceeded": None,
    "InternalError": None,
    "LaunchFailed": Cause.UNKNOWN,
    "SpotSLRCreationFailed": Cause.CONFIG,
    "Unauthorized": Cause.CONFIG,
    "AMIAuthorizationFailure": Cause.CONFIG,
    "SecurityGroupSubnetVPCMismatch": Cause.CONFIG,
    "InstanceProfileNameInvalid": Cause.CONFIG,
    "LaunchTemplateNotFound": Cause.CONFIG,
    "UserDataSizeLimitExceeded": Cause.CONFIG,
    "InvalidAMIID": Cause.CONFIG,
    "AMINotFound": Cause.CONFIG,
    "FreeTierIneligible": Cause.CONFIG,
    "SubnetResolutionFailed": Cause.CONFIG,
    "NodeClassReadinessUnknown": Cause.CONFIG,
    "InstanceTypeResolutionFailed": Cause.CONFIG,
}
_STILL_TRYING: Final = frozenset({"", "AwaitingReconciliation", "ReconcilingDependents", "Launched"})


@dataclass(frozen=True, slots=True)
class RefusalMessage:
    """What one message says.

    Attributes:
        cause: The headline class.
        codes: EC2's codes or our names for texts that have none, in the message's order.
        truncated: The message was cut, so there may be more codes.
        instance_type: The type it names, "" where it names none.
        zone: The zone it names, "" where it names none.
        offerings: Every pair of type and zone that it names.
        parsed: Whether the text was understood at all.
    """

    cause: Cause
    codes: tuple[str, ...]
    truncated: bool = False
    instance_type: str = ""
    zone: str = ""
    parsed: bool = True
    offerings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """Of which NodePools a message says why a pod has no place in them: by name, or by the key of a taint that it does not tolerate."""

    pools: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()


def classify_refusal(message: str) -> RefusalMessage:
    """Classifies the message of an `InsufficientCapacityError` event (or the same text in a log line).

    Args:
        message: The event's message; cut to 4 KiB.
    """
    text = message[:MAX_VALUE]
    truncated = text.endswith(_CUT) or len(message) > MAX_VALUE
    _, found, tail = text.partition(_ANCHOR)
    if not found:
        return RefusalMessage(Cause.UNKNOWN, ("Unparsed",), truncated, parsed=False)
    if tail.startswith(_ALL_UNAVAILABLE):
        return RefusalMessage(Cause.CAPACITY, ("AllOfferingsUnavailable",))
    for start, code in _CONFIG_TAILS.items():
        if tail.startswith(start):
            return RefusalMessage(Cause.CONFIG, (code,), truncated)
    codes = tuple(dict.fromkeys(_CODE.findall(tail)))[:MAX_CODES]
    if not codes:
        return RefusalMessage(Cause.UNKNOWN, ("Unparsed",), truncated, parsed=False)
    causes = [cause_of(code, tail) for code in codes]
    named_type, named_zone = _TYPE.search(tail), _ZONE.search(tail)
    return RefusalMessage(
        cause=min(causes, key=CAUSE_PRECEDENCE.index),
        codes=codes,
        truncated=truncated,
        instance_type=named_type[1] if named_type else "",
        zone=named_zone[1] if named_zone else "",
        offerings=tuple(dict.fromkeys((one[1], one[2]) for one in _PAIR.finditer(tail)))[:MAX_CODES],
    )


def cause_of(code: str, message: str) -> Cause:
    """The class of one of EC2's codes.

    Args:
        code: The code.
        message: The text that it comes with.
    """
    if code == "InsufficientInstanceCapacity" and _PLACEMENT_GROUP in message:
        return Cause.CONFIG
    return CODE_CAUSES.get(code, Cause.UNKNOWN)


def interruption(instance_type: str, zone: str) -> RefusalMessage:
    """What the interruption of a spot instance says."""
    return RefusalMessage(Cause.CAPACITY, (INTERRUPTED,), False, instance_type, zone, offerings=((instance_type, zone),))


def unlaunched() -> RefusalMessage:
    """What the end of a NodeClaim says that was never launched, where no event says why: it may have been refused."""
    return RefusalMessage(Cause.UNKNOWN, (_UNLAUNCHED,))


def classify_create_error(reason: str) -> RefusalMessage | None:
    """Classifies the reason of a NodeClaim's `Launched=Unknown` condition.

    Returns:
        None where Karpenter is still trying, or the trouble is a passing one that says nothing about capacity.
    """
    if reason in _STILL_TRYING:
        return None
    cause = CREATE_ERROR_CAUSES.get(reason, Cause.UNKNOWN)
    return None if cause is None else RefusalMessage(cause, (reason,), parsed=reason in CREATE_ERROR_CAUSES)


def is_passing(reason: str) -> bool:
    """Whether the reason of a NodeClaim's `Launched=Unknown` is trouble that passes, such as EC2's throttling: Karpenter tries again."""
    return reason in CREATE_ERROR_CAUSES and CREATE_ERROR_CAUSES[reason] is None


def limited_pools(message: str) -> tuple[str, ...]:
    """The NodePools that a `FailedScheduling` message of Karpenter calls limited. Others than the pod's own must be ignored."""
    return tuple(dict.fromkeys(one or other for one, other in _LIMIT.findall(message)))


def unavailable_pools(message: str) -> tuple[str, ...]:
    """The NodePools of which a `FailedScheduling` message says that no instance type that is available suits the pod.

    Which of the pod's needs the sentence names depends on the types that are left, because those of which nothing is available are left
    out first: "no instance type has enough resources" where the only size with enough accelerators is refused. So each of the sentences
    says the same, and only a refusal before it tells a shortage from a pod that would fit nowhere. Versions 1.0 to 1.4 name the NodePool
    before the needs, later ones after them. A NodePool of which nothing at all is available is missing from the text.
    """
    return tuple(dict.fromkeys(pool for entry in message.split(";") if (pool := _unavailable(entry))))


def _unavailable(entry: str) -> str:
    """The NodePool of which one entry of the message says so; "" where it does not."""
    lacking = _LACKING.search(entry)
    pool = _POOL.search(entry, lacking.start()) if lacking is not None else None
    return pool[1] if pool is not None else ""


def explained_pools(message: str) -> Explained | None:
    """The NodePools of which a `FailedScheduling` message says why a pod has no place in them; None where that is not known.

    Karpenter goes through all that are ready and have something available: one that is missing has nothing. Most that it says can be said
    of any NodePool, and a text that was cut does not say that what it lacks is missing: then nobody knows.
    """
    _, begins, text = message.partition(_BEGINS)
    if text.startswith(_NOTHING_AT_ALL):
        return Explained()
    whole = len(message) <= MAX_VALUE and text.endswith(_ENDS) and text.count("{") == text.count("}")
    if not begins or not whole:
        return None
    pools, taints = list[str](), list[str]()
    for entry in _MORE_OF_ONE.sub(", ", text).split("; "):
        named, taint = _FOREIGN.search(entry) or _LIMIT.search(entry), _TAINT.search(entry)
        pool = next(filter(None, named.groups())) if named is not None else _unavailable(entry)
        if pool:
            pools.append(pool)
        elif taint is not None:
            taints.append(taint[1])
        else:
            return None
    return Explained(tuple(pools), tuple(taints))
