"""Table 1 and Table 2 of the AWS sample, and the weights of every strategy with their cost, computed from an application."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from controller.policy.account import capacity_throughputs
from controller.policy.model import Application, CapacityWeights, WeightStrategy
from controller.policy.routing import base_weights, blended_cost, capacity_cost, cost_per_request, weight_strategy

WIDTH: Final = 80
"""Width of the plain text in columns, for numbers of ordinary size."""

_COLUMN_NAME: Final = 18
_SHARING: Final = {CapacityWeights.READY: "round robin", CapacityWeights.READY_THROUGHPUT: "shares by throughput"}


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of Table 1.

    Attributes:
        unit: The deployment unit.
        instance_type: EC2 instance type.
        price_per_hour: US dollars per hour and replica.
        throughput: Requests per metric period and replica.
        cost: US dollars per hour for each request per period, computed.
    """

    unit: str
    instance_type: str
    price_per_hour: float
    throughput: float
    cost: float


@dataclass(frozen=True, slots=True)
class ThroughputRow:
    """A row of Table 2.

    Attributes:
        unit: The deployment unit.
        latency_s: Seconds, at the maximum throughput.
        max_throughput: Requests per metric period and replica; KEDA's target in cost mode.
        adjusted_throughput: KEDA's target in capacity mode, in the same unit; see `demand.capacity_throughputs`.
    """

    unit: str
    latency_s: float
    max_throughput: float
    adjusted_throughput: float


@dataclass(frozen=True, slots=True)
class WeightRow:
    """The weights of one strategy.

    Attributes:
        strategy: Its name.
        weights: The weights by unit name.
        cost: Blended cost, US dollars per hour for each request per period.
        saving: Share of the cost of capacity mode that it saves; negative if it costs more.
        used: Whether the application uses it.
    """

    strategy: str
    weights: Mapping[str, int]
    cost: float
    saving: float
    used: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The output of ``failoverctl weights`` for one application.

    Attributes:
        application: The application's key.
        period_s: Metric period of the throughput, seconds.
        costs: Table 1.
        throughputs: Table 2.
        capacity_weights: How capacity mode shares the requests: `CapacityWeights`.
        target_throughput: Table 2's target, the mean of the maximum throughputs; None where capacity mode shares by throughput, without it.
        weights: Every strategy; ready-proportional, which is round robin over all pods, first.
        merit_order: Unit names, cheapest first.
        notes: Sentences that explain surprising numbers.
    """

    application: str
    period_s: int
    costs: tuple[CostRow, ...]
    throughputs: tuple[ThroughputRow, ...]
    capacity_weights: str
    target_throughput: float | None
    weights: tuple[WeightRow, ...]
    merit_order: tuple[str, ...]
    notes: tuple[str, ...]

    def json(self) -> str:
        """The report as one line of JSON with sorted keys in camelCase, as those of other commands, for machines."""
        return json.dumps(_camel_case(asdict(self)), sort_keys=True)

    def text(self) -> str:
        """The report as plain text of `WIDTH` columns, ASCII only, for people."""
        parts = [
            self.application,
            _table(
                "Table 1 - cost of inference, US dollars per hour for each request per period",
                ("deployment unit", "instance", "USD/h", f"req/{self.period_s} s", "cost"),
                [(_cut(row.unit), _cut(row.instance_type), *_cost_cells(row)) for row in self.costs],
                text_columns=2,
            ),
            _table(
                f"Table 2 - throughput per replica ({self._target()})",
                (
                    "deployment unit",
                    "latency s",
                    "max (cost mode)",
                    "capacity mode" if self.target_throughput is None else "adjusted (capacity mode)",
                ),
                [
                    (_cut(row.unit), f"{row.latency_s:.2f}", f"{row.max_throughput:.1f}", f"{row.adjusted_throughput:.1f}")
                    for row in self.throughputs
                ],
            ),
            self._weights_text(),
            f"Merit order, cheapest first:\n{_wrapped(', '.join(self.merit_order), '  ')}",
        ]
        if self.notes:
            parts.append("\n".join(_wrapped(note, "- ") for note in self.notes))
        return "\n\n".join(parts) + "\n"

    def _target(self) -> str:
        if self.target_throughput is None:
            return f"{self.capacity_weights}: same target in both modes"
        return f"target: the mean, {self.target_throughput:.1f}"

    def _weights_text(self) -> str:
        """The table of weights. Its columns are numbered units, because five names do not fit side by side."""
        numbers = [str(number) for number in range(1, len(self.costs) + 1)]
        rows = [
            (
                ("* " if row.used else "  ") + row.strategy,
                *(str(row.weights[cost.unit]) for cost in self.costs),
                f"{row.cost:.5f}",
                f"{100 * row.saving:.1f} %",
            )
            for row in self.weights
        ]
        legend = ", ".join(f"{number} {cost.unit}" for number, cost in zip(numbers, self.costs, strict=True))
        table = _table("Weights in cost mode (* = used) and their blended cost", ("  strategy", *numbers, "cost", "saved"), rows)
        return f"{table}\n{_wrapped(legend, '  ')}"


def weights_report(application: Application) -> Report:
    """Computes the tables of an application.

    Args:
        application: From `controller.catalog.loader.load_directory`.
    """
    units = application.units
    costs = tuple(CostRow(unit.name, unit.instance_type, unit.price_per_hour, unit.throughput, cost_per_request(unit)) for unit in units)
    adjusted, by = capacity_throughputs(application), application.policy.capacity_weights
    weights = _weight_rows(application)
    return Report(
        application=application.key,
        period_s=application.metric_period_s,
        costs=costs,
        throughputs=tuple(ThroughputRow(unit.name, unit.latency_s, unit.throughput, adjusted[unit.name]) for unit in units),
        capacity_weights=by.value,
        target_throughput=sum(unit.throughput for unit in units) / len(units) if by is CapacityWeights.READY else None,
        weights=weights,
        merit_order=tuple(row.unit for row in sorted(costs, key=lambda row: row.cost)),
        notes=_notes(weights, by),
    )


def _weight_rows(application: Application) -> tuple[WeightRow, ...]:
    """The rows of all strategies, for one ready replica per unit and no demand, because a file states neither."""
    units = application.units
    equal = {unit.name: 1 for unit in units}
    round_robin, capacity = blended_cost(equal, units), capacity_cost(application)
    used = weight_strategy(application)
    rows = []
    for strategy in sorted(WeightStrategy, key=lambda strategy: strategy is not WeightStrategy.READY_PROPORTIONAL):
        if strategy is WeightStrategy.EXPLICIT and any(unit.weight is None for unit in units):
            continue
        weights = base_weights(units, strategy, 0.0, equal)
        # With equal numbers of replicas, ready-proportional is round robin over all pods.
        cost = round_robin if strategy is WeightStrategy.READY_PROPORTIONAL else blended_cost(weights, units)
        rows.append(WeightRow(strategy.value, weights, cost, 1 - cost / capacity, strategy is used))
    return tuple(rows)


def _notes(weights: Sequence[WeightRow], by: CapacityWeights) -> tuple[str, ...]:
    return tuple(
        f"The weights in use cost {row.cost:.5f}, capacity mode's {_SHARING[by]} {row.cost / (1 - row.saving):.5f}: "
        f"cost mode saves {100 * row.saving:.1f} %, capacity mode costs {1 / (1 - row.saving):.3f} times as much."
        for row in weights
        if row.used
    )


def _cost_cells(row: CostRow) -> tuple[str, ...]:
    return f"{row.price_per_hour:.4f}", f"{row.throughput:.1f}", f"{row.cost:.5f}"


def _cut(name: str) -> str:
    return name if len(name) <= _COLUMN_NAME else f"{name[: _COLUMN_NAME - 1]}~"


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """A plain-text table. The first columns hold text, aligned to the left; the others hold numbers."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])


def _camel_case(value: Any) -> Any:  # noqa: ANN401 - any part of the report
    """The value with its keys in camelCase. Names of units, which are keys too, have no underscore."""
    if isinstance(value, dict):
        return {re.sub("_(.)", lambda one: one[1].upper(), key): _camel_case(each) for key, each in value.items()}
    return [_camel_case(each) for each in value] if isinstance(value, (list, tuple)) else value
