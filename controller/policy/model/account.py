"""What is measured of demand, what replicas cost, and what is reserved for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Held:
    """Instances of a NodePool that exist now, by what they run in.

    `reservation` is the id of a capacity reservation, "" outside any. `block` says that it is a Capacity Block.
    """

    instance_type: str
    reservation: str
    count: int
    block: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value and the end of the period that it belongs to."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """A signal: an active capacity reservation of the account, as EC2 described it last.

    `total` counts instances, `free` those that may be launched now. `block` says that it is a Capacity Block: EC2 terminates its
    instances before `ends_at`. When any other reservation ends, its instances go on as on-demand ones. `targeted` says that only launches
    that name it may use it. `ends_at` is None where it has no end.
    """

    id: str
    instance_type: str
    zone: str
    free: int = 0
    total: int = 0
    block: bool = False
    targeted: bool = False
    ends_at: float | None = None


class PriceSource(StrEnum):
    """Where a price comes from."""

    FILE = "file"
    KARPENTER = "karpenter"
    PRICE_LIST = "price-list"

    @property
    def named(self) -> str:
        """For people."""
        return _PRICE_SOURCES[self]


_PRICE_SOURCES: Final[Mapping[PriceSource, str]] = {
    PriceSource.FILE: "the application file",
    PriceSource.KARPENTER: "Karpenter's gauge",
    PriceSource.PRICE_LIST: "AWS's price list",
}


@dataclass(frozen=True, slots=True)
class Price:
    """What a replica of a unit costs now, and who says so.

    `dollars` are US dollars per hour, the average over the nodes that run. `at` is when it was read, None for the application file.
    `problem` says which price of a source was not plausible, so that the application file's counts; "" where there was none.
    """

    dollars: float
    source: PriceSource
    at: float | None
    problem: str = ""
