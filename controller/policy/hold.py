"""How long to stay in capacity mode after capacity has returned: the break-even time of a switch.

Returning is a ski-rental problem: capacity mode costs ``r - 1`` more per unit of time, a switch back costs ``S`` once. Waiting until the
extra price has added up to ``S`` never costs more than twice what somebody who knew the future would have paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.policy.model import Application, Memory, Mode
from controller.policy.weights import cost_per_request, price_ratio


def break_even_s(application: Application, weights: Mapping[str, int], returning: Iterable[str], level: int) -> float:
    """The hold, ``S / (r - 1)``, doubled for every flap and kept within the policy's bounds.

    Args:
        application: For prices and measured cold starts.
        weights: The weights of cost mode by unit.
        returning: Names of the units whose capacity comes back: their replicas run for a cold start before they serve, while the others
            still carry the traffic. S is that double spend, in seconds of the whole fleet's spend in cost mode.
        level: How often it is doubled.

    Returns:
        Seconds, within ``hold_min_s`` and ``hold_max_s``. The upper bound where capacity mode is not dearer than cost mode: then a switch
        back never pays off.
    """
    policy = application.policy
    spend = {unit.name: weights.get(unit.name, 0) * cost_per_request(unit) for unit in application.units}
    total = sum(spend.values())
    extra = price_ratio(application.units, weights) - 1 if total > 0 else 0.0
    if extra <= 0:
        return policy.hold_max_s
    names = set(returning)
    switch_s = sum(spend[unit.name] / total * unit.cold_start_s for unit in application.units if unit.name in names)
    doubled = max(policy.hold_min_s, switch_s / extra) * 2.0 ** min(level, 16)
    return min(policy.hold_max_s, doubled)


def level_after_failover(memory: Memory, now: float, flap_window_s: float) -> int:
    """The doubling level once a failover happens at `now`: one more if the last fallback was within the flap window, else none."""
    last_fallback = max((flip.at for flip in memory.flips if flip.to is Mode.COST), default=None)
    return memory.hold_level + 1 if last_fallback is not None and now - last_fallback < flap_window_s else 0
