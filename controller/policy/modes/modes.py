"""The state machine, as a table.

This file lists every mode change, and only that: evidence and guards decide whether one happens.

An application is in one of two modes. A trigger asks for a mode, and the guards of its verb let it pass or hold it. For a pair that is not
in the table the mode stays.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from controller.policy.model import Mode, Verb


class Trigger(StrEnum):
    """What asks for a mode change."""

    SHORTAGE = "shortage"  # a cost unit's demand is not met and waiting will not help
    RETURN = "return"  # the capacity of every unit that was short has returned
    PIN_COST = "pin-cost"  # an operator asks for cost mode
    PIN_CAPACITY = "pin-capacity"  # an operator asks for capacity mode
    UNVERIFIED = "unverified"  # the load balancer did not show the last mode change in time
    NOTHING_BEHIND = "nothing-behind"  # nothing is behind what serves, and the other mode could serve


TRANSITIONS: Final[dict[tuple[Mode, Trigger], tuple[Mode, Verb]]] = {
    (Mode.COST, Trigger.SHORTAGE): (Mode.CAPACITY, Verb.FAILOVER),
    (Mode.COST, Trigger.PIN_CAPACITY): (Mode.CAPACITY, Verb.FAILOVER),
    (Mode.CAPACITY, Trigger.RETURN): (Mode.COST, Verb.FALLBACK),
    (Mode.CAPACITY, Trigger.PIN_COST): (Mode.COST, Verb.FALLBACK),
    (Mode.COST, Trigger.UNVERIFIED): (Mode.CAPACITY, Verb.ROLLBACK),
    (Mode.CAPACITY, Trigger.UNVERIFIED): (Mode.COST, Verb.ROLLBACK),
    (Mode.COST, Trigger.NOTHING_BEHIND): (Mode.CAPACITY, Verb.FAILOVER),
    (Mode.CAPACITY, Trigger.NOTHING_BEHIND): (Mode.COST, Verb.FALLBACK),
}


def transition(mode: Mode, trigger: Trigger) -> tuple[Mode, Verb]:
    """Where a trigger leads.

    Args:
        mode: The present mode.
        trigger: What asks for a change.

    Returns:
        The mode to be in and the verb that leads there; the present mode and `Verb.HOLD` where the table has no entry.
    """
    return TRANSITIONS.get((mode, trigger), (mode, Verb.HOLD))
