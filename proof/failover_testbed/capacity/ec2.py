"""EC2's side of a launch: which offerings have capacity, and what CreateFleet and Karpenter report if none has."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

EVENT_BYTES: Final = 300
"""The length to which Karpenter cuts an error's text in an event."""

UNLIMITED: Final = 1_000_000
"""The room of an offering without a shortage, instances."""


class Offering(NamedTuple):
    """What one launch may ask EC2 for."""

    instance_type: str
    zone: str
    capacity_type: str = "on-demand"


class Code(StrEnum):
    """EC2's error code for an offering without capacity."""

    CAPACITY = "InsufficientInstanceCapacity"
    QUOTA = "VcpuLimitExceeded"
    ADDRESSES = "InsufficientFreeAddressesInSubnet"
    UNFULFILLABLE = "UnfulfillableCapacity"
    RESERVATION = "ReservationCapacityExceeded"


RESERVATION_FULL: Final = "The requested reservation does not have sufficient compatible and available capacity for this request."


class FleetAnswer(StrEnum):
    """How EC2 answers a fleet request that it cannot fill.

    In the field it mostly tries one type in one zone and reports that one error; sometimes it tries them all and reports each
    (kubernetes-sigs/karpenter#3198 and #2275).
    """

    ONE_ZONE = "one-zone"
    ALL_ZONES = "all-zones"


@dataclass(frozen=True, slots=True)
class Shortage:
    """Offerings without capacity, or with little.

    Attributes:
        instance_types: The types; empty for all. A full subnet affects every type.
        zones: The zones; empty for all.
        code: EC2's error code.
        capacity_types: The capacity types; empty for all.
        left: How many instances each of the offerings still gives.
    """

    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    code: Code = Code.CAPACITY
    capacity_types: tuple[str, ...] = ()
    left: int = 0

    def concerns(self, offering: Offering) -> bool:
        """Whether the shortage affects an offering."""
        typed = self.code is Code.ADDRESSES or not self.instance_types or offering.instance_type in self.instance_types
        placed = not self.zones or offering.zone in self.zones
        return typed and placed and (not self.capacity_types or offering.capacity_type in self.capacity_types)

    def __str__(self) -> str:
        what = "every type" if self.code is Code.ADDRESSES else ", ".join(self.instance_types) or "every type"
        bought = f"{'/'.join(self.capacity_types)} " if self.capacity_types else ""
        some = f" but {self.left}" if self.left else ""
        return f"{bought}{what}{some} in {', '.join(self.zones) or 'every zone'}: {self.code}"


@dataclass(frozen=True, slots=True)
class FleetError:
    """One entry of CreateFleet's error set."""

    offering: Offering
    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """CreateFleet's answer: what was launched, one entry an instance, and the errors. Both at once: a partial grant."""

    launched: tuple[Offering, ...]
    errors: tuple[FleetError, ...]


class Ec2:
    """Capacity of the region.

    Args:
        zones: All zones of the region.
        chance: Picks among the offerings that have capacity.
        vcpu_limit: The number in the quota error's text.
        answer: How it answers a fleet request that it cannot fill.
        vague: Share of the capacity errors that name neither type nor zone where it tries one zone a call, from 0 to 1.
    """

    def __init__(
        self,
        zones: Sequence[str],
        chance: random.Random,
        *,
        vcpu_limit: int = 64,
        answer: FleetAnswer = FleetAnswer.ALL_ZONES,
        vague: float = 0.0,
    ) -> None:
        self._zones, self._chance, self._vcpu_limit, self._vague = tuple(zones), chance, vcpu_limit, vague
        self.answer = answer
        self.shortages: list[Shortage] = []
        """Those in force. One that leaves some room begins and ends with `begin` and `end`."""
        self.injected: Callable[[], tuple[str, ...]] = tuple
        """The zones in which AWS FIS has it refuse now. A request over several zones gets what there is."""
        self._given: Counter[tuple[Shortage, Offering]] = Counter()

    def begin(self, shortage: Shortage) -> None:
        """Puts a shortage in force."""
        self.shortages.append(shortage)

    def end(self, shortage: Shortage) -> None:
        """Ends a shortage, and forgets what it gave."""
        self.shortages.remove(shortage)
        for key in [key for key in self._given if key[0] == shortage]:
            del self._given[key]

    def give_more(self, shortage: Shortage, offering: Offering) -> None:
        """Lets a shortage in force give one more instance of an offering."""
        self._given[shortage, offering] -= 1

    def room(self, offering: Offering) -> int:
        """How many instances of an offering can be launched now."""
        left = (shortage.left - self._given[shortage, offering] for shortage in self.shortages if shortage.concerns(offering))
        return max(0, min(left, default=UNLIMITED))

    def refused(self, offering: Offering) -> Code | None:
        """The code with which one more instance of an offering is refused; None where there is room."""
        return None if self.room(offering) else next(one.code for one in self.shortages if one.concerns(offering))

    def exhausted(self, offerings: Iterable[Offering]) -> bool:
        """Whether none of the offerings has room."""
        return bool(self.shortages) and not any(self.room(offering) for offering in offerings)

    def create_fleet(self, offerings: Iterable[Offering], count: int = 1) -> Fleet:
        """Launches instances in the offerings that have capacity.

        Args:
            offerings: What may be launched, of one capacity type.
            count: How many instances.

        Returns:
            What was launched, at most `count`, and an error for each offering that was tried and had too little. If EC2 tries all zones, it
            launches `count` instances in one offering where it can.
        """
        tried = list(offerings)
        zones = {offering.zone for offering in tried}
        if tried and self.answer is FleetAnswer.ONE_ZONE:
            tried = [self._chance.choice(tried)]
        if len(zones) == 1 and not zones.isdisjoint(self.injected()):
            return Fleet((), tuple(FleetError(one, Code.CAPACITY, self._message(one, Code.CAPACITY)) for one in tried))
        open_ = [offering for offering in tried if self.room(offering)]
        short = set(tried).difference(open_)
        launched: list[Offering] = []
        while open_ and len(launched) < count:
            offering, missing = self._chance.choice(open_), count - len(launched)
            open_.remove(offering)
            launched += [offering] * self._take(offering, missing)
            if len(launched) < count:
                short.add(offering)
        errors = tuple(self._error(offering) for offering in tried if offering in short)
        return Fleet(tuple(launched), errors)

    def _take(self, offering: Offering, most: int) -> int:
        """Launches up to `most` instances of an offering, and returns how many."""
        taken = min(most, self.room(offering))
        for shortage in self.shortages:
            if shortage.concerns(offering):
                self._given[shortage, offering] += taken
        return taken

    def _error(self, offering: Offering) -> FleetError:
        code = next(one.code for one in self.shortages if one.concerns(offering) and one.left <= self._given[one, offering])
        if code is Code.CAPACITY and offering.capacity_type == "reserved":
            code = Code.RESERVATION
        vague = self._vague and code is Code.CAPACITY and self.answer is FleetAnswer.ONE_ZONE
        if vague and self._chance.random() < self._vague:
            code = Code.UNFULFILLABLE
        return FleetError(offering, code, self._message(offering, code))

    def _message(self, offering: Offering, code: Code) -> str:
        instance_type, zone, _ = offering
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
            case Code.RESERVATION:
                return RESERVATION_FULL
            case Code.UNFULFILLABLE:
                return "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again."


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
