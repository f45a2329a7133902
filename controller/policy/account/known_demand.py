"""Whether the demand is known, and whether what is known is all of it: a counter without a value may hide a part."""

from __future__ import annotations

from typing import Final

from controller.policy.account.demand import counts
from controller.policy.account.metric_times import fresh_s, oldest_s
from controller.policy.model import Snapshot

_LATE_S: Final = 120.0  # beyond the oldest that a sample is in ordinary times: it is late, and shows no fall of the demand
_SURE: Final = 10.0  # requests a period: that many are expected where a counter without a value means missing metrics (e^-10 by chance)


def metrics_awaited(snapshot: Snapshot) -> bool:
    """Whether CloudWatch has not answered yet, as in the first seconds of a process."""
    return any(one.name == "cloudwatch" and not one.absent and one.last_ok is None and not one.problem for one in snapshot.sources)


def known_everywhere(snapshot: Snapshot) -> bool:
    """Whether each unit that must have served requests has a counter that is not late. Else the demand may be more than is known."""
    return without_counter(snapshot) == ()


def without_counter(snapshot: Snapshot) -> tuple[str, ...] | None:
    """The units that must have served requests and have no counter, or a late one; None where no unit that gets requests has another."""
    return _without(snapshot, oldest_s(snapshot.application.metric_period_s) + _LATE_S)


def known_in_part(snapshot: Snapshot) -> bool:
    """Whether some units have a counter, and one that must have served requests has none: the demand is more than is known.

    Where only units that get no requests have one, nothing is known of those that get them.
    """
    missing = _without(snapshot, fresh_s(snapshot.application.metric_period_s))
    if missing is not None:
        return bool(missing)
    samples = (observed.demand for observed in snapshot.units.values())
    return bool(_weights(snapshot)) and any(one is not None and counts(snapshot, one) for one in samples)


def _weights(snapshot: Snapshot) -> dict[str, int]:
    """The weight of each unit that the routing action names, without those that get no requests. The single Service names none."""
    units = {unit.backend.service: unit.name for unit in snapshot.application.units}
    return {units[one.service]: one.weight for one in snapshot.routing.targets if one.service in units and one.weight > 0}


def _without(snapshot: Snapshot, longest_s: float) -> tuple[str, ...] | None:
    """The units that must have served requests and have no counter, in the order of the action.

    Args:
        snapshot: What is observed.
        longest_s: How old the value of a counter may be, seconds.

    Returns:
        None where no unit that the action names has a counter.
    """
    weights, counted = _weights(snapshot), {}
    for name in weights:
        sample = snapshot.units[name].demand
        if sample is not None and counts(snapshot, sample) and abs(snapshot.now - sample.at) <= longest_s:
            counted[name] = sample.value
    whole, shown = sum(weights.values()), sum(weights[name] for name in counted)
    if not shown:
        return None
    demand = sum(counted.values()) * whole / shown
    missing = (name for name in weights if name not in counted and snapshot.units[name].ready)
    return tuple(name for name in missing if demand * weights[name] / whole >= _SURE)
