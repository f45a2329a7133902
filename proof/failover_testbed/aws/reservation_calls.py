"""Adds the calls about capacity reservations to moto's EC2, which has none of them.

What answers them is the account's: moto only reads the request and writes the answer. The calls are there while an emulated account runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

CALLS: Final = ("create_capacity_reservation", "cancel_capacity_reservation", "describe_capacity_reservations")
"""The calls, named as boto3's methods."""


class Reserving(Protocol):
    """Answers the calls, with boto3's arguments, results and errors."""

    @property
    def create_capacity_reservation(self) -> Callable[..., dict[str, Any]]:
        """Makes a reservation."""

    @property
    def cancel_capacity_reservation(self) -> Callable[..., dict[str, Any]]:
        """Cancels one."""

    @property
    def describe_capacity_reservations(self) -> Callable[..., dict[str, Any]]:
        """Lists them."""


class ReservationCalls:
    """Puts the calls into moto, and takes them out again.

    Args:
        answering: What answers them; while it gives None they are not emulated.
    """

    def __init__(self, answering: Callable[[], Reserving | None]) -> None:
        self._answering = answering

    def install(self) -> None:
        """Changes moto's class."""
        from moto.ec2.responses import EC2Response

        for name in CALLS:
            setattr(EC2Response, name, self._call(name))

    def restore(self) -> None:
        """Restores it."""
        from moto.ec2.responses import EC2Response

        for name in CALLS:
            if name in vars(EC2Response):
                delattr(EC2Response, name)

    def _call(self, name: str) -> Callable[[Any], Any]:
        from moto.core.responses import ActionResult

        def called(response: Any) -> Any:  # noqa: ANN401 - moto is untyped here
            if (answering := self._answering()) is None:
                raise NotImplementedError(f"The {name} action has not been implemented")
            try:
                return ActionResult(getattr(answering, name)(**response.params))
            except ClientError as error:
                return _refused(error)

        return called


def _refused(error: ClientError) -> tuple[str, dict[str, Any]]:
    """EC2's form of an error, with its HTTP status: moto's would be 400 for all, which no SDK tries again."""
    from xml.sax.saxutils import escape

    answered = error.response["Error"]
    text = f"<Code>{escape(answered['Code'])}</Code><Message>{escape(answered['Message'])}</Message>"
    body = f"<Response><Errors><Error>{text}</Error></Errors><RequestID>emulated</RequestID></Response>"
    return body, {"status": error.response["ResponseMetadata"]["HTTPStatusCode"]}
