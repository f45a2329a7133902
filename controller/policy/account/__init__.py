"""How much is asked, what can carry it, and what it costs: the figures of one decision, and the dollars of those that were made.

For the rooms above, which decide by these figures; for the recorder and the page, which show them; for analyses, which add them up.
"""

from controller.policy.account.absorption import Absorption, absorption
from controller.policy.account.breach import breach, latency_breach
from controller.policy.account.cost import dollars, effect, hourly, price_words, spend_per_hour
from controller.policy.account.demand import (
    capacity_throughputs,
    ceiling,
    ceilings,
    counts,
    demand_age_s,
    fixed,
    keda_targets,
    needed_replicas,
    scaler_replicas,
    total_demand,
)
from controller.policy.account.emptiness import empty, endpoints, nothing_answers, unmade
from controller.policy.account.figures import Figures
from controller.policy.account.hold import FLAP_WINDOW_S, Waiting, break_even_s, level_after_failover, next_waiting, reassert_pause_s
from controller.policy.account.known_demand import known_everywhere, metrics_awaited, without_counter
from controller.policy.account.ledger import Ledger, booked, counted, placed
from controller.policy.account.load import overloaded, unit_loads
from controller.policy.account.metric_times import SETTLED_S, believed_s, fresh_s, oldest_s, shown_s
from controller.policy.account.probed import canary, probing, refusing

__all__ = [
    "FLAP_WINDOW_S",
    "SETTLED_S",
    "Absorption",
    "Figures",
    "Ledger",
    "Waiting",
    "absorption",
    "believed_s",
    "booked",
    "breach",
    "break_even_s",
    "canary",
    "capacity_throughputs",
    "ceiling",
    "ceilings",
    "counted",
    "counts",
    "demand_age_s",
    "dollars",
    "effect",
    "empty",
    "endpoints",
    "fixed",
    "fresh_s",
    "hourly",
    "keda_targets",
    "known_everywhere",
    "latency_breach",
    "level_after_failover",
    "metrics_awaited",
    "needed_replicas",
    "next_waiting",
    "nothing_answers",
    "oldest_s",
    "overloaded",
    "placed",
    "price_words",
    "probing",
    "reassert_pause_s",
    "refusing",
    "scaler_replicas",
    "shown_s",
    "spend_per_hour",
    "total_demand",
    "unit_loads",
    "unmade",
    "without_counter",
]
