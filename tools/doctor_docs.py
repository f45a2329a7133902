"""Writes docs/doctor.md from the table of checks: ``python -m tools.doctor_docs``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from controller.doctor.checks import CHECKS
from controller.doctor.cluster import components
from controller.doctor.cluster.checks import CLUSTER_CHECKS
from controller.doctor.cluster.workload import shown
from controller.doctor.report import Check

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "doctor.md"

_INTRODUCTION: Final = """# failoverctl doctor

`failoverctl doctor` looks at the live cluster once, with no more than read permissions: first at the components that every application relies
on, then at each application. It says what is well and what is not, why that matters and how to mend it, and changes nothing.
`failoverctl doctor APPLICATION...` looks at those applications alone, `failoverctl doctor --cluster` at the components alone; that needs no
application file, and tells how far an [installation](install.md) is. Generated from `controller/doctor`:
`python -m tools.doctor_docs`.

| level | meaning |
|---|---|
| ✖ problem | A switch is refused or blocked, or requests fail now. |
| ⚠ warning | It works, and may harm. |
| ? cannot tell | It cannot be seen from here: a kind is not installed, a permission is missing, or only somebody else knows. |
| ✔ ok | As it should be. |

Exit code: 0 no problem (there may be warnings), 2 at least one problem, 1 an error: wrong usage, a wrong file, no answer from the cluster.

| option | what is printed |
|---|---|
| `--output text` | The report, the worst first; below it, where standby rules are missing, a `kubectl patch` command that can be run as it stands. It appends rules, and replaces a standby rule that has another port literal. |
| `--cluster` | Only the components. |
| `--output json` | One document a line: one for the cluster, with `cluster` (the API server), `observedAt`, `counts` by level and `checks` (each finding with `check`, `level`, `seen`, `why`, `fix`), then one for each application, with `application` in the place of `cluster`, and `routingStyle` and `standbyPatch` besides: a JSON patch of the Ingress that is empty where nothing is missing. `level` is `problem`, `warning`, `unknown` or `ok`. |
| `--output yaml` | Only the Ingresses that lack standby rules, each with its whole `spec.rules`, for a repository. |
| `--gitops argocd`, `--gitops flux` | What the tool must leave alone, for the objects that the application file names. Needs no cluster; with one it also finds out which trigger of a ScaledObject is meant. |

"""  # noqa: E501 - rows of a table


_COMPONENTS: Final = """
## Checks of the cluster

Components are found by the names that their charts and manifests give them, in whatever namespace. An identity that may not list all
namespaces sees those that it may list; what is not there may be elsewhere, and is "cannot tell". `deploy/kustomize/doctor` is a
ClusterRole with exactly what is read; the controller itself needs none of it. What runs outside the cluster (EKS Auto Mode) and what
only AWS knows (EKS Pod Identity associations, IAM policies) is not seen.

| component | installed by [the guide](install.md) | at least | because older ones |
|---|---|---|---|
"""

_APPLICATIONS: Final = """
## Checks of an application

A finding is named after its check. What is needed depends on the [routing style](routing.md).

"""
_HEAD: Final = "| check | what it asks for | why it matters |\n|---|---|---|\n"


def document() -> str:
    """docs/doctor.md."""
    versions = "".join(
        f"| {one.title} | {one.pinned} | {shown(one.at_least) if one.at_least else 'any'} | {one.reason or '-'} |\n"
        for one in vars(components).values()
        if isinstance(one, components.Component) and one.pinned
    )
    return f"{_INTRODUCTION}{_COMPONENTS}{versions}\n{_HEAD}{_rows(CLUSTER_CHECKS)}{_APPLICATIONS}{_HEAD}{_rows(CHECKS)}"


def _rows(checks: Iterable[Check[Any]]) -> str:
    return "".join(f"| `{check.name}` | {check.asks} | {check.why} |\n" for check in checks)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
