"""Every regular expression takes a time that grows with the text as the text does, also on the text that is worst for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

import controller
import failover_setup
from controller.foreign import MAX_MESSAGE
from tests.support.patterns import patterns, worst

_FOUND: Final = patterns(controller) | patterns(failover_setup)
_LONG: Final = MAX_MESSAGE
_WORTH_COMPARING_S: Final = 0.02
"""A search that takes less is no danger, and too short to be compared."""
_RATIO: Final = 8.0
"""Four times the text takes four times as long where a pattern is linear, and sixteen times where it is not."""

_WHOLE: Final = frozenset(
    {"controller.cli.common._DURATION[0]", "failover_setup.doctor.cluster.workload._VERSION[0]", "controller.objects._QUANTITY[0]"}
) | {f"controller.documents.{name}[0]" for name in ("_DECIMAL", "_FLOAT", "_EXPONENT")}
"""Patterns that match a whole text or its beginning, and are not searched from each of its places; that of durations reads an argument."""


def _seconds(search: Callable[[str], object], text: str) -> float:
    """The least of three runs, of this process alone."""
    best = float("inf")
    for _ in range(3):
        before = time.process_time()
        search(text)
        best = min(best, time.process_time() - before)
        if best < _WORTH_COMPARING_S:
            break
    return best


def quadratic(pattern: re.Pattern[Any], length: int, *, whole: bool = False) -> str:
    """The beginning of a text on which a pattern is not linear, "" where there is none."""

    def search(text: str) -> None:
        given: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
        if whole:
            pattern.fullmatch(given)
        else:
            pattern.sub(given[:0], given)

    for short, long in zip(worst(pattern, length // 4), worst(pattern, length), strict=True):
        seconds = _seconds(search, long)
        if seconds > _WORTH_COMPARING_S and seconds > _RATIO * _seconds(search, short):
            return long[:200]
    return ""


def test_patterns_are_found() -> None:
    """The list is made from the modules, so that a new one is in it by itself."""
    assert {"controller.signals.classify._PAIR[0]", "controller.notifiers.redact._PATTERNS[9]"} <= _FOUND.keys()


@pytest.mark.parametrize("name", _FOUND)
def test_it_is_linear(name: str) -> None:
    """Anyone who may annotate an object may choose the text."""
    assert quadratic(_FOUND[name], _LONG, whole=name in _WHOLE) == ""


@pytest.mark.parametrize("pattern", [r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.", r"(a+)+b", r"x[^;]*y"])
def test_a_pattern_that_is_not_linear_is_noticed(pattern: str) -> None:
    """The first one stopped the controller for all applications, with 200 KiB in an annotation of one Ingress."""
    assert quadratic(re.compile(pattern), 22 if "+)+" in pattern else _LONG) != ""
