"""When the mode changes: what triggers a change, and what may hold it back.

For the decision, which asks for the trigger and its guards; for all who explain to people why the mode is what it is.
"""

from controller.policy.modes import guards
from controller.policy.modes.guards import DWELL_COST_S, reason_text, until_text
from controller.policy.modes.modes import TRANSITIONS, Trigger, transition
from controller.policy.modes.triggers import Triggered, rollback_in_s, shortage_details, triggered

__all__ = [
    "DWELL_COST_S",
    "TRANSITIONS",
    "Trigger",
    "Triggered",
    "guards",
    "reason_text",
    "rollback_in_s",
    "shortage_details",
    "transition",
    "triggered",
    "until_text",
]
