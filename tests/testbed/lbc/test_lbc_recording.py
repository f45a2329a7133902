"""The fake repeats the recorded calls of a real AWS Load Balancer Controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.policy.model import Mode, Target
from controller.routing.ingress.action import format_action
from failover_testbed.cluster import manifests
from failover_testbed.lbc import deploy, rule_changes
from tests.testbed.lbc.cluster import APP, CAPACITY, KEY, Cluster, cluster
from tests.testbed.lbc.recording import Call, differences, ours, recorded, scenarios

# The recorded Ingress lists its units in this order.
_ORDER = ("sd21-inf2", "sd21-trn1", "sd21-g5-cuda", "sd21-g5-triton", "sd21-g6-triton")
RECORDED = replace(APP, units=tuple(unit for name in _ORDER for unit in APP.units if unit.name == name))
SIX = "6 target groups"


def cost(**changes: int) -> str:
    """The recorded action of cost mode, with other weights by device."""
    weights = {"inf2": 40, "trn1": 20, "g5-cuda": 15, "g5-triton": 10, "g6-triton": 15} | changes
    return format_action([Target(f"sd21-{name}", 80, weight) for name, weight in weights.items()], 0)


def _and(action: str, service: str) -> str:
    """The action with one more target, which need not make sense."""
    more = f'{{"serviceName":"{service}","servicePort":80,"weight":1}}'
    return action.replace('],"targetGroupStickiness', f',{more}],"targetGroupStickiness')


def _route(action: str) -> Callable[[Cluster], None]:
    return lambda subject: subject.annotate("sd21", {KEY: action})


def _add_standby(subject: Cluster) -> None:
    subject.change("Ingress", "sd21", {"spec": {"rules": manifests.ingress(RECORDED, Mode.CAPACITY, {})["spec"]["rules"]}})


# The change of each scenario, in the order of the recording: each starts where the previous one ended.
STEPS: dict[str, Callable[[Cluster], None]] = {
    "naive capacity->cost": _route(cost()),
    "naive cost->capacity": _route(CAPACITY),
    "add standby rules (one per unit + the capacity service) while in capacity mode": _add_standby,
    "with standby: capacity->cost": _route(cost()),
    "with standby: cost->capacity": _route(CAPACITY),
    "with standby: in-place weights": _route(cost(inf2=0)),
    "missing service in action": _route(_and(cost(inf2=0), "nope")),
    SIX: _route(_and(cost(inf2=0), "sd21-all")),
    "malformed JSON": _route("{"),
    "back to cost": _route(cost()),
}


def play(subject: Cluster, name: str) -> list[Call]:
    """Plays one scenario and returns the fake's writes."""
    before = len(subject.lbc.writes())
    STEPS[name](subject)
    subject.settle()
    return ours(subject.lbc.writes()[before:])


def test_every_recorded_scenario_is_replayed() -> None:
    """A new scenario in the recording needs a step here."""
    assert [scenario["scenario"] for scenario in scenarios()] == list(STEPS)


def test_the_fake_writes_what_the_real_one_wrote(tmp_path: Path) -> None:
    """All scenarios in sequence on one cluster, with their events.

    One differs on purpose. The recorded controller wrote six target groups to moto, which accepts them; AWS accepts five. So the fake
    refuses them like AWS: it writes nothing, and reports FailedDeployModel.
    """
    with cluster(tmp_path, Mode.CAPACITY, standby=False, app=RECORDED) as subject:
        for scenario in scenarios():
            name = scenario["scenario"]
            written = play(subject, name)
            if name == SIX:
                assert "AWS refuses them" in scenario["note"]
                assert [call.action for call in recorded(scenario)] == ["ModifyRule"]
                assert written == []
                assert any(reason == "FailedDeployModel" and "5 target groups" in text for _, reason, text in subject.events())
            else:
                assert differences(written, recorded(scenario)) == [], name
            if "event" in scenario:
                assert scenario["event"] in {f"{kind} {reason}: {text}" for kind, reason, text in subject.events()}


# --- the comparison can fail ------------------------------------------------------------------------------------------------------------


def _named(name: str) -> list[Call]:
    return next(recorded(scenario) for scenario in scenarios() if scenario["scenario"] == name)


def _index(calls: list[Call], action: str) -> int:
    return next(index for index, call in enumerate(calls) if call.action == action)


def _moved(calls: list[Call], action: str, before: str) -> list[Call]:
    """The first call of one kind moved to before the first of another."""
    moved = calls[_index(calls, action)]
    rest = [call for call in calls if call is not moved]
    place = _index(rest, before)
    return [*rest[:place], moved, *rest[place:]]


def _changed(calls: list[Call], action: str, **changes: Any) -> list[Call]:
    place = _index(calls, action)
    return [*calls[:place], replace(calls[place], **changes), *calls[place + 1 :]]


MUTATIONS: dict[str, Callable[[list[Call]], list[Call]]] = {
    "a call is missing": lambda calls: [call for call in calls if call != calls[_index(calls, "DeregisterTargets")]],
    "a call too many": lambda calls: [*calls, Call("ModifyRule")],
    "a rule too many": lambda calls: [calls[_index(calls, "ModifyRule")], *calls],
    "the rule is modified first": lambda calls: _moved(calls, "ModifyRule", "CreateTargetGroup"),
    "targets are registered before the rule points at them": lambda calls: _moved(calls, "RegisterTargets", "ModifyRule"),
    "a target group is deleted with its targets": lambda calls: _moved(calls, "DeleteTargetGroup", "DeregisterTargets"),
    "target groups are created in another order": lambda calls: [calls[1], calls[0], *calls[2:]],
    "another target group is emptied": lambda calls: _changed(calls, "DeregisterTargets", target_group="k8s-default-sd21inf2"),
    "another weight": lambda calls: _changed(calls, "ModifyRule", forward=(("sd21inf2", 41), *calls[5].forward[1:])),
    "another order of the weights": lambda calls: _changed(calls, "ModifyRule", forward=calls[5].forward[::-1]),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_comparison_notices(mutation: str) -> None:
    """Every error that a fake could make shows as a difference."""
    real = _named("naive capacity->cost")
    assert differences(real, real) == []
    assert differences(MUTATIONS[mutation](real), real) != []


def test_the_comparison_leaves_the_race_of_the_two_workers_alone() -> None:
    """Registering and deregistering have no fixed order, and the recordings show both."""
    real = _named("naive cost->capacity")
    assert differences(_moved(real, "RegisterTargets", "DeregisterTargets"), real) == []


def test_a_fake_that_writes_a_rule_twice_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*arguments: Any) -> rule_changes.Changes:
        found = rule_changes.changes(*arguments)
        return replace(found, modify=[*found.modify, *found.modify])

    monkeypatch.setattr(deploy, "changes", twice)
    name = "with standby: capacity->cost"
    expected = _named(name)
    with cluster(tmp_path, Mode.CAPACITY, app=RECORDED) as subject:
        assert differences(play(subject, name), expected) != []
