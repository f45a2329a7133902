"""Limits of latency and of errors: which values pass them, and how old a value may be."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.policy.account import breach, latency_breach
from controller.policy.karpenter_times import ICE_WINDOW_S
from controller.policy.model import Sample, Snapshot
from tests.policy.support import G6, INF2, TRN1, change
from tests.support.applications import NOW, application, snapshot

WINDOW_S = ICE_WINDOW_S
LIMITED = application()


def _seen(*, errors: Sample | None = None, latency: Sample | None = None) -> Snapshot:
    """Units whose latency limit is 2 s; only trn1 has a latency."""
    made = snapshot(replace(LIMITED, units=tuple(replace(unit, latency_limit_s=2.0) for unit in LIMITED.units)), error_ratio=errors)
    return change(made, TRN1, latency=latency)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.01, ""),
        (0.0101, "1.0 % errors over 1.0 %"),
        (0.5, "50.0 % errors over 1.0 %"),
        (1.0, "100.0 % errors over 1.0 %"),
        (1.01, ""),
        (math.nan, ""),
    ],
)
def test_a_ratio_beyond_its_limit_is_a_breach(value: float, words: str) -> None:
    """The limit itself is allowed, and more than all requests cannot fail: such a value must not move traffic."""
    assert breach(_seen(errors=Sample(value, NOW)), [INF2]) == words


@pytest.mark.parametrize(("value", "words"), [(2.0, ""), (2.01, "latency 2.01 s over 2.00 s"), (math.inf, ""), (math.nan, "")])
def test_a_latency_beyond_its_limit_is_a_breach_of_the_units_that_count(value: float, words: str) -> None:
    """One slow unit among those that are asked about is enough; a slow unit that is not asked about must not end another one's patience."""
    made = _seen(latency=Sample(value, NOW))
    assert latency_breach(made, [INF2, TRN1, G6]) == words
    assert breach(made, [INF2, TRN1]) == words
    assert breach(made, [INF2, G6]) == ""
    both = replace(made, error_ratio=Sample(0.5, NOW))
    assert breach(both, [TRN1]) == (words or "50.0 % errors over 1.0 %")


@pytest.mark.parametrize(
    ("at", "counts"),
    [(NOW - WINDOW_S, True), (NOW - WINDOW_S - 1, False), (NOW + WINDOW_S, True), (NOW + WINDOW_S + 1, False)],
)
def test_only_values_of_now_count(at: float, *, counts: bool) -> None:
    """Users who suffered an hour ago must not cause a failover now; CloudWatch's clock may be ahead of ours."""
    slow, failing = _seen(latency=Sample(9.0, at)), _seen(errors=Sample(0.5, at))
    assert bool(latency_breach(slow, [TRN1])) is counts
    assert bool(breach(slow, [TRN1])) is counts
    assert bool(breach(failing, [TRN1])) is counts


def test_a_long_metric_period_makes_the_window_longer() -> None:
    """With metrics every fifteen minutes, the newest value is often older than the window: the breach would never be seen."""
    made = _seen(errors=Sample(0.5, NOW - 1200))
    assert breach(made, []) == ""
    assert breach(replace(made, application=replace(made.application, metric_period_s=900)), []) != ""
