"""How long to wait before a mode change: the break-even time before a fallback, or waits learned from past shortages.

Returning is a ski-rental problem: capacity mode costs ``r - 1`` more per unit of time, a fallback costs ``S`` once. Waiting until the extra
price has added up to ``S`` costs at most twice what one would pay who knew the future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.policy.experts import Bounds, Choice, Expert, chosen
from controller.policy.figures import Figures
from controller.policy.learning import LEAST_SEEN, Stakes
from controller.policy.model import Application, HoldStrategy, Memory, Mode, Snapshot
from controller.policy.reasons import Reason
from controller.policy.weights import cost_per_request, price_ratio


def hold_s(application: Application, weights: Mapping[str, int], returning: Iterable[str], memory: Memory) -> float:
    """The hold before a fallback, by the policy's strategy; arguments as those of `break_even_s`.

    Returns:
        Seconds, within ``hold_min_s`` and ``hold_max_s``. A learned hold is not doubled after a flap, since it was learned from flaps too.
    """
    names = tuple(returning)
    learned = _learned(application, weights, names, memory)
    return break_even_s(application, weights, names, memory.hold_level) if learned is None else learned.waits.hold_s


def patience_s(application: Application, weights: Mapping[str, int], short: Iterable[str], memory: Memory) -> float:
    """How long a proven shortage is observed: the policy's patience plus, with the learned strategy, what was learned."""
    learned = _learned(application, weights, short, memory)
    return application.policy.patience_s + (learned.waits.patience_s if learned is not None else 0.0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The waits before mode changes because of some units, and where they come from.

    Attributes:
        units: Which units they are about.
        patience_s: From a proven shortage to the failover, seconds.
        hold_s: From the return of capacity to the fallback, seconds.
        strategy: Where they come from: `HoldStrategy.LEARNED` only once something was learned.
        rule: Which rule is followed then (`controller.policy.experts`).
        why: Why nothing was learned although the policy asks for it; "" otherwise.
        outages: How many past shortages are remembered.
        uptimes: How many stretches between them.
        over_by_patience: Share of those shortages that ended within `patience_s`. None where there were none.
        gone_by_hold: Share of those stretches that ended within `hold_s`, likewise.
    """

    units: tuple[str, ...]
    patience_s: float
    hold_s: float
    strategy: HoldStrategy
    rule: Expert
    why: str
    outages: int
    uptimes: int
    over_by_patience: float | None
    gone_by_hold: float | None


def waiting(application: Application, weights: Mapping[str, int], names: Iterable[str], memory: Memory) -> Waiting:
    """The waits as they would be for the named units now; arguments as those of `break_even_s`."""
    units, history = tuple(names), memory.outage_history
    patience, hold = patience_s(application, weights, units, memory), hold_s(application, weights, units, memory)
    choice = _learned(application, weights, units, memory)
    learned = choice is not None
    why = ""
    if application.policy.hold_strategy is HoldStrategy.LEARNED and not learned:
        seen = min(len(history.outages_s), len(history.uptimes_s))
        few = f"break-even until {LEAST_SEEN} shortages, and stretches between them, were observed: {seen} so far"
        why = few if seen < LEAST_SEEN else "break-even, because a failover or a fallback could never pay"
    return Waiting(
        units=units,
        patience_s=patience,
        hold_s=hold,
        strategy=HoldStrategy.LEARNED if learned else HoldStrategy.BREAK_EVEN,
        rule=Expert.DOUBLED if choice is None else choice.expert,
        why=why,
        outages=len(history.outages_s),
        uptimes=len(history.uptimes_s),
        over_by_patience=_share_within(history.outages_s, patience),
        gone_by_hold=_share_within(history.uptimes_s, hold),
    )


def next_waiting(snapshot: Snapshot, memory: Memory) -> Waiting:
    """The waits before the next mode change: of the units that are short or not yet proven back, or of the heaviest unit where none is."""
    application, weights = snapshot.application, Figures.of(snapshot, memory.units).intended
    short = tuple(unit.name for unit in application.units if unit.name in memory.units)
    return waiting(application, weights, short or (max(weights, key=lambda name: weights[name]),), memory)


def _share_within(durations_s: Sequence[float], wait_s: float) -> float | None:
    return sum(one <= wait_s for one in durations_s) / len(durations_s) if durations_s else None


def _learned(application: Application, weights: Mapping[str, int], names: Iterable[str], memory: Memory) -> Choice | None:
    """The rule that the waits follow, with the learned strategy.

    Returns:
        None with another strategy, after too few shortages, or where a failover or a fallback could never pay.
    """
    policy, history = application.policy, memory.outage_history
    if policy.hold_strategy is not HoldStrategy.LEARNED or min(len(history.outages_s), len(history.uptimes_s)) < LEAST_SEEN:
        return None
    extra, change_s = _prices(application, weights, names)
    if not (0 < extra < policy.exposed_cost and change_s > 0):
        return None
    stakes = Stakes(extra, policy.exposed_cost, change_s, policy.patience_s + policy.replacement_hold_s)
    return chosen(history, stakes, Bounds(policy.hold_min_s, policy.hold_max_s, policy.flap_window_s))


def _prices(application: Application, weights: Mapping[str, int], names: Iterable[str]) -> tuple[float, float]:
    """``r - 1``, and S: the spend of the named units for a cold start, in seconds of the whole fleet's spend in cost mode."""
    spend = {unit.name: weights.get(unit.name, 0) * cost_per_request(unit) for unit in application.units}
    total = sum(spend.values())
    if total <= 0:
        return 0.0, 0.0
    chosen = set(names)
    change_s = sum(spend[unit.name] / total * unit.cold_start_s for unit in application.units if unit.name in chosen)
    return price_ratio(application, weights) - 1, change_s


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
    policy = application.policy
    extra, change_s = _prices(application, weights, returning)
    if extra <= 0:
        return policy.hold_max_s
    doubled = max(policy.hold_min_s, change_s / extra) * 2.0 ** min(level, 16)
    return min(policy.hold_max_s, doubled)


def level_after_failover(memory: Memory, now: float, flap_window_s: float) -> int:
    """The doubling level once a failover happens at `now`: one more if the last fallback was within the flap window, else none.

    Traffic that left a Service with nothing behind it was no fallback: it said nothing of capacity.
    """
    fallbacks = (one.at for one in memory.mode_changes if one.to is Mode.COST and one.reason is not Reason.NOTHING_ANSWERS)
    last_fallback = max(fallbacks, default=None)
    return memory.hold_level + 1 if last_fallback is not None and now - last_fallback < flap_window_s else 0
