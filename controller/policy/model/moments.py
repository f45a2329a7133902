"""The times in a memory. `model.MOMENT` marks each field that is one, where the field is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, get_args, get_type_hints

from controller.policy.model.memory import Memory
from controller.policy.names import MOMENT


def none_ahead(memory: Memory, now: float) -> Memory:
    """The memory with every moment after `now` set to `now`, at any depth.

    Args:
        memory: What is remembered.
        now: Seconds since the Unix epoch.

    Returns:
        The same object where no moment is in the future.
    """
    capped: Memory = _changed(memory, lambda at: min(at, now))
    return capped


def moved(memory: Memory, seconds: float) -> Memory:
    """The memory by a clock that was set: with every moment moved, so that each stays as long ago as it is.

    Args:
        memory: What is remembered.
        seconds: How far the clock was set ahead; negative: back.

    Returns:
        The memory. A moment of 0 says that something is older than anybody remembers, and stays so.
    """
    shifted: Memory = _changed(memory, lambda at: at + seconds if at else at)
    return shifted


def _changed(part: Any, change: Callable[[float], float]) -> Any:  # noqa: ANN401 - whatever a field of the model holds
    """A part with `change` made to each moment in it. One in which that changes nothing comes back as the same object."""
    if isinstance(part, tuple):
        each = tuple(_changed(one, change) for one in part)
        return part if all(one is was for one, was in zip(each, part, strict=True)) else each
    if isinstance(part, Mapping):
        named = {key: _changed(one, change) for key, one in part.items()}
        return part if all(one is part[key] for key, one in named.items()) else named
    kind: type[Any] = type(part)
    if not is_dataclass(kind):
        return part
    changes: dict[str, Any] = {}
    for name, moment in _fields(kind):
        before = getattr(part, name)
        after = _changed(before, change) if not moment else None if before is None else _moment(before, change)
        if after is not before:
            changes[name] = after
    return replace(part, **changes) if changes else part


def _moment(at: Any, change: Callable[[float], float]) -> Any:  # noqa: ANN401 - one time, or several
    if not isinstance(at, tuple):
        return change(at)
    each = tuple(map(change, at))
    return at if each == at else each


@lru_cache(maxsize=64)
def _fields(kind: type[Any]) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass that are moments or may hold some, and whether each is one."""
    hints = get_type_hints(kind)
    each = ((one.name, MOMENT.items() <= one.metadata.items()) for one in fields(kind))
    return tuple((name, moment) for name, moment in each if moment or _may_hold(hints[name]))


def _may_hold(hint: Any) -> bool:  # noqa: ANN401 - whatever a field of the model is declared as
    """Whether a value of a type may hold a moment: a dataclass that has one, or a container or an alternative of such."""
    if isinstance(hint, type) and is_dataclass(hint):
        return bool(_fields(hint))
    return any(_may_hold(part) for part in get_args(hint))
