"""States that would go on unnoticed are alerts, with what a person can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.policy.alert_kinds import AlertKind
from controller.policy.alerts.unit_alerts import lost_launches
from controller.policy.model import Mode, Return, Snapshot, UnitMemory
from tests.policy.support import INF2, change, decide, launched, pods, proven, scaler, shortage
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
    assert "for 1 h, so capacity mode goes on, and its price" in found


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


def test_the_whole_words_of_an_instance_that_never_became_a_node() -> None:
    """The last of them by name, since its log is the youngest; how long ago it was launched, and what to check."""
    lost = (launched(NOW - 902, claim="young"), launched(NOW - 1502, claim="old"))
    text = alerts(change(snapshot(), pool_launches=lost), mode=Mode.COST)[f"unjoined/{INF2}"]
    check, idle = "check image, user data, node role and security groups of NodePool inf2", "It costs money and serves nothing"
    assert text == f"{INF2}: 2 instance(s) were launched and never became a node, the last one 15 min ago (young). {idle}: {check}"
    text = alerts(change(snapshot(), pool_launches=lost[1:]), mode=Mode.COST)[f"unjoined/{INF2}"]
    assert text == f"{INF2}: an instance was launched and never became a node, the last one 25 min ago (old). {idle}: {check}"


@pytest.mark.parametrize(
    ("launches", "expected"),
    [
        pytest.param((launched(NOW - 700, NOW - 600),), True, id="ten minutes after it joined"),
        pytest.param((launched(NOW - 700, NOW - 599),), False, id="it may still become usable"),
        pytest.param((launched(NOW - 9000, NOW - 8900),), True, id="for hours: Karpenter gives up on none that has joined"),
        pytest.param((launched(NOW - 700, NOW - 650, initialized=NOW - 600),), False, id="it is usable"),
        pytest.param((launched(NOW - 700, NOW - 600), launched(NOW - 500, NOW - 400, initialized=NOW - 300)), True, id="a later one is"),
        pytest.param((launched(NOW - 700, NOW - 600, gone=True),), False, id="it is gone"),
        pytest.param((launched(NOW - 700, NOW - 600, instance_type="inf2.48xlarge"),), False, id="of a type of others"),
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_a_node_that_joined_and_never_became_usable(mode: Mode, launches: tuple[Any, ...], expected: bool) -> None:
    """A device plugin does not run: the pods wait for ever, and nothing was refused. No alert asks whether Karpenter runs."""
    made = change(snapshot(mode=mode), pending=pods(since=NOW - 900), desired=4, pool_launches=launches)
    found = alerts(made, mode=mode)
    assert (f"unusable/{INF2}" in found) == expected
    assert f"silent/{INF2}" not in found or not expected


def test_the_whole_words_of_a_node_that_never_became_usable() -> None:
    """The last of them by name, what waits for it, and where it says what is missing."""
    young, old = launched(NOW - 1000, NOW - 900, claim="young"), launched(NOW - 1600, NOW - 1500, claim="old")
    made = change(snapshot(), pending=pods(since=NOW - 1600), desired=4, pool_launches=(young, old))
    rest = (
        "Karpenter counts on it and launches nothing else. Its condition Initialized says what is missing: check the device plugin and the "
        "startup taints of NodePool inf2"
    )
    text = alerts(made, mode=Mode.COST)[f"unusable/{INF2}"]
    assert text == f"{INF2}: 2 nodes have joined and are not usable, the last one for 15 min (young), while 2 pod(s) wait. {rest}"
    text = alerts(change(made, pool_launches=(old,)), mode=Mode.COST)[f"unusable/{INF2}"]
    assert text == f"{INF2}: a node has joined and is not usable, the last one for 25 min (old), while 2 pod(s) wait. {rest}"
    assert alerts(change(made, pending=()), mode=Mode.COST) == {}, "nothing waits for them"


def test_every_unit_is_checked() -> None:
    """A unit without trouble does not hide that of the next one."""
    last = list(BACK.units)[-1]
    made = change(BACK, last, pool_launches=(launched(NOW - 902),))
    back = replace(proven(NOW - HOUR)[INF2], returned=Return.REGISTERED, returned_at=NOW - HOUR + 1)
    units = {last: back, **proven(NOW - 2 * HOUR)}
    found = decide(memory(Mode.CAPACITY, units=units), made)[1].alerts
    stuck = {alert.key: alert.severity for alert in found if alert.row in {AlertKind.UNPROVEN, AlertKind.UNJOINED}}
    assert stuck == {f"unproven/{INF2}": "warning", f"unjoined/{last}": "critical"}


@pytest.mark.parametrize(
    ("ages", "lost"),
    [((3602,), 1), ((3603,), 0), ((602,), 1), ((), 0)],
    ids=["within the hour", "longer ago", "ten minutes ago", "none"],
)
def test_instances_of_the_last_hour_count(ages: tuple[float, ...], lost: int) -> None:
    """Seconds since the claim; it was launched two seconds later."""
    made = change(snapshot(), pool_launches=tuple(launched(NOW - age) for age in ages))
    assert len(lost_launches(made.units[INF2], NOW)) == lost


@pytest.mark.parametrize(
    ("after", "waits", "lost"),
    [
        pytest.param((120,), True, 0, id="one that was interrupted as it booted"),
        pytest.param((120, 130), False, 0, id="two that were needed no more"),
        pytest.param((120, 130), True, 2, id="two, and pods still wait: EC2 ends each at its start"),
        pytest.param((598,), False, 0, id="just before it should have joined"),
        pytest.param((600,), False, 1, id="one that had its time"),
        pytest.param((900, 120), False, 1, id="one that had its time, and one that had not"),
    ],
)
def test_an_instance_that_was_gone_before_it_could_join(after: tuple[float, ...], waits: bool, lost: int) -> None:
    """Seconds between the launch and the end of the NodeClaim. It sent people to image and user data at night, when nothing was wrong."""
    ages = [2000 - 100 * number for number in range(len(after))]
    launches = tuple(launched(NOW - age, gone=True, unjoined_at=NOW - age + 2 + end) for age, end in zip(ages, after, strict=True))
    made = change(snapshot(), pool_launches=launches, pending=pods() if waits else ())
    assert len(lost_launches(made.units[INF2], NOW)) == lost


def test_a_node_of_the_same_moment_is_no_later_one() -> None:
    """Both were launched by one request: one joined, the other did not."""
    pair = (launched(NOW - 902, claim="lost"), launched(NOW - 902, NOW - 800, claim="joined"))
    assert [one.claim for one in lost_launches(change(snapshot(), pool_launches=pair).units[INF2], NOW)] == ["lost"]


@pytest.mark.parametrize(("count", "short", "expected"), [(3, 2, True), (4, 2, False), (2, 1, False), (1, 1, False)])
def test_most_units_are_more_than_half_and_more_than_one(count: int, short: int, expected: bool) -> None:
    """Of an application with few units."""
    app = replace(BACK.application, units=BACK.application.units[:count])
    made = replace(BACK, application=app, units={unit.name: BACK.units[unit.name] for unit in app.units})
    for unit in app.units[:short]:
        made = shortage(made, unit.name)
    found = [alert.severity for alert in decide(memory(Mode.CAPACITY), made)[1].alerts if alert.key == "mostly-short"]
    assert found == ["critical"] * expected
