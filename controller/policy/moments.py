"""The moments in a memory: which fields are times is said once, where each field is declared (`model.MOMENT`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from controller.policy.model import MOMENT, Memory


def none_ahead(memory: Memory, now: float) -> Memory:
    """The memory with every moment after `now` moved to `now`, however deep in it.

    Args:
        memory: What is remembered.
        now: Seconds since the Unix epoch.

    Returns:
        The same object where no moment lies ahead.
    """
    capped: Memory = _capped(memory, now)
    return capped


def _capped(part: Any, now: float) -> Any:  # noqa: ANN401 - whatever a field of the model holds
    """See `none_ahead`. What holds no moments, and what holds none ahead, comes back as it is."""
    if isinstance(part, tuple):
        each = tuple(_capped(one, now) for one in part)
        return part if all(one is was for one, was in zip(each, part, strict=True)) else each
    if isinstance(part, Mapping):
        named = {key: _capped(one, now) for key, one in part.items()}
        return part if all(one is part[key] for key, one in named.items()) else named
    kind: type[Any] = type(part)
    if not is_dataclass(kind):
        return part
    changes: dict[str, Any] = {}
    for name, moment in _fields(kind):
        before = getattr(part, name)
        after = (now if before is not None and before > now else before) if moment else _capped(before, now)
        if after is not before:
            changes[name] = after
    return replace(part, **changes) if changes else part


@lru_cache(maxsize=64)
def _fields(kind: type[Any]) -> tuple[tuple[str, bool], ...]:
    """The fields of a dataclass, and whether each is a moment."""
    return tuple((one.name, MOMENT.items() <= one.metadata.items()) for one in fields(kind))
