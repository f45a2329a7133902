"""What was inferred: each value with its origin, so that a person can judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of the application file.

    Attributes:
        value: As the file has it; None where it could not be found.
        origin: Where it is from, or why it could not be found, in words.
        sure: Whether it was read. False: it is an assumption that a person must check.
    """

    value: Any
    origin: str
    sure: bool = True


def read(value: Any, origin: str) -> Fact:  # noqa: ANN401 - any value of the file
    """A value that an object states."""
    return Fact(value, origin)


def assumed(value: Any, origin: str) -> Fact:  # noqa: ANN401 - any value of the file
    """A value that nothing states."""
    return Fact(value, origin, sure=False)


def missing(why: str) -> Fact:
    """A value that must be filled in by a person."""
    return Fact(None, why, sure=False)


@dataclass(frozen=True, slots=True)
class Stack:
    """All that was inferred of one application.

    Attributes:
        namespace: Of the Ingress and everything else.
        ingress: Its name.
        spec: Facts of ``spec``, by key, in the order of the file; `capacity` and `units` aside.
        capacity: Name and port of the capacity Service.
        metrics: Facts of ``spec.metrics``.
        units: Facts of each unit, by key.
        policy: Facts of ``spec.policy``.
        notes: What a person should know beyond single values.
    """

    namespace: str
    ingress: str
    spec: Mapping[str, Fact]
    capacity: Mapping[str, Fact]
    metrics: Mapping[str, Fact]
    units: tuple[Mapping[str, Fact], ...]
    policy: Mapping[str, Fact]
    notes: tuple[str, ...] = field(default=())
