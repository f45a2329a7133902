"""Writes the versions that the tests run with, in README.md and docs/compatibility.md: ``python -m tools.compatibility_docs``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from failover_harness.control_plane import binaries
from failover_setup.doctor.cluster import components
from failover_setup.doctor.cluster.components import Component
from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ("README.md", "docs/compatibility.md")


def page(name: str, present: str) -> str:
    """A page with its table replaced.

    Raises:
        ValueError: The table's markers are missing.
    """
    return replaced(name, present, "components", "\n".join(_rows()))


def _rows() -> Iterator[str]:
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "Chart.yaml").read_text())
    yield "| | oldest that suffices | tested with |"
    yield "|---|---|---|"
    yield f"| Kubernetes | {chart['kubeVersion'].removeprefix('>=').removesuffix('.0-0')} | {binaries.version(binaries.API_SERVER)} |"
    yield _row("Karpenter", components.KARPENTER, binaries.version(binaries.KARPENTER))
    yield _row("AWS Load Balancer Controller", components.LOAD_BALANCER_CONTROLLER, binaries.version(binaries.LBC))
    yield _row("KEDA, if you scale with it", components.KEDA, binaries.version(binaries.KEDA))
    yield f"| Helm | 3.8 (charts in registries) | {binaries.version(binaries.HELM)} |"


def _row(title: str, component: Component, tested: str) -> str:
    return f"| {title} | {'.'.join(map(str, component.at_least))} | {tested} |"


def main() -> None:
    """Writes the pages."""
    for name in PAGES:
        (ROOT / name).write_text(page(name, (ROOT / name).read_text()))


if __name__ == "__main__":
    main()
