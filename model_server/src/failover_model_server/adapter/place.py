"""Admission in front of the engine: how many requests may be under way, and how each of them has ended."""

import asyncio
import time
from types import TracebackType
from typing import Protocol, Self

from failover_model_server.errors import InferenceFailed, InputTooLarge, RequestError
from failover_model_server.http.errors import GONE

ANSWERED = "answered"
LEFT = "cancelled"
"""The client has gone."""


class Room(Protocol):
    """What has the places."""

    in_flight: int

    @property
    def most(self) -> int:
        """Places that there are."""

    def full(self, places: int) -> RequestError | None:
        """Why that many more are not to be had; None: they are."""

    def count(self, error: RequestError) -> None:
        """A request has got no result."""

    def ended(self, outcome: str, seconds: float) -> None:
        """A request has ended so, after so long."""

    def began(self, seconds: float) -> None:
        """A stream has its first event, after so long."""


class Place:
    """The places of one request: `with Place(room) as place: …; place.outcome = ANSWERED`.

    Args:
        room: has them.
        places: that it takes: sequences that the engine generates for it.
    """

    def __init__(self, room: Room, places: int = 1) -> None:
        self._room = room
        self._places = places
        self.outcome = LEFT
        self._since = time.monotonic()
        self._begun = False

    def __enter__(self) -> Self:
        """Take them.

        Raises:
            RequestError: there are not that many, or not now.
        """
        error: RequestError | None = None
        if self._places > self._room.most:
            error = InputTooLarge(f"{self._places} sequences; at most {self._room.most} at a time")
        error = error or self._room.full(self._places)
        if error is not None:
            self._room.count(error)
            raise error
        self._room.in_flight += self._places
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Give them back, and count the request by its outcome; what nobody has foreseen is a failure of ours."""
        self._room.in_flight -= self._places
        seconds = time.monotonic() - self._since
        if isinstance(error, RequestError):
            self._room.count(error)
        elif error is None or isinstance(error, (*GONE, asyncio.CancelledError)):
            self._room.ended(self.outcome, seconds)
        else:
            self._room.ended(InferenceFailed.code, seconds)

    def begun(self) -> None:
        """The answer has begun; the first call counts."""
        if not self._begun:
            self._begun = True
            self._room.began(time.monotonic() - self._since)
