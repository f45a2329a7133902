"""The recorded calls of a real load-balancer controller, and their comparison with the fake's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from failover_testbed.lbc.elb_calls import Write
from failover_testbed.lbc.group import short

CALLS = Path(__file__).parents[4] / "shared" / "data" / "lbc" / "calls.json"

_REGISTER, _DEREGISTER, _DELETE = "RegisterTargets", "DeregisterTargets", "DeleteTargetGroup"
_TARGETS = (_REGISTER, _DEREGISTER)
_RULES = ("CreateRule", "ModifyRule")


@dataclass(frozen=True)
class Call:
    """The parts of a write that are the same in every cluster.

    Attributes:
        action: The API's name of the call.
        target_group: The target group's name without the hash, which depends on uids.
        forward: Services and weights of the rule, in the order sent.
    """

    action: str
    target_group: str = ""
    forward: tuple[tuple[str, int | None], ...] = ()


def scenarios() -> list[dict[str, Any]]:
    """All recorded scenarios, in order of time."""
    if not CALLS.exists():
        pytest.skip("calls.json is absent: it lives outside the project, in shared/data/lbc")
    found: list[dict[str, Any]] = json.loads(CALLS.read_text())["scenarios"]
    return found


def recorded(scenario: dict[str, Any]) -> list[Call]:
    """The writes of one scenario."""
    return [
        Call(
            write["action"],
            (write["target_group"] or "").rpartition("-")[0],
            tuple((one["target_group_prefix"].rstrip("-"), one["weight"]) for one in write.get("forward", ())),
        )
        for write in scenario["writes"]
    ]


def ours(writes: Sequence[Write]) -> list[Call]:
    """The fake's writes."""
    return [
        Call(
            write.action,
            write.target_group.rpartition("-")[0],
            tuple((short(service, 8), weight) for service, weight in write.forward),
        )
        for write in writes
    ]


def differences(mine: Sequence[Call], theirs: Sequence[Call]) -> list[str]:
    """Differences between two sequences in what the real controller guarantees.

    It has two workers, each with a fixed order of calls. RegisterTargets and DeregisterTargets of different target groups run in parallel
    with each other and with the other worker. Between the workers, nothing is registered or deregistered before the rules are written,
    because only then bindings are created and deleted, and no target group is deleted before its targets are deregistered.
    """
    found = []
    for name, actions in (("the Ingress worker", None), (_REGISTER, {_REGISTER}), (_DEREGISTER, {_DEREGISTER})):
        left, right = _of(mine, actions), _of(theirs, actions)
        if left != right:
            found.append(f"{name}: {left} instead of {right}")
    rules = [index for index, call in enumerate(mine) if call.action in _RULES]
    for index, call in enumerate(mine):
        if call.action in _TARGETS and rules and index < rules[-1]:
            found.append(f"{call.action} of {call.target_group} before the rules were written")
        if call.action == _DELETE and Call(_DEREGISTER, call.target_group) not in mine[:index]:
            found.append(f"{call.target_group} is deleted before it is empty")
    return found


def _of(calls: Sequence[Call], actions: set[str] | None) -> list[Call]:
    return [call for call in calls if (call.action not in _TARGETS if actions is None else call.action in actions)]
