"""The source's Table 1 and Table 2, the weights of every strategy and what they cost, computed from an application."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from controller.policy.model import Application, Strategy, WeightStrategy
from controller.policy.weights import adjusted_throughputs, base_weights, blended_cost, cost_per_request

WIDTH: Final = 80
"""Columns that the plain text fits into with numbers of ordinary size."""

_ROUNDING: Final = 1.01e-5
"""Tables print costs with five decimals; a difference of one in the last one is rounding."""

_SAME: Final = 0.002
"""Throughputs are written with four digits, so a measured cost may differ by this share."""

_COLUMN_NAME: Final = 18


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of Table 1.

    Attributes:
        unit: The deployment unit.
        instance_type: EC2 instance type.
        price_per_hour: US dollars per hour and replica.
        throughput: Requests per metric period and replica.
        cost: US dollars per hour for each request per period, computed.
        published_cost: The same as a published table prints it, None where there is none.
    """

    unit: str
    instance_type: str
    price_per_hour: float
    throughput: float
    cost: float
    published_cost: float | None

    @property
    def differs(self) -> bool:
        """Whether the published cost is not the computed one, rounding aside."""
        return self.published_cost is not None and abs(self.published_cost - self.cost) > _ROUNDING


@dataclass(frozen=True, slots=True)
class ThroughputRow:
    """A row of Table 2.

    Attributes:
        unit: The deployment unit.
        latency_s: Seconds, at the maximum throughput.
        max_throughput: Requests per metric period and replica; KEDA's target in cost mode.
        adjusted_throughput: The same in capacity mode.
    """

    unit: str
    latency_s: float
    max_throughput: float
    adjusted_throughput: float


@dataclass(frozen=True, slots=True)
class WeightRow:
    """The weights that one strategy gives.

    Attributes:
        strategy: Its name.
        weights: By unit name.
        cost: Blended, US dollars per hour for each request per period.
        saving: Share of the cost of round robin that it saves; negative where it costs more.
        used: Whether the application uses it.
    """

    strategy: str
    weights: Mapping[str, int]
    cost: float
    saving: float
    used: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What ``failoverctl weights`` shows of one application.

    Attributes:
        application: ``namespace/ingress``.
        period_s: Metric period that throughput counts in, seconds.
        costs: Table 1.
        throughputs: Table 2.
        target_throughput: Table 2's target, the mean of the maximum throughputs.
        weights: Every strategy; ready-proportional, which is capacity mode's round robin, first.
        merit_order: Unit names, cheapest first.
        notes: Sentences that explain what a reader may stumble over.
    """

    application: str
    period_s: int
    costs: tuple[CostRow, ...]
    throughputs: tuple[ThroughputRow, ...]
    target_throughput: float
    weights: tuple[WeightRow, ...]
    merit_order: tuple[str, ...]
    notes: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def json(self) -> str:
        """The report as JSON with sorted keys, for machines."""
        return json.dumps(self.data(), indent=2, sort_keys=True)

    def text(self) -> str:
        """The report as plain text of `WIDTH` columns, ASCII only, for people."""
        parts = [
            self.application,
            _table(
                "Table 1 - cost of inference, US dollars per hour for each request per period",
                ("deployment unit", "instance", "USD/h", f"req/{self.period_s} s", "cost", "published"),
                [(_cut(row.unit), _cut(row.instance_type), *_cost_cells(row)) for row in self.costs],
                text_columns=2,
            ),
            _table(
                f"Table 2 - throughput per replica (target: the mean, {self.target_throughput:.1f})",
                ("deployment unit", "latency s", "max (cost mode)", "adjusted (capacity mode)"),
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

    def _weights_text(self) -> str:
        """Units are numbered columns here: five names do not fit side by side."""
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


def weights_report(
    application: Application, published_costs: Mapping[str, float] | None = None, measured_costs: Mapping[str, float] | None = None
) -> Report:
    """Computes the tables of an application.

    Args:
        application: From `controller.catalog.loader.load_directory`.
        published_costs: What a published table prints by unit, from `ApplicationFile.published_costs`.
        measured_costs: What a measurement found by unit, from `ApplicationFile.measured_costs`.
    """
    published = published_costs or {}
    units = application.units
    costs = tuple(
        CostRow(unit.name, unit.instance_type, unit.price_per_hour, unit.throughput, cost_per_request(unit), published.get(unit.name))
        for unit in units
    )
    adjusted = adjusted_throughputs(units)
    weights = _weight_rows(application)
    return Report(
        application=application.key,
        period_s=application.metric_period_s,
        costs=costs,
        throughputs=tuple(ThroughputRow(unit.name, unit.latency_s, unit.throughput, adjusted[unit.name]) for unit in units),
        target_throughput=sum(unit.throughput for unit in units) / len(units),
        weights=weights,
        merit_order=tuple(row.unit for row in sorted(costs, key=lambda row: row.cost)),
        notes=(*_notes(costs, weights), *_stale(costs, measured_costs or {})),
    )


def _weight_rows(application: Application) -> tuple[WeightRow, ...]:
    """One replica of each unit is assumed ready, and room in the cheapest one for merit order, because a file knows no demand."""
    units = application.units
    equal = {unit.name: 1 for unit in units}
    round_robin = blended_cost(equal, units)
    policy = application.policy
    used = WeightStrategy.MERIT_ORDER if policy.strategy is Strategy.ADAPTIVE else policy.weight_strategy
    rows = []
    for strategy in sorted(WeightStrategy, key=lambda strategy: strategy is not WeightStrategy.READY_PROPORTIONAL):
        if strategy is WeightStrategy.EXPLICIT and any(unit.weight is None for unit in units):
            continue
        weights = base_weights(units, strategy, 0.0, equal)
        # With equally many replicas, ready-proportional is the round robin of capacity mode.
        cost = round_robin if strategy is WeightStrategy.READY_PROPORTIONAL else blended_cost(weights, units)
        rows.append(WeightRow(strategy.value, weights, cost, 1 - cost / round_robin, strategy is used))
    return tuple(rows)


def _notes(costs: Sequence[CostRow], weights: Sequence[WeightRow]) -> list[str]:
    notes = [
        f"The weights in use cost {row.cost:.5f} against {row.cost / (1 - row.saving):.5f} of capacity mode's round robin: "
        f"cost mode saves {100 * row.saving:.1f} %, capacity mode is {1 / (1 - row.saving):.3f} times as dear."
        for row in weights
        if row.used
    ]
    notes += [
        f"{cost.unit}: published {cost.published_cost:.5f}, but {cost.price_per_hour:g} / {cost.throughput:g} is {cost.cost:.5f}; "
        f"the published one would be {cost.published_cost * cost.throughput:.4f} USD/h. The computed one is used."
        for cost in costs
        if cost.differs and cost.published_cost is not None
    ]
    return notes


def _stale(costs: Sequence[CostRow], measured: Mapping[str, float]) -> list[str]:
    """Of units whose price or throughput is no longer that of their measurement."""
    return [
        f"{cost.unit}: measured {measured[cost.unit]:.5f}, now {cost.cost:.5f}: its price or throughput was changed since; measure again."
        for cost in costs
        if cost.unit in measured and abs(measured[cost.unit] - cost.cost) > max(_ROUNDING, _SAME * cost.cost)
    ]


def _cost_cells(row: CostRow) -> tuple[str, ...]:
    published = "" if row.published_cost is None else f"{row.published_cost:.5f}{' !' if row.differs else '  '}"
    return f"{row.price_per_hour:.4f}", f"{row.throughput:.1f}", f"{row.cost:.5f}", published


def _cut(name: str) -> str:
    return name if len(name) <= _COLUMN_NAME else f"{name[: _COLUMN_NAME - 1]}~"


def _wrapped(text: str, first: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    """The first columns hold text and are aligned to the left, the others hold numbers."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join([title, *(line.rstrip() for line in lines)])
