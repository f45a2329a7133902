"""Metric periods of 10 s to 15 min: what is known follows the period, and constant traffic is always known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.account import believed_s, fresh_s, shown_s, total_demand
from controller.policy.account.metric_times import recent_s
from controller.policy.model import Sample, Snapshot, Source
from controller.signals.cloudwatch import Window
from tests.policy.support import INF2, change, decide, pods, replicas, with_scalers
from tests.support.applications import NOW, SERVICES, application, memory, snapshot

PERIODS = (10, 30, 60, 120, 300, 600, 900)
POLL_S = 60
LATEST_S = 150.0  # how late CloudWatch shows a period in ordinary times


def polled(
    period_s: int, phase_s: float, late_s: float, values: dict[float, float], span_s: float
) -> Iterator[tuple[float, Sample | None]]:
    """What each poll of a time finds.

    Args:
        period_s: Length of a period.
        phase_s: When the first poll is, after the start of a period.
        late_s: How long after its end a period is shown.
        values: What was counted, by the end of a period; 100 where it does not say.
        span_s: How long it is polled.
    """
    begin = NOW - NOW % 900
    now = begin + phase_s
    while now <= begin + span_s:
        window = Window.at(now, period_s, lookback=max(5, math.ceil(300 / period_s)), lag=1)
        ends = (window.start + (1 + n) * period_s for n in range(round((window.end - window.start) / period_s)))
        points = {end - period_s: values.get(end, 100.0) for end in ends if end + late_s <= now}
        used = window.used(points)
        yield now, Sample(used[0][1], used[0][0]) if used else None
        now += POLL_S


def observed(now: float, sample: Sample | None, period_s: int, floor: int = 1, desired: int = 6) -> Snapshot:
    """A snapshot in which every unit has this sample and this floor of ours."""
    made = with_scalers(snapshot(application(metric_period_s=period_s)), min_replicas=floor)
    for name in SERVICES:
        made = change(made, name, demand=sample, desired=desired, ready=desired, deployment_ready=desired, endpoints_ready=desired)
    sources = tuple(replace(source, last_ok=now) for source in (*made.sources, Source("cloudwatch", False, now, 300.0)))
    return replace(made, now=now, sources=sources)


@given(period_s=st.sampled_from(PERIODS), phase_s=st.floats(0, 900), late_s=st.floats(0, LATEST_S), jitter_s=st.floats(0, 20))
@settings(deadline=None, max_examples=20)
def test_constant_traffic_is_always_known(period_s: int, phase_s: float, late_s: float, jitter_s: float) -> None:
    """No missing metrics, no alert, no raised floor, whenever the polls and the passes come."""
    remembered, known = memory(), False
    for polled_at, sample in polled(period_s, phase_s, late_s, {}, 4 * 900):
        for now in (polled_at, polled_at + POLL_S + jitter_s):  # the last pass before the next answer
            remembered, decision = decide(remembered, observed(now, sample, period_s))
            assert remembered.demand_missing_since is None
            assert not [alert for alert in decision.alerts if alert.key == "counters"]
            assert set(replicas(decision.floors).values()) == {1}
            known = known or total_demand(observed(now, sample, period_s)) is not None
    assert known


@pytest.mark.parametrize("period_s", PERIODS)
def test_the_floors_of_a_gap_are_gone_soon_after_it(period_s: int) -> None:
    """CloudWatch shows nothing for half an hour. Scale-ups after it need no floor, and once it is over none is left."""
    now, sample = NOW, Sample(400.0, NOW)
    remembered, _ = decide(memory(), observed(now, sample, period_s))
    now += fresh_s(period_s) + 1
    remembered, decision = decide(remembered, observed(now, None, period_s))
    assert set(replicas(decision.floors).values()) == {6}, "replicas that run are held"
    now += 1800
    sample = Sample(400.0, now)
    remembered, decision = decide(remembered, observed(now, sample, period_s, floor=6, desired=9))
    assert set(replicas(decision.floors).values()) == {6}, "what the scaler adds now, it may remove again"
    now += believed_s(period_s)
    sample = Sample(100.0, now)
    remembered, decision = decide(remembered, observed(now, sample, period_s, floor=6, desired=9))
    assert remembered.demand_missing_since is None
    assert decision.floors[INF2].replicas == 2, "what 500 requests need of it"


def test_pods_without_capacity_are_not_held() -> None:
    """A floor that counted them would be the only reason why they wait, for as long as metrics are missing."""
    remembered, _ = decide(memory(), observed(NOW, Sample(400.0, NOW), 60))
    made = observed(NOW + 700, None, 60, desired=35)
    made = change(made, INF2, ready=5, deployment_ready=5, endpoints_ready=5, pending=pods(30), pool_at_limit="limit reached")
    floors = replicas(decide(remembered, made)[1].floors)
    assert (floors[INF2], floors["sd21-trn1"]) == (5, 20), "the other unit's are held up to its maximum"


def test_the_times_for_a_minute_and_for_kedas_default() -> None:
    """Those of a minute are the ones that were measured; longer periods wait longer."""
    assert [f(60) for f in (fresh_s, shown_s, recent_s, believed_s)] == [600, 300, 360, 600]
    assert [f(300) for f in (fresh_s, shown_s, recent_s, believed_s)] == [840, 780, 600, 1080]
