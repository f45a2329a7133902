"""Writes docs/doctor.md from the table of checks: ``python -m tools.doctor_docs``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from failover_setup.doctor.checks import CHECKS
from failover_setup.doctor.cluster import components
from failover_setup.doctor.cluster.checks import CLUSTER_CHECKS
from failover_setup.doctor.cluster.workload import shown
from failover_setup.doctor.report import Check

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "doctor.md"

_INTRODUCTION: Final = """# failoverctl doctor

`failoverctl doctor` checks the live cluster once, with read permissions alone: first the components that every application relies on, then
each application. It reports what is well and what is not, why that matters and how to fix it, and changes nothing.
`failoverctl doctor APPLICATION...` checks only those applications, `failoverctl doctor --cluster` only the components. The latter needs no
application file and shows the progress of an [installation](install.md). Generated from `setup/failover_setup/doctor`:
`python -m tools.doctor_docs`.

| level | meaning |
|---|---|
| ✖ problem | A mode change is refused or blocked, or requests fail now. |
| ⚠ warning | It works, but may cause harm. |
| ? cannot tell | The cluster does not show it: a kind is not installed, a permission is missing, or only AWS knows. |
| ✔ ok | All is well. |

Exit code: 0 no problem (there may be warnings), 2 at least one problem, 1 an error: wrong usage, an invalid file, no answer from the cluster.

| option | what is printed |
|---|---|
| `--output text` | The report, the worst first. If standby rules are missing, a complete `kubectl patch` command follows. It appends rules, and replaces a standby rule that has another port literal. |
| `--cluster` | Only the components. |
| `--output json` | One document a line: one for the cluster, with `cluster` (the API server), `observedAt`, `counts` by level and `checks` (each finding with `check`, `level`, `seen`, `why`, `fix`), then one for each application, with `application` instead of `cluster`, and also `routingStyle` and `standbyPatch`, a JSON patch of the Ingress that is empty if nothing is missing. `level` is `problem`, `warning`, `unknown` or `ok`. |
| `--output yaml` | Only the Ingresses that lack standby rules, each with its whole `spec.rules`, for a repository. |
| `--gitops argocd`, `--gitops flux` | What the tool must ignore, for the objects that the application file names. Needs no cluster; with one it also finds the index of each ScaledObject's trigger. |

"""  # noqa: E501 - rows of a table


_COMPONENTS: Final = """
## Checks of the cluster

`doctor` finds components by the names in their charts and manifests, in any namespace. An identity that may not list all namespaces checks
those that it may list; a component that is not there may be elsewhere, so the result is "cannot tell". `deploy/kustomize/doctor` is a
ClusterRole with exactly the permissions that `doctor` needs; the controller itself needs none of them. `doctor` does not see what runs
outside the cluster (EKS Auto Mode) and what only AWS knows (EKS Pod Identity associations, IAM policies).

| component | installed by [the guide](install.md) | at least | because older ones |
|---|---|---|---|
"""

_APPLICATIONS: Final = """
## Checks of an application

A finding is named after its check. The requirements depend on the [routing style](routing.md).

"""
_HEAD: Final = "| check | what it requires | why it matters |\n|---|---|---|\n"


def document() -> str:
    """docs/doctor.md."""
    versions = "".join(
        f"| {one.title} | {one.pinned} | {shown(one.at_least) if one.at_least else 'any'} | {one.reason or '-'} |\n"
        for one in vars(components).values()
        if isinstance(one, components.Component) and one.pinned
    )
    return f"{_INTRODUCTION}{_COMPONENTS}{versions}\n{_HEAD}{_rows(CLUSTER_CHECKS)}{_APPLICATIONS}{_HEAD}{_rows(CHECKS)}"


def _rows(checks: Iterable[Check[Any]]) -> str:
    return "".join(f"| `{check.name}` | {check.requires} | {check.why} |\n" for check in checks)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
