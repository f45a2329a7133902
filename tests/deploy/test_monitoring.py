"""Alert rules: every metric exists, every alert has a runbook and a test, and the manifests have the same rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from controller.notifiers.runbooks import _PAGES, page_of
from controller.policy.alerts import _HELD_ALERTS
from controller.policy.reasons import RESTORED, Reason
from controller.service.messages import _code
from controller.service.telemetry import Telemetry
from tools import monitoring
from tools.monitoring import ROOT, RULES

PAGES: Final = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")}
PARTS: Final = ("**What you see.**", "**What it means.**", "**What to do.**", "**How to check that it is over.**")


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _exported() -> set[str]:
    """Every metric that docs/metrics.md lists; tests/service compares that page with the code."""
    listed = re.findall(r"^\| `(failoverctl_[a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    own = {f"{one.name}_total" if one.type == "counter" else one.name for one in Telemetry().registry.collect()}
    assert own <= {*listed}
    return set(listed)


def test_every_metric_in_a_rule_exists() -> None:
    """A rule about a metric that was renamed never fires."""
    for rule in _rules():
        named = set(re.findall(r"failoverctl_[a-z_]+", rule["expr"]))
        assert named, rule["alert"]
        assert named <= _exported(), rule["alert"]


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
    used = {page for _, page in _PAGES} | {rule["annotations"]["runbook"] for rule in _rules()}
    assert used | {"README"} == PAGES
    for page in PAGES - {"README"}:
        text = (ROOT / "docs" / "runbooks" / f"{page}.md").read_text()
        assert all(part in text for part in PARTS), page
        assert f"({page}.md)" in contents


def test_the_manifests_have_the_same_rules() -> None:
    """`python -m tools.monitoring` writes them."""
    for path, text in monitoring.documents().items():
        assert path.read_text() == text, f"{path}: run `python -m tools.monitoring`"


ALERTING: Final = (*_HELD_ALERTS, Reason.SHORTAGE_PROVEN, Reason.SLO_BREACHED, *RESTORED, Reason.ROLLED_BACK)
KEYS: Final = (
    "max/a", "cause/a/quota", "config/a", "silent/a", "silent/counters", "unhealthy/a", "scaler/a", "unprepared", "unprepared/services",
    "blackhole", "unverified", "blocked", "fighting", "contested/a", "absent/karpenter", "clocks", "karpenter-metrics", "mostly-short",
    "unproven/a", "unjoined/a", "reservation/a/b", "reservation-end/a", "reserved/a", "state-unsaved", "action-failed",
)  # fmt: skip


@pytest.mark.parametrize(
    "reason", [*(str(reason) for reason in ALERTING), *(_code(key) for key in KEYS), "LeaseLost", "NotifierDead", "BudgetTooSmall"]
)
def test_every_message_that_asks_for_something_names_a_runbook(reason: str) -> None:
    """By the beginning of its reason."""
    assert page_of(reason) in PAGES


def test_every_alert_fires_and_is_over_in_prometheus(promtool: Path, tmp_path: Path) -> None:
    """With Prometheus' own engine."""
    for words in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.parent / "rules_test.yaml")]):
        done = subprocess.run([promtool, *words], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
