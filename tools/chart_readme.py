"""Writes deploy/chart/README.md from Chart.yaml and from the comments of values.yaml: ``python -m tools.chart_readme`` (`make docs`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[1] / "deploy" / "chart"
DOCUMENT: Final = CHART / "README.md"

_HEAD: Final = """\
<!-- Generated from Chart.yaml and values.yaml: `make docs`. -->
# The chart {name}

{description}. Version {version}, for Kubernetes {kubernetes} or later.

```sh
kubectl create namespace failover-system
helm install failoverctl oci://YOUR_REGISTRY/charts/failoverctl --version {version} -n failover-system \\
  --set image.repository=YOUR_REGISTRY/failoverctl --set 'applications.namespaces={{shop}}'
helm test failoverctl -n failover-system
kubectl apply --server-side -f my-application.yaml
```

The [install guide](../../docs/install.md) goes from an EKS cluster to a running controller. It also says how to build and push image and
chart. Install the chart once in a namespace.

## Values

`values.schema.json` checks every value, those of `settings` included: helm names a wrong one before it changes anything.

| value | default | meaning |
|---|---|---|
"""


@dataclass(frozen=True)
class Value:
    """One value of the chart: its path, its default, and what the comment above it says."""

    path: str
    default: object
    meaning: str


def values() -> list[Value]:
    """Every value, in the order of values.yaml. A mapping that is written over several lines counts as its members."""
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return list(_values(root, "", yaml.safe_load(text), text.splitlines()))


def _values(node: yaml.MappingNode, prefix: str, loaded: dict[str, Any], lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path, default = f"{prefix}{key.value}", loaded[key.value]
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _values(value, f"{path}.", default, lines)
        else:
            yield Value(path, default, _comment(lines, key.start_mark.line))


def _comment(lines: list[str], line: int) -> str:
    """The comment that stands directly above a line."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        found.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return " ".join(found)


def document() -> str:
    """README.md."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    oldest = chart["kubeVersion"].removeprefix(">=").removesuffix(".0-0")
    head = _HEAD.format(name=chart["name"], description=chart["description"], version=chart["version"], kubernetes=oldest)
    return head + "".join(f"| `{one.path}` | `{json.dumps(one.default)}` | {one.meaning} |\n" for one in values())


if __name__ == "__main__":
    DOCUMENT.write_text(document())
