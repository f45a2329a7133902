"""How many replicas each unit keeps at least, who says so and until when, and whose floor each ScaledObject has.

For `steady` and `decide`, which put the floors into a decision; for `conclusion` and `memory`, which note what was written and observed;
for `alerts`; for strategies, which add claims of their own; and for all who show floors to people.
"""

from controller.policy.floors.account import (
    again_s,
    as_stored,
    contested,
    deferred,
    found,
    kept,
    left,
    lowered,
    made_due,
    noted,
    raised,
    remembered,
    written,
)
from controller.policy.floors.capacity import capacity_claims
from controller.policy.floors.claims import asked, floors, highest, needed
from controller.policy.floors.metrics import HELD_S, held_until, noticed
from controller.policy.floors.metrics import claims as held_claims
from controller.policy.floors.probes import probes

__all__ = [
    "HELD_S",
    "again_s",
    "as_stored",
    "asked",
    "capacity_claims",
    "contested",
    "deferred",
    "floors",
    "found",
    "held_claims",
    "held_until",
    "highest",
    "kept",
    "left",
    "lowered",
    "made_due",
    "needed",
    "noted",
    "noticed",
    "probes",
    "raised",
    "remembered",
    "written",
]
