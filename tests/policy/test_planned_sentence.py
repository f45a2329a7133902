"""What people read of strategy `planned`: that floors follow it only where they do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import Mode, Override, PolicySettings, Sample, Snapshot, Strategy
from controller.policy.planned_sentence import planned_sentence
from controller.routing.conclusion import conclude
from tests.policy.support import change
from tests.policy.test_planned_floors import G5, INF2, live, observed
from tests.support.applications import application, memory, routing

_FLEET = "sd21-inf2"


def _said(seen: Snapshot, mode: Mode = Mode.COST, **remembered: float) -> str:
    return planned_sentence(conclude(memory(mode, **remembered), seen).decision, seen)


def _seen() -> Snapshot:
    return observed(live(), 1_000.0, ready=8, floor=8)


def test_in_cost_mode_it_runs() -> None:
    """The floors follow the fleet."""
    said = _said(_seen())
    assert said.startswith("runs ")
    assert _FLEET in said
    assert "no floor sinks" not in said


def test_in_capacity_mode_it_would_run_in_cost_mode() -> None:
    """The floors are those of capacity mode."""
    seen = replace(_seen(), routing=routing(Mode.CAPACITY))
    assert _said(seen, Mode.CAPACITY, mode_since=seen.now).startswith("would run in cost mode ")


def test_a_fallback_leads_to_it() -> None:
    """How the requests are counted in capacity mode keeps no floor."""
    said = _said(replace(_seen(), routing=routing(Mode.CAPACITY)), Mode.CAPACITY)
    assert said.startswith("runs ")
    assert "no floor sinks" not in said


def test_while_nothing_may_change_it_would_run() -> None:
    """A person paused it: no floor follows anything."""
    seen = _seen()
    paused = replace(seen, routing=replace(seen.routing, override=Override(paused_until=seen.now + 600)))
    assert _said(paused).startswith("changes no floor now; would run ")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param((INF2,), f"; no floor sinks while {INF2} has no recent count of its requests", id="one"),
        pytest.param((INF2, G5), f"; no floor sinks while {INF2}, {G5} has no recent count of its requests", id="two"),
    ],
)
def test_a_counter_without_a_value_is_named(names: tuple[str, ...], words: str) -> None:
    """Where the application file names a wrong metric, no floor would ever sink, and nobody would know why."""
    seen = _seen()
    for name in names:
        seen = change(seen, name, demand=None)
    assert _said(seen).endswith(words)


def test_counters_that_are_all_late_are_said_to_be() -> None:
    """They still count as the demand."""
    seen = _seen()
    late = {name: replace(one, demand=Sample(200.0, seen.now - 500)) for name, one in seen.units.items()}
    assert _said(replace(seen, units=late)).endswith("; no floor sinks while no counter has a recent value")


def test_where_nothing_follows_it_nothing_is_said_of_floors() -> None:
    """In shadow, and with another strategy."""
    seen = change(_seen(), INF2, demand=None)
    shadow = replace(seen, application=application(policy=PolicySettings(strategy=Strategy.PLANNED)))
    assert _said(shadow).startswith("would run ")
    assert "no floor sinks" not in _said(shadow)
    assert _said(replace(seen, application=application())) == ""
