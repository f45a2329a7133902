"""EC2's side of a launch: which offerings have capacity, and what CreateFleet and Karpenter report if none has."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

EVENT_BYTES: Final = 300
"""The length to which Karpenter cuts an error's text in an event."""

Offering = tuple[str, str]
"""An instance type in a zone."""


class Code(StrEnum):
    """EC2's error code for an offering without capacity."""

    CAPACITY = "InsufficientInstanceCapacity"
    QUOTA = "VcpuLimitExceeded"
    ADDRESSES = "InsufficientFreeAddressesInSubnet"


@dataclass(frozen=True, slots=True)
class Shortage:
    """Offerings without capacity.

    Attributes:
        instance_types: The types; empty for all. A full subnet affects every type.
        zones: The zones; empty for all.
        code: EC2's error code.
    """

    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    code: Code = Code.CAPACITY

    def concerns(self, offering: Offering) -> bool:
        """Whether the shortage affects an offering."""
        instance_type, zone = offering
        typed = self.code is Code.ADDRESSES or not self.instance_types or instance_type in self.instance_types
        return typed and (not self.zones or zone in self.zones)

    def __str__(self) -> str:
        what = ", ".join(self.instance_types) or "every type"
        return f"{what if self.code is not Code.ADDRESSES else 'every type'} in {', '.join(self.zones) or 'every zone'}: {self.code}"


@dataclass(frozen=True, slots=True)
class FleetError:
    """One entry of CreateFleet's error set."""

    offering: Offering
    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """CreateFleet's answer: an offering, or None and the errors."""

    offering: Offering | None
    errors: tuple[FleetError, ...]


class Ec2:
    """Capacity of the region.

    Args:
        zones: All zones of the region.
        chance: Picks among the offerings that have capacity.
        vcpu_limit: The number in the quota error's text.
    """

    def __init__(self, zones: Sequence[str], chance: random.Random, *, vcpu_limit: int = 64) -> None:
        self._zones, self._chance, self._vcpu_limit = tuple(zones), chance, vcpu_limit
        self.shortages: list[Shortage] = []

    def create_fleet(self, offerings: Iterable[Offering]) -> Fleet:
        """Launches in one of the offerings that have capacity. It succeeds even if others are exhausted."""
        room: list[Offering] = []
        errors: list[FleetError] = []
        for offering in offerings:
            shortage = next((shortage for shortage in self.shortages if shortage.concerns(offering)), None)
            if shortage is None:
                room.append(offering)
            else:
                errors.append(FleetError(offering, shortage.code, self._message(offering, shortage.code)))
        return Fleet(self._chance.choice(room) if room else None, tuple(errors))

    def _message(self, offering: Offering, code: Code) -> str:
        instance_type, zone = offering
        match code:
            case Code.CAPACITY:
                others = ", ".join(other for other in self._zones if other != zone)
                return (
                    f"We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone}). "
                    "Our system will be working on provisioning additional capacity. You can currently get "
                    f"{instance_type} capacity by not specifying an Availability Zone in your request or choosing {others}."
                )
            case Code.QUOTA:
                return (
                    f"You have requested more vCPU capacity than your current vCPU limit of {self._vcpu_limit} allows for the instance "
                    "bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to "
                    "request an adjustment to this limit."
                )
            case Code.ADDRESSES:
                return f"There are not enough free addresses in subnet 'subnet-{zone}' to satisfy the requested number of instances."


def refusal_text(errors: Sequence[FleetError], chance: random.Random, request_id: str) -> str:
    """The error of a refused launch as Karpenter logs it: each distinct answer once, in no particular order."""
    pairs = list(dict.fromkeys(f"{error.code}: {error.message}" for error in errors))
    chance.shuffle(pairs)
    return (
        f"creating instance, insufficient capacity, with fleet error(s), {'; '.join(pairs)} "
        f"(aws-error-code=UnfulfillableCapacity, aws-operation-name=CreateFleet, aws-request-id={request_id}, "
        "aws-service-name=EC2, aws-status-code=200)"
    )


UNAVAILABLE_TEXT: Final = "creating instance, insufficient capacity, all requested instance types were unavailable during launch"
"""The error if every offering entered the cache between decision and launch; Karpenter then does not call EC2."""


def event_message(claim: str, error: str) -> str:
    """The message of an `InsufficientCapacityError` event. The error is cut, so it usually names only one of several zones."""
    raw = error.encode()
    cut = raw[:EVENT_BYTES].decode(errors="ignore") + "..." if len(raw) >= EVENT_BYTES else error
    return f"NodeClaim {claim} event: {cut}"
