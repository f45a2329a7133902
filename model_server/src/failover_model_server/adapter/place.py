"""Admission in front of the engine: how many requests may be under way, and how each of them has ended."""

import asyncio
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

    def ended(self, outcome: str) -> None:
        """A request has ended so."""


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
        if isinstance(error, RequestError):
            self._room.count(error)
        elif error is None or isinstance(error, (*GONE, asyncio.CancelledError)):
            self._room.ended(self.outcome)
        else:
            self._room.ended(InferenceFailed.code)
