"""The learned waits: what they minimise, and what a wrong forecast costs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy.learning import CLAMP, KEPT, LEAST_SEEN, Stakes, Waits, learned_waits

STAKES = Stakes(extra=0.22, exposed=5.0, change_s=900.0, late_s=30.0)
DURATIONS = st.lists(st.floats(1.0, 1e6), min_size=LEAST_SEEN, max_size=KEPT)
ANY_STAKES = st.builds(
    lambda extra, more, change, late: Stakes(extra, extra + more, change, late),
    st.floats(0.01, 5.0),
    st.floats(0.1, 50.0),
    st.floats(1.0, 5_000.0),
    st.floats(0.0, 600.0),
)


def outage_cost(duration: float, patience: float, returning: float, stakes: Stakes) -> float:
    rate = stakes.exposed - stakes.extra
    if duration <= patience:
        return rate * duration - returning
    return rate * min(duration, patience + stakes.late_s) + stakes.change_s


def uptime_cost(duration: float, hold: float, leaving: float, stakes: Stakes) -> float:
    if duration <= hold:
        return stakes.extra * duration - leaving
    return stakes.extra * min(duration, hold + stakes.late_s) + stakes.change_s


def learned(outages: Sequence[float], uptimes: Sequence[float], stakes: Stakes = STAKES) -> Waits:
    waits = learned_waits(outages, uptimes, stakes)
    assert waits is not None
    return waits


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def test_few_durations_say_nothing() -> None:
    """Until enough was seen nothing is learned."""
    assert learned_waits([60.0] * (LEAST_SEEN - 1), [60.0] * KEPT, STAKES) is None
    assert learned_waits([60.0] * KEPT, [60.0] * (LEAST_SEEN - 1), STAKES) is None


def test_short_uptimes_are_not_worth_a_return() -> None:
    """Where capacity never stays for two hours, the hold is longer than that."""
    assert learned([3_600.0] * 20, [7_000.0] * 20).hold_s >= 7_000


def test_long_uptimes_need_no_long_hold() -> None:
    """Where capacity always stays for a day, the hold is as short as the clamp allows."""
    assert learned([3_600.0] * 20, [86_400.0] * 20).hold_s == pytest.approx(STAKES.change_s / STAKES.extra / CLAMP)


def test_outages_of_a_minute_are_waited_out() -> None:
    """Where every outage is over within two minutes, a failover costs more than being exposed."""
    assert learned([110.0] * 20, [7_200.0] * 20).patience_s >= 110


def test_long_outages_are_not() -> None:
    """Where every outage lasts for hours each minute of patience is lost."""
    assert learned([7_200.0] * 20, [7_200.0] * 20).patience_s == 0


def test_only_the_newest_count() -> None:
    """What is older than the newest `KEPT` is forgotten."""
    new = [7_000.0] * KEPT
    assert learned([10.0] * 500 + new, [10.0] * 500 + new) == learned(new, new)


@settings(max_examples=60, deadline=None)
@given(DURATIONS, DURATIONS, ANY_STAKES)
def test_nothing_on_a_grid_is_cheaper(outages: list[float], uptimes: list[float], stakes: Stakes) -> None:
    """The waits solve the two equations of the module's head: no wait of a fine grid within the clamps does better against them."""
    waits = learned(outages, uptimes, stakes)
    even_hold, even_patience = stakes.change_s / stakes.extra, stakes.change_s / (stakes.exposed - stakes.extra)
    returning = leaving = 0.0
    for _ in range(200):
        leaving = mean([outage_cost(one, waits.patience_s, returning, stakes) for one in outages])
        returning = mean([uptime_cost(one, waits.hold_s, leaving, stakes) for one in uptimes])
    steps = [number / 40 for number in range(41)]
    patiences = [CLAMP * even_patience * step for step in steps]
    holds = [even_hold / CLAMP + (CLAMP - 1 / CLAMP) * even_hold * step for step in steps]
    tolerance = 1e-3 * (1 + stakes.change_s)
    assert leaving <= min(mean([outage_cost(o, p, returning, stakes) for o in outages]) for p in patiences) + tolerance
    assert returning <= min(mean([uptime_cost(u, h, leaving, stakes) for u in uptimes]) for h in holds) + tolerance


SMALL = Stakes(extra=0.1, exposed=2.1, change_s=8.0, late_s=3.0)
"""The waits are within 0 and 16 s, and 20 and 320 s."""


@pytest.mark.parametrize("seed", range(40))
def test_no_observed_duration_is_a_cheaper_wait(seed: int) -> None:
    """Every second counts here: a wait that is a little wrong would be paid in each shortage, by the users or by the owner."""
    draw = random.Random(seed)
    outages = [float(draw.choice((1, 2, 5, 12, 15, 16, 17, 60))) for _ in range(draw.randint(LEAST_SEEN, 12))]
    uptimes = [float(draw.choice((4, 18, 20, 23, 80, 83, 150, 320, 321, 900))) for _ in range(draw.randint(LEAST_SEEN, 12))]
    waits, returning, leaving = learned(outages, uptimes, SMALL), 0.0, 0.0
    for _ in range(500):
        leaving = mean([outage_cost(one, waits.patience_s, returning, SMALL) for one in outages])
        returning = mean([uptime_cost(one, waits.hold_s, leaving, SMALL) for one in uptimes])
    patiences = sorted({0.0, 16.0, *(one for one in outages if one < 16)})
    holds = sorted({20.0, 320.0, *(one for one in uptimes if 20 < one < 320)})
    in_cost = {wait: mean([outage_cost(one, wait, returning, SMALL) for one in outages]) for wait in patiences}
    in_capacity = {wait: mean([uptime_cost(one, wait, leaving, SMALL) for one in uptimes]) for wait in holds}
    for found, costs in ((waits.patience_s, in_cost), (waits.hold_s, in_capacity)):
        assert found == next(wait for wait, cost in costs.items() if cost <= min(costs.values()) + 1e-5), "the shortest of the cheapest"


@pytest.mark.parametrize(
    ("outage_s", "late_s", "patience_s"),
    [
        # A failover costs 8 and 2 for each second until it has an effect. After a wait that was enough none is needed, nor is the return,
        # which costs 8 and 0.1 for each of at least 20 seconds and those until it has an effect.
        pytest.param(12.1, 3.0, 12.1, id="24.2 less 10.3 is less than 14"),
        pytest.param(12.2, 3.0, 0.0, id="24.4 less 10.3 is more"),
        pytest.param(16.0, 12.0, 16.0, id="as long as the clamp allows"),
        pytest.param(16.1, 12.0, 0.0, id="longer, and a wait would be in vain"),
    ],
)
def test_the_last_outage_that_is_worth_a_wait(outage_s: float, late_s: float, patience_s: float) -> None:
    """A wait in vain is paid by the users, and a failover for a moment by the owner."""
    assert learned([outage_s] * 10, [900.0] * 10, replace(SMALL, late_s=late_s)) == Waits(patience_s, 20.0)


@settings(max_examples=100, deadline=None)
@given(DURATIONS, DURATIONS, ANY_STAKES, st.floats(0.0, 1e7))
def test_a_wrong_forecast_costs_a_known_factor(outages: list[float], uptimes: list[float], stakes: Stakes, truth: float) -> None:
    """Whatever was learned, and however long capacity then stays: a return costs at most 1 + CLAMP times the clairvoyant's."""
    hold = learned(outages, uptimes, stakes).hold_s
    paid = stakes.extra * truth if truth <= hold else stakes.extra * hold + stakes.change_s
    assert paid <= (1 + CLAMP) * min(stakes.extra * truth, stakes.change_s) * (1 + 1e-9)


@pytest.mark.parametrize("factor", [1 / CLAMP, 0.5, 1.0, 2.0, CLAMP])
def test_the_worst_case_of_the_proof_is_reached(factor: float) -> None:
    """Capacity that leaves just after the return: 1 + max(k, 1 / k), so the bound is tight."""
    hold = factor * STAKES.change_s / STAKES.extra
    worst = (STAKES.extra * hold + STAKES.change_s) / min(STAKES.extra * hold, STAKES.change_s)
    assert worst == pytest.approx(1 + max(factor, 1 / factor))


@settings(max_examples=100, deadline=None)
@given(DURATIONS, DURATIONS, ANY_STAKES, st.floats(0.0, 1e7))
def test_patience_in_vain_costs_a_known_factor(outages: list[float], uptimes: list[float], stakes: Stakes, truth: float) -> None:
    """Whatever was learned, an outage costs at most 1 + CLAMP times what failing over at once would have."""
    patience = learned(outages, uptimes, stakes).patience_s
    rate = stakes.exposed - stakes.extra
    paid = rate * truth if truth <= patience else rate * patience + stakes.change_s
    assert paid <= (1 + CLAMP) * stakes.change_s * (1 + 1e-9)


@pytest.mark.parametrize(
    "wrong",
    [{"extra": 0.0}, {"exposed": 0.2}, {"exposed": 0.22}, {"change_s": 0.0}, {"late_s": -1.0}, {"extra": float("nan")}],
)
def test_stakes_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """Where a mode change could never pay, there is nothing to learn."""
    with pytest.raises(ValueError, match="able to pay"):
        Stakes(**{"extra": 0.22, "exposed": 5.0, "change_s": 900.0, "late_s": 0.0, **wrong})
