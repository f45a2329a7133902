"""Every remembered time is declared as one, and none stays in the future."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from controller.policy.model import Cause, Memory, Mode, ModeChange, UnitMemory, moved, none_ahead
from controller.policy.names import MOMENT
from controller.policy.reasons import Reason
from tests.support.applications import NOW

REMEMBERED = (Memory, UnitMemory, ModeChange)


def _moments(kind: type[Any]) -> set[str]:
    return {one.name for one in fields(kind) if MOMENT.items() <= one.metadata.items()}


def _times(value: Any) -> Iterator[float | None]:
    """Every time within a memory, found by the words of its fields and not by their metadata."""
    for one in fields(value):
        held = getattr(value, one.name)
        if one.name.split("_")[-1] in {"at", "since"}:
            yield held
        elif isinstance(held, tuple | dict):
            for part in held.values() if isinstance(held, dict) else held:
                yield from _times(part) if hasattr(part, "__dataclass_fields__") else ()
        elif hasattr(held, "__dataclass_fields__"):
            yield from _times(held)


@pytest.mark.parametrize("kind", REMEMBERED)
def test_what_is_called_a_time_is_declared_as_one(kind: type[Any]) -> None:
    """A time without the declaration would stay in the future until a clock that was set back has caught up."""
    assert _moments(kind) == {one.name for one in fields(kind) if one.name.split("_")[-1] in {"at", "since"}}


def _everything_at(at: float) -> Memory:
    memory = Memory(
        mode=Mode.COST,
        mode_changes=(ModeChange(NOW, Mode.COST, Reason.RETURN_PROVEN), ModeChange(at, Mode.COST, Reason.RETURN_PROVEN)),
        units={"a": UnitMemory(at, Cause.CAPACITY, 2, at, returned_at=at), "b": UnitMemory(NOW, Cause.QUOTA)},
    )
    moments: dict[str, Any] = dict.fromkeys(_moments(Memory), at)
    return replace(memory, **moments)


def test_every_time_ahead_becomes_now() -> None:
    """At any depth."""
    capped = none_ahead(_everything_at(NOW + 50), NOW)
    assert {at for at in _times(capped) if at is not None} == {NOW}
    assert capped == replace(_everything_at(NOW), units={**_everything_at(NOW).units})


def test_several_times_in_one_field_are_moved_alike() -> None:
    """The bound on changes counts those of an hour: one in the future would count until the clock has caught up."""
    kept = none_ahead(Memory(routed_at=(NOW - 9, NOW + 9)), NOW)
    assert kept.routed_at == (NOW - 9, NOW)
    assert none_ahead(kept, NOW) is kept
    assert moved(kept, 5.0).routed_at == (NOW - 4, NOW + 5)


def test_nothing_is_made_anew_where_nothing_lies_ahead() -> None:
    """It runs in every decision."""
    memory = _everything_at(NOW)
    assert none_ahead(memory, NOW) is memory
    assert none_ahead(Memory(), NOW) == Memory()


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_was_set_moves_every_time(seconds: float) -> None:
    """No wait gets shorter because our clock was set ahead, and none gets longer because it was set back."""
    shifted = moved(_everything_at(NOW), seconds)
    assert {at for at in _times(shifted) if at is not None} == {NOW + seconds}
    assert moved(shifted, -seconds) == _everything_at(NOW)


def test_what_is_older_than_anybody_remembers_stays_so() -> None:
    """Cost mode of a new application has lasted for ever."""
    assert moved(Memory(mode=Mode.COST), 3600.0) == Memory(mode=Mode.COST)
