"""Of which offerings EC2 is to be asked whether a unit's capacity has returned."""

from __future__ import annotations

from controller.policy.account import probing
from controller.policy.case import Case
from controller.policy.evidence import reservable
from controller.policy.model import Cause, Mode, Offerings, ReturnProbe


def probes(mode: Mode, case: Case) -> dict[str, Offerings]:
    """The offerings of which EC2 is to be asked for a capacity reservation, by unit.

    Args:
        mode: The mode to be in.
        case: What is decided from.
    """
    snapshot = case.snapshot
    if not snapshot.leader or not (mode is Mode.CAPACITY or snapshot.application.policy.plans_floors):
        return {}
    found = {}
    for unit in snapshot.application.units:
        judged = case.evidence[unit.name]
        if unit.probe is ReturnProbe.RESERVATION and judged.cause is Cause.CAPACITY and probing(judged):
            found[unit.name] = reservable(unit, snapshot.units[unit.name])
    return {name: offerings for name, offerings in found.items() if offerings}
