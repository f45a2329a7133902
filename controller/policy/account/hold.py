"""How long to wait before a mode change: the policy's patience before a failover, the break-even time before a fallback.

Returning is a ski-rental problem: capacity mode costs ``r - 1`` more per unit of time, a fallback costs ``S`` once. Waiting until the extra
price has added up to ``S`` costs at most twice what one would pay who knew the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.account.figures import Figures
from controller.policy.model import Application, Memory, Mode, Snapshot
from controller.policy.reasons import Reason
from controller.policy.routing import cost_per_request, price_ratio

FLAP_WINDOW_S: Final = 7_200.0
"""A failover within this time after the last fallback is a flap and doubles the hold, seconds: docs/research/evaluation.md found two hours
best or near best at every price. For as long it counts that another writer put back what was written."""

_REASSERT_BASE_S: Final = 10.0
_REASSERT_MAX_S: Final = 600.0
"""So two writers that keep undoing each other's edits change the load balancer at most 150 times a day."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waits before mode changes because of some units.

    Attributes:
        units: Which units they are about.
        patience_s: From a proven shortage to the failover, seconds.
        hold_s: From the return of capacity to the fallback, seconds.
    """

    units: tuple[str, ...]
    patience_s: float
    hold_s: float


def next_waiting(snapshot: Snapshot, memory: Memory) -> Waiting:
    """The waits before the next mode change: of the units that are short or not yet proven back, or of the heaviest unit where none is."""
    application, weights = snapshot.application, Figures.of(snapshot, memory.units).intended
    short = tuple(unit.name for unit in application.units if unit.name in memory.units)
    units = short or (max(weights, key=lambda name: weights[name]),)
    return Waiting(units, application.policy.patience_s, break_even_s(application, weights, units, memory.hold_level))


def break_even_s(application: Application, weights: Mapping[str, int], returning: Iterable[str], level: int) -> float:
    """The break-even hold, ``S / (r - 1)``, doubled for every flap and kept within the policy's bounds.

    Args:
        application: For prices and measured cold starts.
        weights: The weights of cost mode by unit.
        returning: Names of the units whose capacity comes back. Their replicas run for a cold start before they serve, while the others
            still carry the traffic. S is that extra spend, in seconds of the whole fleet's spend in cost mode.
        level: How often it is doubled.

    Returns:
        Seconds, within ``hold_min_s`` and ``hold_max_s``. The upper bound where capacity mode is not more expensive than cost mode: then a
        fallback never pays off.
    """
    policy, names = application.policy, set(returning)
    spend = {unit.name: weights.get(unit.name, 0) * cost_per_request(unit) for unit in application.units}
    total = sum(spend.values())
    extra = price_ratio(application, weights) - 1 if total > 0 else 0.0
    if extra <= 0:
        return policy.hold_max_s
    change_s = sum(spend[unit.name] / total * unit.cold_start_s for unit in application.units if unit.name in names)
    doubled = max(policy.hold_min_s, change_s / extra) * 2.0 ** min(level, 16)
    return min(policy.hold_max_s, doubled)


def level_after_failover(memory: Memory, now: float) -> int:
    """The doubling level once a failover happens at `now`: one more if the last fallback was within `FLAP_WINDOW_S`, else none.

    Traffic that left a Service with nothing behind it was no fallback: it said nothing of capacity.
    """
    fallbacks = (one.at for one in memory.mode_changes if one.to is Mode.COST and one.reason is not Reason.NOTHING_ANSWERS)
    last_fallback = max(fallbacks, default=None)
    return memory.hold_level + 1 if last_fallback is not None and now - last_fallback < FLAP_WINDOW_S else 0


def reassert_pause_s(repeats: int) -> float:
    """How long a foreign edit stands before it is undone again, seconds; doubled each time."""
    return min(_REASSERT_MAX_S, _REASSERT_BASE_S * 2.0 ** min(repeats, 16))
