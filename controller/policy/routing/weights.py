"""Weights, costs and throughputs: the arithmetic of Table 1 and Table 2 of the AWS sample, and of the weight strategies.

Where the formulas come from:

- ``C = ($/h) / throughput`` is what the AWS sample prints as "cost of inference / second" (Table 1); it is a price per request and period.
- ``target = sum(max throughput) / units`` and ``adjusted_i = min(target, max throughput_i)`` are its capacity mode (Table 2).
- ``w_i ~ T_i / (C_i * L_i) * A_i`` is the general formula published with it, `WeightStrategy.THROUGHPUT_PER_COST_LATENCY`. Its
  factor A is `apply_availability`, which can follow every strategy.
- ``w_i = (C_i / L_i) / sum(C / L)`` is published with it for cost mode and is **not offered**: it grows with the cost, so of two equally
  fast units the more expensive one gets more traffic. With the sample's numbers inf2, by far the cheapest, gets the least (14 %).
- No published formula gives the weights that the sample ships (40/20/15/10/15), hence `WeightStrategy.EXPLICIT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final

from controller.policy.model import Application, CapacityWeights, Strategy, Unit, WeightStrategy
from controller.policy.routing.rounding import exact_fraction, largest_remainder, least_overload

_FOLLOW_READY: Final = frozenset({WeightStrategy.MERIT_ORDER, WeightStrategy.READY_PROPORTIONAL})


def weight_strategy(application: Application) -> WeightStrategy:
    """The strategy of cost mode's weights; see `strategy_used`."""
    return strategy_used(application.policy.strategy, application.policy.weight_strategy)


def strategy_used(strategy: Strategy, stated: WeightStrategy) -> WeightStrategy:
    """The strategy of cost mode's weights, by the two settings of a policy: only `two-mode` follows the stated one.

    Args:
        strategy: The policy's strategy. `adaptive` and `planned` always mean merit order over ready capacity.
        stated: The policy's weight strategy.
    """
    return stated if strategy is Strategy.TWO_MODE else WeightStrategy.MERIT_ORDER


def carrying(application: Application) -> frozenset[str]:
    """The units that cost mode sends traffic to at all. A shortage of a unit with an explicit weight of 0 harms nobody."""
    explicit = weight_strategy(application) is WeightStrategy.EXPLICIT
    return frozenset(unit.name for unit in application.units if not explicit or unit.weight != 0)


def follows_ready(application: Application) -> bool:
    """Whether the weights of cost mode follow the ready replicas by themselves; with merit order they follow the demand too."""
    return weight_strategy(application) in _FOLLOW_READY


def base_weights(units: Sequence[Unit], strategy: WeightStrategy, demand: float | None, ready: Mapping[str, int]) -> dict[str, int]:
    """The weights of cost mode before availability is applied.

    Args:
        units: The deployment units, in the order of the application file.
        strategy: Where the weights come from, see the returns.
        demand: Requests per metric period over all units, None where it is not known. Used by merit order only.
        ready: Ready replicas by unit name; a unit that is missing has none. Used by merit order and ready-proportional only. The
            result of both includes availability already: do not pass it to `apply_availability` again.

    Returns:
        One weight a unit, in the order of `units`:

        - explicit: as written, whatever they add up to: 4 and 2 mean the same as 40 and 20.
        - inverse-cost: proportional to ``1 / C``.
        - throughput-per-cost-latency: proportional to ``T / (C * L)``.
        - merit-order: the cheapest unit is filled up to its ready capacity (ready replicas x throughput), then the next one, until the
          demand is met. Demand beyond all ready capacity is spread like that capacity; so is a demand that is not known.
        - ready-proportional: proportional to the ready replicas, which is what round robin over all pods does.

        The derived ones add up to `TOTAL`. Where a strategy needs ready replicas and no unit has any, one each is assumed.

    Raises:
        ValueError: There is no unit, a unit has no explicit weight where one is needed, the explicit weights are all zero, or a number is
            negative, infinite or not a number.
    """
    if not units:
        raise ValueError("no deployment units, so there is nothing to weigh")
    match strategy:
        case WeightStrategy.EXPLICIT:
            return _explicit(units)
        case WeightStrategy.INVERSE_COST:
            return largest_remainder({unit.name: 1 / _cost(unit) for unit in units})
        case WeightStrategy.THROUGHPUT_PER_COST_LATENCY:
            costs = {unit.name: _cost(unit) * _positive(f"latency of {unit.name}", unit.latency_s) for unit in units}
            return largest_remainder({unit.name: exact_fraction("throughput", unit.throughput) / costs[unit.name] for unit in units})
        case WeightStrategy.MERIT_ORDER | WeightStrategy.READY_PROPORTIONAL:
            return least_overload(ready_shares(units, strategy, demand, ready))


def ready_shares(units: Sequence[Unit], strategy: WeightStrategy, demand: float | None, ready: Mapping[str, int]) -> dict[str, Fraction]:
    """What each unit gets with a strategy that follows the ready replicas, before rounding; arguments as those of `base_weights`.

    Replicas are planned for these shares and not for the weights: a weight that is rounded up asks for more than the ready replicas that
    it follows, and once there is one more it may be rounded up again.

    Returns:
        By unit name; only the proportion counts.
    """
    replicas = tuple((unit.name, ready.get(unit.name, 0)) for unit in units)
    if strategy is not WeightStrategy.MERIT_ORDER:
        return _ready(replicas)
    return dict(_merit_order(tuple((unit.name, unit.price_per_hour, unit.throughput) for unit in units), demand, replicas))


def _explicit(units: Sequence[Unit]) -> dict[str, int]:
    weights: dict[str, int] = {}
    for unit in units:
        if unit.weight is None:
            raise ValueError(f"unit {unit.name} has no weight, and the weight strategy is explicit")
        weights[unit.name] = unit.weight
    if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"explicit weights must not be negative and not all be zero, got {weights}")
    return weights


def _ready(replicas: Iterable[tuple[str, int]]) -> dict[str, Fraction]:
    """Ready replicas of every unit; one each where no unit has any."""
    known = {name: exact_fraction(f"ready replicas of {name}", count) for name, count in replicas}
    return known if any(known.values()) else dict.fromkeys(known, Fraction(1))


@lru_cache(maxsize=4096)
def _merit_order(
    units: tuple[tuple[str, float, float], ...], demand: float | None, replicas: tuple[tuple[str, int], ...]
) -> dict[str, Fraction]:
    """What each unit serves when the cheapest ready capacity is used first; cached like `_rounded`.

    Args:
        units: Name, price and throughput of each.
        demand: Requests per metric period; None where it is not known.
        replicas: Ready replicas of each, in the same order.
    """
    ready, costs = _ready(replicas), {name: _cost_of(name, price, throughput) for name, price, throughput in units}
    capacity = {name: ready[name] * _positive(f"throughput of {name}", throughput) for name, _, throughput in units}
    left = sum(capacity.values(), Fraction(0)) if demand is None else exact_fraction("demand", demand)
    # `sorted` is stable: units of equal cost are filled in the order of the file.
    order = [name for name in sorted(costs, key=costs.__getitem__) if capacity[name] > 0]
    served = dict.fromkeys(capacity, Fraction(0))
    if left == 0:
        return served | {order[0]: Fraction(1)}  # the next request goes to the cheapest unit that can take it
    for name in order:
        served[name] = min(capacity[name], left)
        left -= served[name]
    return served


def apply_availability(base: Mapping[str, int], availability: Mapping[str, float]) -> dict[str, int]:
    """Scales base weights by how much of each unit can serve: ``w_i ~ base_i * A_i``.

    Args:
        base: Base weights by unit name.
        availability: ``A_i`` from 0 (nothing can serve) to 1 (all that is needed can) for every unit of `base`; others are ignored.

    Returns:
        `base` as it is where all units that carry weight are equally available, so that a healthy application keeps the weights a person
        wrote; otherwise weights that add up to `TOTAL`, in which a unit gets 0 exactly when ``base_i * A_i`` is 0. Empty where every
        product is 0: no unit that carries weight can serve.

    Raises:
        ValueError: A unit's availability is missing, outside 0 to 1 or not a number, or a base weight is negative.
    """
    return dict(_scaled(tuple(base.items()), tuple(availability.items())))


@lru_cache(maxsize=4096)
def _scaled(base: tuple[tuple[str, int], ...], availability: tuple[tuple[str, float], ...]) -> dict[str, int]:
    """`apply_availability`, cached: in a quiet application the arguments are the same in every decision."""
    known = dict(availability)
    shares: dict[str, Fraction] = {}
    for name, weight in base:
        if name not in known:
            raise ValueError(f"availability of {name} is missing")
        available = exact_fraction(f"availability of {name}", known[name])
        if available > 1:
            raise ValueError(f"availability of {name} must be 0 to 1, got {known[name]}")
        shares[name] = exact_fraction(f"weight of {name}", weight) * available
    if not any(shares.values()):
        return {}
    factors = {shares[name] / weight for name, weight in base if weight}
    return dict(base) if len(factors) == 1 else largest_remainder(shares)


def cost_per_request(unit: Unit) -> float:
    """What Table 1 prints as "cost of inference / second": $/h of one replica divided by its throughput.

    Returns:
        US dollars per hour for each request per metric period.

    Raises:
        ValueError: Price or throughput is not positive and finite.
    """
    return float(_cost(unit))


def adjusted_throughputs(units: Sequence[Unit]) -> dict[str, float]:
    """Table 2: the throughput that capacity mode asks of each unit, ``min(sum / units, max_i)``.

    Returns:
        Requests per metric period and replica, by unit name; empty where there are no units.

    Raises:
        ValueError: A throughput is not positive and finite.
    """
    return dict(_adjusted(tuple((unit.name, unit.throughput) for unit in units)))


@lru_cache(maxsize=256)
def _adjusted(units: tuple[tuple[str, float], ...]) -> dict[str, float]:
    throughputs = {name: _positive(f"throughput of {name}", throughput) for name, throughput in units}
    if not throughputs:
        return {}
    target = sum(throughputs.values(), Fraction(0)) / len(throughputs)
    return {name: float(min(target, throughput)) for name, throughput in throughputs.items()}


def blended_cost(weights: Mapping[str, float], units: Iterable[Unit]) -> float:
    """What a request costs on average when traffic is split by `weights`: ``sum(w_i * C_i) / sum(w_i)``.

    Args:
        weights: By unit name; only their proportion counts. A unit that is missing has weight 0.
        units: The deployment units.

    Returns:
        In the unit of `cost_per_request`.

    Raises:
        ValueError: A weight is negative or names no unit, all are zero, or a price or throughput is not positive and finite.
    """
    return float(_blend(tuple(weights.items()), tuple((unit.name, unit.price_per_hour, unit.throughput) for unit in units)))


def capacity_shares(application: Application, replicas: Mapping[str, int]) -> dict[str, float]:
    """What each unit gets in capacity mode, in proportion; with either routing style, because in-place weights imitate the one Service.

    Args:
        application: Its `capacity_weights` decide: with `ready` each replica gets as much, with `ready-throughput` each gets requests in
            proportion to its throughput.
        replicas: Replicas that can serve, by unit; a unit that is missing has none.

    Returns:
        By unit name, in the application's order; only the proportion counts.
    """
    by_throughput = application.policy.capacity_weights is CapacityWeights.READY_THROUGHPUT
    return {unit.name: replicas.get(unit.name, 0) * (unit.throughput if by_throughput else 1.0) for unit in application.units}


def capacity_cost(application: Application) -> float:
    """What a request costs on average in capacity mode with equally many replicas of every unit, in the unit of `cost_per_request`.

    Raises:
        ValueError: See `blended_cost`.
    """
    return blended_cost(capacity_shares(application, {unit.name: 1 for unit in application.units}), application.units)


def price_ratio(application: Application, cost_weights: Mapping[str, float]) -> float:
    """The price of capacity mode relative to cost mode; see `capacity_cost`.

    Args:
        application: For its units, and how its capacity mode shares the requests.
        cost_weights: The weights of cost mode by unit name.

    Returns:
        r; below 1 where the weights cost more than capacity mode, which is allowed but never pays.

    Raises:
        ValueError: See `blended_cost`.
    """
    return capacity_cost(application) / blended_cost(cost_weights, application.units)


@lru_cache(maxsize=1024)
def _blend(weights: tuple[tuple[str, float], ...], units: tuple[tuple[str, float, float], ...]) -> Fraction:
    costs = {name: _cost_of(name, price, throughput) for name, price, throughput in units}
    unknown = [name for name, _ in weights if name not in costs]
    if unknown:
        raise ValueError(f"no deployment unit is named {', '.join(unknown)}")
    exact = {name: exact_fraction(f"weight of {name}", weight) for name, weight in weights}
    whole = sum(exact.values(), Fraction(0))
    if whole == 0:
        raise ValueError("the weights are all zero, so no traffic is split")
    return sum((weight * costs[name] for name, weight in exact.items()), Fraction(0)) / whole


def _cost(unit: Unit) -> Fraction:
    return _cost_of(unit.name, unit.price_per_hour, unit.throughput)


@lru_cache(maxsize=1024)
def _cost_of(name: str, price_per_hour: float, throughput: float) -> Fraction:
    return _positive(f"price of {name}", price_per_hour) / _positive(f"throughput of {name}", throughput)


def _positive(what: str, value: float) -> Fraction:
    number = exact_fraction(what, value)
    if number == 0:
        raise ValueError(f"{what} must be greater than zero")
    return number
