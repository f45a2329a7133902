"""Writes the alert rules into the manifests: `deploy/monitoring/rules.yaml` as a PrometheusRule for kustomize, and for the chart.

``python -m tools.monitoring`` writes them (`make docs`); a test compares.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "deploy" / "monitoring" / "rules.yaml"
KUSTOMIZE: Final = ROOT / "deploy" / "kustomize" / "monitoring" / "prometheus-rule.yaml"
CHART: Final = ROOT / "deploy" / "chart" / "files" / "rules.yaml"
RUNBOOKS: Final = "docs/runbooks"
"""The path that alerts name where no address of the runbooks is configured."""

_HEAD: Final = "# Generated from deploy/monitoring/rules.yaml: `make docs`.\n"


def rules(base: str) -> dict[str, Any]:
    """The rules with the runbook of each as ``runbook_url``.

    Args:
        base: What comes before the page's name.
    """
    found: dict[str, Any] = copy.deepcopy(yaml.safe_load(RULES.read_text()))
    for rule in (rule for group in found["groups"] for rule in group["rules"]):
        annotations = rule["annotations"]
        annotations["runbook_url"] = f"{base}/{annotations.pop('runbook')}.md"
    return found


def documents() -> dict[Path, str]:
    """What each file must contain."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "failoverctl", "namespace": "failover-system", "labels": {}},
        "spec": rules(RUNBOOKS),
    }
    return {KUSTOMIZE: _HEAD + _dumped(resource), CHART: _HEAD + _dumped(rules("RUNBOOKS"))}


def _dumped(document: dict[str, Any]) -> str:
    return str(yaml.safe_dump(document, sort_keys=False, width=140, allow_unicode=True))


def main() -> None:
    """Writes the files."""
    for path, text in documents().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
