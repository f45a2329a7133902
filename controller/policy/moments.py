"""Values with moments in them: which fields are times is said once, where the field is declared (`model.MOMENT`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from controller.policy.model import MOMENT

T = TypeVar("T")


def none_ahead(value: T, now: float) -> T:
    """A value in which no moment lies after `now`: those that do become `now`.

    Args:
        value: A dataclass of the model; those within it, also in tuples and mappings, count as well.
        now: Seconds since the Unix epoch.

    Returns:
        The same object where no moment lies ahead.
    """
    moments, parts = _shape(type(value))
    changes: dict[str, Any] = {}
    for name in moments:
        at = getattr(value, name)
        if at is not None and at > now:
            changes[name] = now
    for name in parts:
        before = getattr(value, name)
        after = _part(before, now)
        if after is not before:
            changes[name] = after
    return replace(value, **changes) if changes else value  # type: ignore[type-var]


def _part(part: Any, now: float) -> Any:  # noqa: ANN401 - whatever a field of the model holds
    """See `none_ahead`."""
    if isinstance(part, tuple):
        each = tuple(_part(one, now) for one in part)
        return part if all(one is was for one, was in zip(each, part, strict=True)) else each
    if isinstance(part, Mapping):
        named = {key: _part(one, now) for key, one in part.items()}
        return part if all(one is part[key] for key, one in named.items()) else named
    return none_ahead(part, now) if is_dataclass(part) else part


@lru_cache(maxsize=64)
def _shape(kind: type[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields of a dataclass that are moments, and the others."""
    moments = tuple(one.name for one in fields(kind) if MOMENT.items() <= one.metadata.items())
    return moments, tuple(one.name for one in fields(kind) if one.name not in moments)
