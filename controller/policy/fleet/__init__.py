"""Strategy *planned*: which replicas carry the expected demand at the least price, also without any one accelerator family.

For `controller.policy.strategies`, where the strategy is registered, and for analyses. To remove the strategy, delete the room, its line
there, and its values in `controller.policy.model`.
"""

from controller.policy.fleet.expected import SLOTS, noted_demand
from controller.policy.fleet.floors import followed, planned_claims
from controller.policy.fleet.offers import families, spot_pools, vanishing
from controller.policy.fleet.planned import planned
from controller.policy.fleet.search import Offer, cheapest_fleet
from controller.policy.fleet.strategy import PLANNED
from controller.policy.fleet.weights import planned_weights

__all__ = [
    "PLANNED",
    "SLOTS",
    "Offer",
    "cheapest_fleet",
    "families",
    "followed",
    "noted_demand",
    "planned",
    "planned_claims",
    "planned_weights",
    "spot_pools",
    "vanishing",
]
