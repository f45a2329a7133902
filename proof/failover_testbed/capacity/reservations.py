"""EC2's side of on-demand capacity reservations: made where an instance could be launched, refused where not, billed until they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from botocore.exceptions import ClientError

from failover_testbed.capacity.ec2 import Offering

_STATUS: Final = {"InsufficientInstanceCapacity": 500}


@dataclass(slots=True)
class Reserved:
    """A capacity reservation.

    Attributes:
        offering: What it reserves.
        tags: Its tags.
        made_at: Seconds since the Unix epoch.
        ends_at: Its end date; EC2 ends it within an hour of that.
        ended_at: When it was cancelled, None while it was not.
    """

    offering: Offering
    tags: Mapping[str, str]
    made_at: float
    ends_at: float
    ended_at: float | None = None


class Reservations:
    """Stands in for boto3's EC2 client, and for the factory that makes it, as far as reservations are concerned.

    Args:
        refused: The error code with which EC2 refuses an instance of an offering; None while it has one.
        now: The time, seconds since the Unix epoch.
    """

    def __init__(self, refused: Callable[[Offering], str | None], now: Callable[[], float]) -> None:
        self._refused, self._now = refused, now
        self.made: dict[str, Reserved] = {}
        """Every reservation by its id."""
        self.calls = 0
        self.interrupts: Callable[[str], None] = lambda _: None
        """Called before and after each call, with its name and ``before`` or ``after``: what it raises, the caller gets."""

    def client(self, service: str) -> Self:
        """The client of EC2.

        Raises:
            LookupError: It is another service.
        """
        if service != "ec2":
            raise LookupError(service)
        return self

    @property
    def left(self) -> list[str]:
        """The ids of those that nobody cancelled."""
        return [name for name, one in self.made.items() if one.ended_at is None]

    def billed_s(self) -> dict[str, float]:
        """For how long each instance type was reserved, seconds; a reservation of less than a minute counts as one."""
        found: dict[str, float] = {}
        for one in self.made.values():
            lasted = max(60.0, (one.ended_at if one.ended_at is not None else self._now()) - one.made_at)
            found[one.offering.instance_type] = found.get(one.offering.instance_type, 0.0) + lasted
        return found

    def create_capacity_reservation(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - as botocore's
        """Makes one of a single instance.

        Raises:
            ClientError: There is no room.
        """
        self._called("create before")
        offering = Offering(request["InstanceType"], request["AvailabilityZone"])
        if (code := self._refused(offering)) is not None:
            raise _error("CreateCapacityReservation", code)
        (tags,) = (one["Tags"] for one in request["TagSpecifications"])
        name = f"cr-{len(self.made):017x}"
        ends: datetime = request["EndDate"]
        self.made[name] = Reserved(offering, {one["Key"]: one["Value"] for one in tags}, self._now(), ends.timestamp())
        self._called("create after")
        return {"CapacityReservation": {"CapacityReservationId": name, "State": "active"}}

    def cancel_capacity_reservation(self, *, CapacityReservationId: str) -> dict[str, Any]:  # noqa: N803 - botocore's name
        """Cancels one.

        Raises:
            ClientError: There is none of that id.
        """
        self._called("cancel before")
        one = self.made.get(CapacityReservationId)
        if one is None or one.ended_at is not None:
            raise _error("CancelCapacityReservation", "InvalidCapacityReservationId.NotFound")
        one.ended_at = self._now()
        self._called("cancel after")
        return {"Return": True}

    def describe_capacity_reservations(self, *, Filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:  # noqa: N803
        """Lists the active ones that have a tag."""
        self._called("describe before")
        tags = {one["Name"].removeprefix("tag:"): one["Values"] for one in Filters if one["Name"].startswith("tag:")}
        found = [name for name in self.left if all(self.made[name].tags.get(key) in values for key, values in tags.items())]
        return {"CapacityReservations": [{"CapacityReservationId": name, "State": "active"} for name in found]}

    def _called(self, call: str) -> None:
        self.calls += call.endswith("before")
        self.interrupts(call)


def _error(operation: str, code: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": _STATUS.get(code, 400)}}
    return ClientError(response, operation)
