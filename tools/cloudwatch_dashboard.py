"""The dashboard for CloudWatch: an application as the AWS sample's figures show it, and the controller's modes above.

``python -m tools.cloudwatch_dashboard my-application.yaml --region us-west-2`` prints the body for `aws cloudwatch put-dashboard`. The one
in `deploy/monitoring` is that of `config/sd21.yaml`, the AWS sample's application.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from controller.catalog.loader import load_application_file
from controller.notifiers.cloudwatch import DIMENSION, MODE_METRIC
from controller.policy.model import Application, Unit
from controller.settings import CloudWatchNotifierSettings

_PERIOD_S: Final = 60
_WIDTH, _HEIGHT = 12, 6
_BALANCER: Final = "AWS/ApplicationELB"


def body(application: Application, region: str, namespace: str = "") -> dict[str, Any]:
    """The body of the dashboard.

    Args:
        application: Whose units are shown.
        region: Where the metrics are.
        namespace: That of the controller's own metrics (`cloudwatch.namespace`); empty: its default.
    """
    own = namespace or CloudWatchNotifierSettings().namespace
    widgets = [
        _lines("Mode: 0 cost, 1 capacity", [[own, MODE_METRIC, DIMENSION, application.key]], stat="Maximum"),
        _lines("Mode changes and alerts", [[own, name, DIMENSION, application.key] for name in ("Failovers", "Fallbacks", "Alerts")]),
        _lines(f"Requests of each unit, a period of {application.metric_period_s} s", _of_units(application, "counter"), stacked=True),
        _lines("Latency of each unit, p95", _of_units(application, "latency"), stat="p95", marks=_limits(application)),
        _lines("Requests of the load balancers", [_search("RequestCount")]),
        _lines("5xx of load balancers and targets", [_search("HTTPCode_ELB_5XX_Count"), _search("HTTPCode_Target_5XX_Count")]),
    ]
    widgets = [one for one in widgets if one["properties"]["metrics"]]  # CloudWatch refuses a widget without metrics
    for number, widget in enumerate(widgets):
        widget |= {"x": _WIDTH * (number % 2), "y": _HEIGHT * (number // 2), "width": _WIDTH, "height": _HEIGHT}
        widget["properties"] |= {"region": region, "period": max(_PERIOD_S, application.metric_period_s)}
    return {"start": "-PT24H", "widgets": widgets}


def _of_units(application: Application, what: str) -> list[list[Any]]:
    metrics = [(unit, unit.counter_metric if what == "counter" else unit.latency_metric) for unit in application.units]
    return [[application.metric_namespace, metric, {"label": unit.name}] for unit, metric in metrics if metric]


def _limits(application: Application) -> list[dict[str, Any]]:
    """The latency limits, each once, with the units that have it."""
    by_limit: dict[float, list[Unit]] = {}
    for unit in application.units:
        by_limit.setdefault(unit.latency_limit_s, []).append(unit)
    names = {at: ", ".join(one.name for one in units) for at, units in by_limit.items()}
    return [{"label": f"limit of {names[at]}" if len(names) > 1 else "limit", "value": at} for at in names]


def _search(metric: str) -> list[Any]:
    """All load balancers: the name of the application's own is known only once it exists."""
    return [{"expression": f"SEARCH('{{{_BALANCER},LoadBalancer}} MetricName=\"{metric}\"', 'Sum', {_PERIOD_S})"}]


def _lines(
    title: str, metrics: list[list[Any]], *, stat: str = "Sum", stacked: bool = False, marks: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    properties: dict[str, Any] = {"title": title, "view": "timeSeries", "stacked": stacked, "stat": stat, "metrics": metrics}
    properties["yAxis"] = {"left": {"min": 0}}
    return {"type": "metric", "properties": properties | ({"annotations": {"horizontal": marks}} if marks else {})}


def dumped(document: dict[str, Any]) -> str:
    """The body as text."""
    return json.dumps(document, indent=2) + "\n"


def main() -> None:
    """Prints the body for an application file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--region", required=True)
    parser.add_argument("--namespace", default="", help="the controller's cloudwatch.namespace")
    parser.add_argument("--application", default="", help="NAMESPACE/NAME, where the file has several")
    given = parser.parse_args()
    found = {one.key: one for one in load_application_file(given.file)}
    named = [found[key] for key in found if given.application in {"", key}]
    if len(named) != 1:
        parser.error(f"name one application of the file with --application: {', '.join(found)}")
    print(dumped(body(named[0], given.region, given.namespace)), end="")


if __name__ == "__main__":
    main()
