"""Dashboards: what Grafana reads, panels that a person understands, and metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from controller.catalog.loader import load_application_file
from controller.notifiers import cloudwatch
from tests.support.applications import application, seed_units
from tools.cloudwatch_dashboard import body
from tools.dashboards import DASHBOARDS
from tools.monitoring import DASHBOARD_LABEL, KUSTOMIZE, ROOT

FOLDER: Final = ROOT / "deploy" / "monitoring"
FILES: Final = {one.uid: FOLDER / f"{one.uid}.json" for one in DASHBOARDS}
UNITS: Final = {"short", "s", "reqps", "ops", "currencyUSD"}
"""Names of units that Grafana knows; it shows an unknown one as text behind the number."""


def _read(uid: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILES[uid].read_text())
    return found


def _panels(uid: str) -> list[dict[str, Any]]:
    return [one for one in _read(uid)["panels"] if one["type"] != "row"]


@pytest.mark.parametrize("uid", ["failoverctl-outcome", "failoverctl-mechanics"])
def test_grafana_s_own_classes_read_it_without_a_loss(uid: str) -> None:
    """The uid is in links and never changes."""
    register_default_plugins()
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(_read(uid)))) == _read(uid)
    assert _read(uid)["uid"] == uid


@pytest.mark.parametrize("uid", FILES)
def test_every_panel_says_what_it_means_and_in_which_unit(uid: str) -> None:
    """And no two share a number, a title or a place."""
    panels = _panels(uid)
    for one in panels:
        assert one["description"].endswith("."), one["title"]
        assert one["fieldConfig"]["defaults"]["unit"] in UNITS, one["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in one["targets"]), one["title"]
    whole = _read(uid)["panels"]
    assert len({one["id"] for one in whole}) == len(whole)
    assert len({one["title"] for one in whole}) == len(whole)
    places = [one["gridPos"] for one in whole]
    assert all(one["x"] >= 0 and one["x"] + one["w"] <= 24 for one in places)
    assert not [(one, other) for one, other in combinations(places, 2) if _overlap(one, other)]


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not beside and not above


@pytest.mark.parametrize("uid", FILES)
def test_every_legend_names_labels_that_its_query_keeps(uid: str) -> None:
    """An unknown label leaves an empty legend."""
    for panel in _panels(uid):
        for target in panel["targets"]:
            kept = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for label in labels.split(",")}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_a_runbook_that_a_panel_names_exists() -> None:
    """By its file name."""
    named = {name for uid in FILES for one in _panels(uid) for name in re.findall(r"unbook:? ([a-z-]+)", one["description"])}
    assert named
    assert all((ROOT / "docs" / "runbooks" / f"{name}.md").is_file() for name in named)


def test_the_sidecar_finds_both() -> None:
    """The chart takes them from its own folder, kustomize from a ConfigMap."""
    config_map = yaml.safe_load((KUSTOMIZE / "dashboards.yaml").read_text())
    assert config_map["metadata"]["labels"] == {DASHBOARD_LABEL: "1"}
    assert {name: json.loads(text) for name, text in config_map["data"].items()} == {f"{uid}.json": _read(uid) for uid in FILES}


def test_prometheus_understands_every_query(promtool: Path, tmp_path: Path) -> None:
    """With Grafana's variables filled in."""
    filled = {"$__rate_interval": "2m", "$__range": "24h", "$application": ".*"}
    rules: list[dict[str, str]] = []
    for uid in FILES:
        for panel in _panels(uid):
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in filled.items():
                    expression = expression.replace(name, value)
                rules.append({"record": f"panel{len(rules)}", "expr": expression})
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_dashboard_of_cloudwatch_shows_metrics_that_exist() -> None:
    """Those of the units are in the application file, those of the controller in its sink."""
    shipped = json.loads((FOLDER / "cloudwatch.json").read_text())
    (sample,) = load_application_file(ROOT / "config" / "sd21.yaml")
    units = {name for unit in sample.units for name in (unit.counter_metric, unit.latency_metric)}
    own = {cloudwatch.MODE_METRIC, *cloudwatch._COUNTERS.values()}
    shown = [one for widget in shipped["widgets"] for one in widget["properties"]["metrics"] if isinstance(one[0], str)]
    assert {one[1] for one in shown if one[0] == sample.metric_namespace} == units
    assert all(one[1] in own and one[3] == sample.key for one in shown if one[0] != sample.metric_namespace)
    for one, other in combinations([{"w": 1, "h": 1} | {"x": at["x"] // 12, "y": at["y"] // 6} for at in shipped["widgets"]], 2):
        assert not _overlap(one, other)


def test_a_dashboard_of_cloudwatch_has_no_widget_without_metrics() -> None:
    """An application need not have metrics of its own."""
    bare = application(metric_namespace="", units=tuple(replace(one, counter_metric="", latency_metric="") for one in seed_units()))
    widgets = body(bare, "eu-central-1")["widgets"]
    assert [one["properties"]["title"] for one in widgets if not one["properties"]["metrics"]] == []
    assert {one["properties"]["region"] for one in widgets} == {"eu-central-1"}
    assert len(widgets) == 4
