"""Alert rules: every metric exists, every alert has a runbook and a test, and the manifests have the same rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, generate_latest

from controller.clients.calls import CallMeter
from controller.clock import SystemClock
from controller.notifiers.runbooks import Context
from controller.policy.account import Ledger
from controller.policy.alert_kinds import ROWS, AlertKind, of_key
from controller.policy.model import Alert, Mode, ModeChange
from controller.policy.reasons import CRITICAL, WARNING, Reason, Row
from controller.ports import Message, MessageKind
from controller.routing.conclusion import conclude
from controller.service.application_counter import ApplicationCounter
from controller.service.telemetry import Telemetry
from failover_harness.waiting import wait_for
from tests.support.applications import NOW, memory, snapshot
from tests.support.cluster import Cluster, Collector, make_service, running
from tools import monitoring
from tools.dashboards import DASHBOARDS
from tools.monitoring import ROOT, RULES

PAGES: Final = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")}
PARTS: Final = ("**What you see.**", "**What it means.**", "**What to do.**", "**How to check that it is over.**")


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _exporting() -> Telemetry:
    """Telemetry with a series of every metric."""
    telemetry = Telemetry(meter := CallMeter(), kept=lambda: {"pods": 1})
    meter.count("kubernetes")
    shot = snapshot()
    decision, account = conclude(memory(), shot).decision, Ledger(calls={"kubernetes": 1.0})
    telemetry.decided(shot, decision, memory(), account)
    for one in vars(telemetry).values():
        if isinstance(one, Counter | Gauge | Histogram) and one._labelnames:
            one.labels(*one._labelnames)
        elif isinstance(one, ApplicationCounter):
            one.count("application", *one._labels[1:])
    return telemetry


def _exported() -> dict[str, frozenset[str]]:
    """The labels of every series that the controller exports, by the name of its metric.

    Prometheus adds those of the target: `instance`, `namespace` and `pod`, the last two by a ServiceMonitor; what gathers the series of
    several clusters adds `cluster`.
    """
    found = [sample for family in _exporting().registry.collect() for sample in family.samples]
    return {sample.name: frozenset(sample.labels) for sample in found}


def _queries() -> list[tuple[str, str]]:
    """Every expression of a rule and of a dashboard, with where it is."""
    panels = [
        (panel.title, query.expression) for one in DASHBOARDS for row in one.rows.values() for panel in row for query in panel.queries
    ]
    return [*((rule["alert"], rule["expr"]) for rule in _rules()), *panels]


def _selected(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics that an expression selects, each with the labels that it matches."""
    selectors = re.findall(r"(failoverctl_[a-z_]+)(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"([a-z_]+)\s*=", matchers))) for name, matchers in selectors]


def _grouped(expression: str) -> set[str]:
    """The labels by which an expression groups or joins."""
    lists = re.findall(r"\b(?:by|on|group_left|ignoring)\s*\(([^)]*)\)", expression)
    return {label.strip() for one in lists for label in one.split(",") if label.strip()}


TARGET: Final = {"cluster", "instance", "namespace", "pod", "le"}


@pytest.mark.parametrize(("where", "expression"), _queries())
def test_every_metric_and_label_of_a_query_exists(where: str, expression: str) -> None:
    """A rule about a metric that was renamed never fires, and a panel of it stays empty."""
    exported, selected = _exported(), _selected(expression)
    assert selected, where
    for name, matched in selected:
        assert name in exported, f"{where}: {name}"
        assert matched <= exported[name] | TARGET, f"{where}: {name}"
    assert _grouped(expression) <= TARGET.union(*(exported[name] for name, _ in selected)), where


def test_the_flip_budget_that_is_left_is_exported() -> None:
    """It counts what the memory holds, so that it survives a restart; it is never below 0."""
    for changes, left in ((0, 4.0), (3, 1.0), (6, 0.0)):
        made = tuple(ModeChange(NOW - 60.0 * one, Mode.COST, Reason.RETURN_PROVEN, "") for one in range(changes))
        telemetry, remembered = Telemetry(), memory(mode_changes=(ModeChange(NOW - 3600.0, Mode.COST, Reason.RETURN_PROVEN, ""), *made))
        telemetry.decided(snapshot(), conclude(memory(), snapshot()).decision, remembered, Ledger())
        assert telemetry.registry.get_sample_value("failoverctl_flip_budget_left", {"application": "shop/sd21"}) == left


def test_every_alert_has_a_runbook_a_severity_and_a_test() -> None:
    """In promtool's tests each one fires and is over."""
    tested = {one["name"] for one in yaml.safe_load((RULES.parent / "rules_test.yaml").read_text())["tests"]}
    assert {rule["alert"] for rule in _rules()} == tested
    for rule in _rules():
        assert rule["annotations"]["runbook"] in PAGES, rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]


def test_every_runbook_says_what_it_is_what_to_do_and_when_it_is_over_and_is_in_use() -> None:
    """The table of contents lists each, and an alert or a message names it."""
    contents = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    used = {row.runbook for row in ROWS.values() if row.runbook} | {rule["annotations"]["runbook"] for rule in _rules()}
    assert used | {"README"} == PAGES
    for page in PAGES - {"README"}:
        text = (ROOT / "docs" / "runbooks" / f"{page}.md").read_text()
        assert all(part in text for part in PARTS), page
        assert f"({page}.md)" in contents


def test_the_manifests_have_the_same_rules() -> None:
    """`python -m tools.monitoring` writes them."""
    for path, text in monitoring.documents().items():
        assert path.read_text() == text, f"{path}: run `python -m tools.monitoring`"


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.severity in {WARNING, CRITICAL}], ids=lambda row: row.key)
def test_every_alert_names_a_runbook(row: Row) -> None:
    """Also in the message about it, which has the row's reason."""
    assert row.runbook in PAGES
    assert Context().complete(message(row)).runbook == f"docs/runbooks/{row.runbook}.md"


@pytest.mark.parametrize("name", ["refused", "reloaded", "end", "counters", "services", *(str(row) for row in AlertKind)])
def test_a_unit_that_is_named_like_a_row_gets_the_runbook_of_its_alert(name: str) -> None:
    """A unit named `refused` sent people to the page about refused configuration files, and one named `reloaded` to none."""
    for row in AlertKind:
        said = message(row, name)
        assert said.reason == row.reason
        assert Context().complete(said).runbook == (f"docs/runbooks/{row.runbook}.md" if row.runbook else "")
        assert of_key(f"{row}/{name}") == (row, (name,))


def message(row: Row, *subject: str) -> Message:
    """The message about an alert of a row."""
    return Message.about(Alert.of(row, {}, subject), MessageKind.ALERT, "title", NOW, "shop/sd21")


def test_prometheus_reads_the_metrics_and_likes_their_names(promtool: Path) -> None:
    """`promtool check metrics` knows the conventions for names, units and help texts."""
    shown = generate_latest(_exporting().registry)
    done = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_and_is_over_in_prometheus(promtool: Path, tmp_path: Path) -> None:
    """With Prometheus' own engine."""
    for words in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.parent / "rules_test.yaml")]):
        done = subprocess.run([promtool, *words], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_fires_about_a_healthy_installation(promtool: Path, tmp_path: Path) -> None:
    """What a controller in which nothing is wrong exports, for three hours."""
    cluster, rules = Cluster(SystemClock()), yaml.safe_load(RULES.read_text())
    try:
        with running(make_service(cluster, tmp_path, sinks=(Collector(),))) as service:
            wait_for("a decision", lambda: bool(service.controller.views()))
            service._publish_status()  # what the job does every 15 s
            wait_for(
                "the mode",
                lambda: service._telemetry.registry.get_sample_value("failoverctl_mode_unknown", {"application": "shop/sd21"}) == 0,
            )
            shown = [one for family in service._telemetry.registry.collect() for one in family.samples]
    finally:
        cluster.close()
    assert {"failoverctl_config_ok", "failoverctl_notifier_up", "failoverctl_routing_verified"} <= {one.name for one in shown}
    series = []
    for one in shown:
        labels = ",".join(f'{name}="{value}"' for name, value in {**one.labels, "instance": "a", "namespace": "failover-system"}.items())
        values = "0+60x200" if one.name == "failoverctl_last_tick_timestamp_seconds" else f"{one.value:g}x200"
        series.append({"series": f"{one.name}{{{labels}}}", "values": values})
    alerts = [{"eval_time": "180m", "alertname": rule["alert"]} for group in rules["groups"] for rule in group["rules"]]
    document = {"rule_files": [str(RULES)], "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": alerts}]}
    (tmp_path / "healthy.yaml").write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [promtool, "test", "rules", "healthy.yaml"], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_s_rules_are_about_its_own_namespace() -> None:
    """Two installations of the chart would alert of each other."""
    for group in monitoring.rules("docs/runbooks", "team-a")["groups"]:
        for rule in group["rules"]:
            found = re.findall(r"failoverctl_[a-z_]+(\{[^}]*\})?", rule["expr"])
            assert found, rule["alert"]
            assert all('{namespace="team-a"' in one for one in found), rule["alert"]
