"""The waits before the next mode change, as `plan`, `status` and `explain` show them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import break_even_s, next_waiting
from controller.policy.model import Cause, PolicySettings, UnitMemory
from tests.policy.support import change
from tests.support.applications import NOW, application, memory, snapshot

WEIGHTS = {"sd21-inf2": 40, "sd21-trn1": 20, "sd21-g5-triton": 15, "sd21-g6-triton": 10, "sd21-g5-cuda": 15}
UNITS = ("sd21-inf2",)


def test_the_hold_is_the_same_in_every_currency() -> None:
    """Only the ratio of prices counts."""
    app = application()
    cheap = replace(app, units=tuple(replace(unit, price_per_hour=unit.price_per_hour / 10_000) for unit in app.units))
    assert break_even_s(cheap, WEIGHTS, UNITS, 0) == pytest.approx(break_even_s(app, WEIGHTS, UNITS, 0))


def test_the_hold_is_doubled_at_most_sixteen_times() -> None:
    """Beyond that it would leave the range of numbers, whatever the bound."""
    app = application(policy=PolicySettings(hold_max_s=1e12))
    assert break_even_s(app, WEIGHTS, UNITS, 15) * 2 == break_even_s(app, WEIGHTS, UNITS, 16) == break_even_s(app, WEIGHTS, UNITS, 17)


def test_the_next_waits_are_as_if_what_is_short_had_returned() -> None:
    """Its weight counts in the price of cost mode, although it has no replica now."""
    app, short = application(), {"sd21-inf2": UnitMemory(NOW - 60, Cause.CAPACITY)}
    made = change(snapshot(), ready=0, endpoints_ready=0, deployment_ready=0)
    assert next_waiting(made, memory(units=short)).hold_s == break_even_s(app, WEIGHTS, UNITS, 0)


def test_the_next_waits_are_those_of_what_is_short_else_of_the_heaviest_unit() -> None:
    """In the order of the file, and only of what is remembered."""
    short = {name: UnitMemory(NOW - 60, Cause.CAPACITY) for name in ("sd21-g5-cuda", "sd21-trn1")}
    assert next_waiting(snapshot(), memory(units=short)).units == ("sd21-trn1", "sd21-g5-cuda")
    assert next_waiting(snapshot(), memory()).units == ("sd21-inf2",)
