"""States that would go on unnoticed are alerts, with what a person can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decide import decide
from controller.policy.model import Mode, Return, Snapshot, UnitMemory
from tests.policy.support import INF2, change, launched, pods, proven, scaler, shortage
from tests.support.applications import NOW, memory, snapshot

HOUR = 3600.0
BACK = snapshot(mode=Mode.CAPACITY)


def alerts(made: Snapshot, units: dict[str, UnitMemory] | None = None, mode: Mode = Mode.CAPACITY) -> dict[str, str]:
    return {alert.key: alert.text for alert in decide(memory(mode, units=units or {}), made)[1].alerts}


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        pytest.param({}, "scale its Deployment up by one", id="nobody asks"),
        pytest.param({"scaler": scaler(paused=True)}, "ScaledObject sd21-inf2-hpa is paused", id="KEDA may not ask"),
        pytest.param({"pending": pods(since=NOW - 60), "desired": 4}, "Karpenter launches nothing", id="Karpenter does not"),
    ],
)
def test_a_return_that_nothing_will_prove(unit: dict[str, Any], words: str) -> None:
    """Capacity mode is paid for until somebody acts."""
    found = alerts(change(BACK, **unit), proven(NOW - HOUR))[f"unproven/{INF2}"]
    assert words in found
    assert "for 1 h, and capacity mode goes on" in found


@pytest.mark.parametrize(
    ("units", "mode"),
    [
        pytest.param(proven(NOW - HOUR + 1), Mode.CAPACITY, id="refused within the hour: somebody asks"),
        pytest.param(proven(NOW - 2 * HOUR, returned=Return.REGISTERED, returned_at=NOW - HOUR), Mode.CAPACITY, id="it has returned"),
        pytest.param(proven(NOW - HOUR), Mode.COST, id="there is nothing to return from"),
    ],
)
def test_a_return_that_will_come_is_none(units: dict[str, UnitMemory], mode: Mode) -> None:
    """Nobody is woken for it."""
    assert f"unproven/{INF2}" not in alerts(snapshot(mode=mode), units, mode)


def test_most_units_short_in_capacity_mode() -> None:
    """Four of five, and not a word: no mode change helps, other instance types may."""
    made, names = BACK, [unit.name for unit in BACK.application.units]
    found: str | None = None
    for count, name in enumerate(names[:-1], start=1):
        made = shortage(made, name)
        found = alerts(made).get("mostly-short")
        assert (found is not None) == (count > len(names) - count and count > 1)
    assert found is not None
    assert f"{len(names) - 1} of {len(names)} units get no capacity" in found
    assert f"only {names[-1]} can grow, with 2 ready replica(s)" in found
    assert "mostly-short" not in alerts(replace(made, routing=snapshot().routing), mode=Mode.COST)
    assert "no unit can grow" in alerts(shortage(made, names[-1]))["mostly-short"]


@pytest.mark.parametrize(
    ("launches", "expected"),
    [
        pytest.param((launched(NOW - 602),), True, id="ten minutes"),
        pytest.param((launched(NOW - 601),), False, id="it may still join"),
        pytest.param((launched(NOW - 900, gone=True),), True, id="Karpenter gave up"),
        pytest.param((launched(NOW - 900, NOW - 800),), False, id="it has joined"),
        pytest.param((launched(NOW - 900), launched(NOW - 300, NOW - 200)), False, id="a later one has"),
        pytest.param((launched(NOW - 900), launched(NOW - 1200, NOW - 1100)), True, id="an earlier one had"),
        pytest.param((launched(NOW - 3700, gone=True),), False, id="long ago"),
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_an_instance_that_was_launched_and_never_became_a_node(mode: Mode, launches: tuple[Any, ...], expected: bool) -> None:
    """It counts as capacity for as long as it is on its way, and is paid for."""
    found = alerts(change(snapshot(mode=mode), pool_launches=launches), mode=mode).get(f"unjoined/{INF2}")
    assert (found is not None) == expected
    assert found is None or "check image, user data, node role and security groups of NodePool inf2" in found
