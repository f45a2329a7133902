"""What one NodeClaim says, and what of it stays true."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import Object, condition, in_values, items, mapping, name_of, quantity, text
from controller.policy.evidence import Offering
from controller.policy.karpenter_times import CREATE_ERROR_S
from controller.policy.model import Launch
from controller.signals.classify import classify_create_error, is_passing
from controller.signals.instance_labels import TYPE_LABEL
from controller.signals.node_labels import CAPACITY_LABEL, POOL_LABEL, RESERVATION_LABEL, RESERVATION_TYPE_LABEL, ZONE_LABEL

RETENTION_S: Final = 3600.0  # the API server's default event TTL
_MAX_REASON: Final = 64  # of a condition: a word
_SUFFIX: Final = re.compile(r"-[a-z0-9]{5}$")


@dataclass(frozen=True, slots=True)
class Claim:
    """What is kept of a NodeClaim. Times are seconds since the Unix epoch; None: not yet, or not at all."""

    name: str
    uid: str
    pool: str
    created: float
    instance_types: tuple[str, ...]
    zones: tuple[str, ...]
    capacity_types: tuple[str, ...]
    inexact: tuple[str, ...]  # those of these three that do not say everything, by the names of the fields of `Refusal`
    launched: float | None
    registered: float | None
    initialized: float | None
    launched_type: str
    launched_zone: str
    create_error: str
    create_error_at: float | None
    passing: str  # why its launch fails for now, "" where it does not: it says nothing of capacity
    launched_capacity: str
    order: int  # of its first delivery, 0 where that was in a list
    devices: int
    leaving: float | None  # since when it is being deleted; None: it is not
    seen: float  # when it was first delivered
    gone: float | None = None  # when its deletion was seen
    reservation: str = ""  # the capacity reservation that it runs in, "" for none
    block: bool = False  # which is a Capacity Block


def pool_in_name(claim: str) -> str:
    """The NodePool of a NodeClaim as its name says: Karpenter appends five random letters and digits."""
    return _SUFFIX.sub("", claim)


def read_claim(obj: Object, now: float, order: int) -> Claim:
    """Reads a NodeClaim.

    Args:
        obj: As the API server sent it.
        now: Seconds since the Unix epoch. No time that it states counts as later.
        order: Of this delivery; 0 where it was in a list.
    """
    labels = mapping(obj, "metadata", "labels")
    requirements = items(obj, "spec", "requirements")
    types, exact_types = in_values(requirements, TYPE_LABEL)
    zones, exact_zones = in_values(requirements, ZONE_LABEL)
    capacity_types, exact_capacity = in_values(requirements, CAPACITY_LABEL)
    exact = {"instance_types": exact_types, "zones": exact_zones, "capacity_types": exact_capacity}
    launched = condition(obj, "Launched")
    error = shown(text(launched, "reason"), _MAX_REASON) if text(launched, "status") == "Unknown" else ""
    failing = error if classify_create_error(error) is not None else ""
    name = name_of(obj)
    return Claim(
        name=name,
        uid=text(obj, "metadata", "uid"),
        pool=text(labels, POOL_LABEL) or _owner(obj) or pool_in_name(name),
        created=parse_rfc3339(text(obj, "metadata", "creationTimestamp")) or now,
        instance_types=types,
        zones=zones,
        capacity_types=capacity_types,
        inexact=tuple(field for field, said in exact.items() if not said),
        launched=_since(launched, now) or (now if text(obj, "status", "providerID") else None),
        registered=_since(condition(obj, "Registered"), now),
        initialized=_since(condition(obj, "Initialized"), now),
        launched_type=text(labels, TYPE_LABEL),
        launched_zone=text(labels, ZONE_LABEL),
        create_error=failing,
        create_error_at=min(parse_rfc3339(text(launched, "lastTransitionTime")) or now, now) if failing else None,
        passing=error if is_passing(error) else "",
        launched_capacity=text(labels, CAPACITY_LABEL),
        reservation=text(labels, RESERVATION_LABEL),
        block=text(labels, RESERVATION_TYPE_LABEL) == "capacity-block",
        order=order,
        devices=devices(mapping(obj, "spec", "resources", "requests")),
        leaving=_leaving(obj, now),
        seen=now,
    )


def devices(requests: Mapping[str, object]) -> int:
    """How many accelerators something asks for: of the resources that device plugins name, the largest count; 0 where there is none."""
    counts = [quantity(value) for name, value in requests.items() if "/" in name]
    return max((int(count) for count in counts if count is not None and count > 0), default=0)


def _owner(obj: Object) -> str:
    for owner in items(obj, "metadata", "ownerReferences"):
        if text(owner, "kind") == "NodePool":
            return text(owner, "name")
    return ""


def is_reserved(claim: Claim) -> bool:
    """Whether an instance of the claim runs in a reservation."""
    return claim.launched is not None and bool(claim.reservation)


def is_reported(claim: Claim, now: float) -> bool:
    """Whether an observation says that it was launched: for an hour, and for as long as its node has joined and is not usable."""
    if claim.launched is None:
        return False
    unusable = claim.registered is not None and claim.initialized is None and claim.gone is None
    return unusable or now - claim.launched <= RETENTION_S


def offering_of(claim: Claim) -> Offering:
    """What its instance was launched as."""
    return claim.launched_type, claim.launched_zone, claim.launched_capacity


def has_type(claim: Claim) -> bool:
    """Whether an instance of the claim exists whose type is known."""
    return claim.launched is not None and bool(claim.launched_type)


def _since(entry: Mapping[str, object], now: float) -> float | None:
    """Since when a condition is true, None where it is not."""
    return min(parse_rfc3339(text(entry, "lastTransitionTime")) or now, now) if text(entry, "status") == "True" else None


def never_less(before: Claim, after: Claim) -> Claim:
    """A claim on its way out may lose conditions; what it once reached stays true. The first sight of each step keeps its time."""
    return replace(
        after,
        created=min(before.created, after.created),
        order=before.order,
        seen=before.seen,
        launched=before.launched if before.launched is not None else after.launched,
        registered=before.registered if before.registered is not None else after.registered,
        initialized=before.initialized if before.initialized is not None else after.initialized,
        leaving=before.leaving if before.leaving is not None else after.leaving,
        create_error=after.create_error or before.create_error,
        create_error_at=before.create_error_at if before.create_error_at is not None else after.create_error_at,
    )


def ended_unlaunched(claim: Claim) -> bool:
    """Whether a claim that is gone, or is being deleted, ended as one does that EC2 refused: soon, without an instance or another error."""
    ended = claim.leaving if claim.leaving is not None else claim.gone
    failed = claim.create_error or claim.passing
    return ended is not None and claim.launched is None and not failed and ended - claim.created <= CREATE_ERROR_S


def launch_of(claim: Claim) -> Launch:
    """The launch of a claim that was launched."""
    assert claim.launched is not None  # noqa: S101 - the caller checked
    return Launch(
        claim=claim.name,
        pool=claim.pool,
        created=claim.created,
        launched=claim.launched,
        registered=claim.registered,
        initialized=claim.initialized,
        instance_type=claim.launched_type,
        zone=claim.launched_zone,
        capacity_type=claim.launched_capacity,
        order=claim.order,
        devices=claim.devices,
        gone=claim.leaving is not None or claim.gone is not None,
        asked_at=min(claim.created, claim.seen),
        unjoined_at=None if claim.registered is not None else claim.gone if claim.leaving is None else claim.leaving,
    )


def _leaving(obj: Object, now: float) -> float | None:
    """Since when an object is being deleted, None where it is not."""
    deleted = text(obj, "metadata", "deletionTimestamp")
    return min(parse_rfc3339(deleted) or now, now) if deleted else None
