"""Makes Prometheus metrics with all their values at once, when they are scraped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

Values = Iterable[tuple[tuple[str, ...], float]]
"""The values of a metric, each with its labels."""

_Family = TypeVar("_Family", GaugeMetricFamily, CounterMetricFamily)


def gauge(name: str, what: str, labels: Sequence[str], values: Values) -> GaugeMetricFamily:
    """A gauge; arguments as those of `counter`."""
    return _filled(GaugeMetricFamily(f"failoverctl_{name}", what, labels=labels), values)


def counter(name: str, what: str, labels: Sequence[str], values: Values) -> CounterMetricFamily:
    """A counter.

    Args:
        name: Its name, without the prefix ``failoverctl_`` and the suffix ``_total``.
        what: What is counted.
        labels: The names of its labels.
        values: Its values.
    """
    return _filled(CounterMetricFamily(f"failoverctl_{name}", what, labels=labels), values)


def _filled(family: _Family, values: Values) -> _Family:
    for names, value in values:
        family.add_metric(names, value)
    return family
