"""Which replicas can serve, which part of the requests each unit gets, and which targets follow.

For the figures and the decision, which ask for weights and targets; for the verifier, the page and doctor, which compare them with what the
load balancer shows.
"""

from controller.policy.routing.availability import (
    HEALTH_FRESH_S,
    HEALTHY_SHARE,
    SLACK,
    alike,
    availability,
    close,
    healthy_targets,
    known_targets,
    of_these_groups,
    serving_replicas,
    with_known_health,
    without_group,
)
from controller.policy.routing.forward_action import MAX_TARGET_GROUPS, action_problem, mode_of, same_routing
from controller.policy.routing.grants import grant_problem
from controller.policy.routing.reservations import (
    awaited,
    drained_at,
    ending_details,
    endings,
    held_words,
    leaving,
    moments,
    unknown_ends,
    usable_types,
)
from controller.policy.routing.rounding import largest_remainder, least_overload
from controller.policy.routing.shares import asked_shares, shares_of, shown_shares
from controller.policy.routing.standby import existence, lacking, needed
from controller.policy.routing.targets import capacity_targets, cost_targets, existing, stickiness, targets_at_rest
from controller.policy.routing.weights import (
    adjusted_throughputs,
    apply_availability,
    base_weights,
    blended_cost,
    capacity_cost,
    carrying,
    cost_per_request,
    follows_ready,
    price_ratio,
    ready_shares,
    strategy_used,
    weight_strategy,
)

__all__ = [
    "HEALTHY_SHARE",
    "HEALTH_FRESH_S",
    "MAX_TARGET_GROUPS",
    "SLACK",
    "action_problem",
    "adjusted_throughputs",
    "alike",
    "apply_availability",
    "asked_shares",
    "availability",
    "awaited",
    "base_weights",
    "blended_cost",
    "capacity_cost",
    "capacity_targets",
    "carrying",
    "close",
    "cost_per_request",
    "cost_targets",
    "drained_at",
    "ending_details",
    "endings",
    "existence",
    "existing",
    "follows_ready",
    "grant_problem",
    "healthy_targets",
    "held_words",
    "known_targets",
    "lacking",
    "largest_remainder",
    "least_overload",
    "leaving",
    "mode_of",
    "moments",
    "needed",
    "of_these_groups",
    "price_ratio",
    "ready_shares",
    "same_routing",
    "serving_replicas",
    "shares_of",
    "shown_shares",
    "stickiness",
    "strategy_used",
    "targets_at_rest",
    "unknown_ends",
    "usable_types",
    "weight_strategy",
    "with_known_health",
    "without_group",
]
