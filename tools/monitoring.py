"""Writes what monitors the controller, for kustomize and for the chart: dashboards, and the alert rules of `deploy/monitoring/rules.yaml`.

``python -m tools.monitoring`` writes them (`make docs`); a test compares.
"""

from __future__ import annotations

import copy
import re
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from controller.catalog.loader import load_application_file
from tools.cloudwatch_dashboard import body, dumped
from tools.dashboards import DASHBOARDS, built

ROOT: Final = Path(__file__).parents[1]
RULES: Final = ROOT / "deploy" / "monitoring" / "rules.yaml"
KUSTOMIZE: Final = ROOT / "deploy" / "kustomize" / "monitoring"
CHART: Final = ROOT / "deploy" / "chart" / "files"
RUNBOOKS: Final = "docs/runbooks"
"""The path that alerts name where no address of the runbooks is configured."""

DASHBOARD_LABEL: Final = "grafana_dashboard"
"""By this label the sidecar of Grafana's charts finds ConfigMaps with dashboards."""
_MONITORING: Final = ROOT / "deploy" / "monitoring"
_SAMPLE: Final = ROOT / "config" / "sd21.yaml"
_REGION: Final = "us-west-2"

_HEAD: Final = "# Generated from deploy/monitoring/rules.yaml: `make docs`.\n"


def rules(base: str, namespace: str = "") -> dict[str, Any]:
    """The rules with the runbook of each as ``runbook_url``.

    Args:
        base: What comes before the page's name.
        namespace: The installation's, which its rules are about; "": they are about every installation that is scraped.
    """
    found: dict[str, Any] = copy.deepcopy(yaml.safe_load(RULES.read_text()))
    for rule in (rule for group in found["groups"] for rule in group["rules"]):
        annotations = rule["annotations"]
        annotations["runbook_url"] = f"{base}/{annotations.pop('runbook')}.md"
        if namespace:
            rule["expr"] = re.sub(r"(failoverctl_[a-z_]+)(?:{([^}]*)})?", partial(_of_namespace, namespace), rule["expr"])
    return found


def _of_namespace(namespace: str, selector: re.Match[str]) -> str:
    """A selector of an expression, of one namespace's series alone."""
    metric, matchers = selector.groups()
    return f'{metric}{{namespace="{namespace}"{"," if matchers else ""}{matchers or ""}}}'


def documents() -> dict[Path, str]:
    """What each file must contain."""
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "failoverctl", "namespace": "failover-system", "labels": {}},
        "spec": rules(RUNBOOKS),
    }
    shown = {f"{one.uid}.json": built(one) for one in DASHBOARDS}
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "failoverctl-dashboards", "namespace": "failover-system", "labels": {DASHBOARD_LABEL: "1"}},
        "data": shown,
    }
    (application,) = load_application_file(_SAMPLE)
    return {
        KUSTOMIZE / "prometheus-rule.yaml": _HEAD + _dumped(resource),
        KUSTOMIZE / "dashboards.yaml": "# Generated from tools/dashboards.py: `make docs`.\n" + _dumped(config_map),
        CHART / "rules.yaml": _HEAD + _dumped(rules("RUNBOOKS", "NAMESPACE")),
        _MONITORING / "cloudwatch.json": dumped(body(application, _REGION)),
        **{folder / name: text for name, text in shown.items() for folder in (_MONITORING, CHART)},
    }


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that a person can read a dashboard inside a manifest."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dumped(document: dict[str, Any]) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True))


def main() -> None:
    """Writes the files."""
    for path, text in documents().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
