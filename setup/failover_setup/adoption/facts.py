"""Inferred values, each with its origin, so that a person can judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from failover_setup.adoption.routed import Routed


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of the application file.

    Attributes:
        value: The value in the file; None if it was not found.
        origin: The origin of the value, or why it was not found, in words.
        sure: Whether it was read from an object. False: it is an assumption that a person must check.
    """

    value: Any
    origin: str
    sure: bool = True


def read(value: Any, origin: str) -> Fact:  # noqa: ANN401 - any value of the file
    """A value that an object states."""
    return Fact(value, origin)


def assumed(value: Any, origin: str) -> Fact:  # noqa: ANN401 - any value of the file
    """A value that no object states."""
    return Fact(value, origin, sure=False)


def missing(why: str) -> Fact:
    """A value that a person must fill in."""
    return Fact(None, why, sure=False)


@dataclass(frozen=True, slots=True)
class Stack:
    """All that was inferred of one application.

    Attributes:
        routed: The routing object.
        spec: Facts of ``spec``, by key, in the order of the file, without `capacity` and `units`.
        capacity: Name and port of the capacity Service.
        metrics: Facts of ``spec.metrics``.
        units: Facts of each unit, by key.
        policy: Facts of ``spec.policy``.
        notes: What a person should know beyond single values.
    """

    routed: Routed
    spec: Mapping[str, Fact]
    capacity: Mapping[str, Fact]
    metrics: Mapping[str, Fact]
    units: tuple[Mapping[str, Fact], ...]
    policy: Mapping[str, Fact]
    notes: tuple[str, ...] = field(default=())
