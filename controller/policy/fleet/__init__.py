"""Strategy `planned`: which replicas carry the expected demand at the least price, also without any one accelerator family.

For `controller.policy.strategies`, where `planned.Planned` is registered, and for the values of a decision and a memory. Nothing else
imports this room: to remove the strategy, delete the room, its line there, and its values in `controller.policy.model`.
"""

from controller.policy.fleet.values import DemandHistory, PlannedFleet

__all__ = ["DemandHistory", "PlannedFleet"]
