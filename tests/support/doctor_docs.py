"""Writes docs/doctor.md from the table of checks: ``python -m tests.support.doctor_docs``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from controller.doctor.checks import CHECKS

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "doctor.md"

_INTRODUCTION: Final = """# failoverctl doctor

`failoverctl doctor [APPLICATION]...` looks at the live cluster once, with no more than read permissions, and says of each application what
is well and what is not, why that matters and how to mend it. It changes nothing. Generated from `controller/doctor/checks.py`:
`python -m tests.support.doctor_docs`.

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
| `--output json` | One document an application, one a line: `application`, `observedAt`, `routingStyle`, `counts` by level, `checks` (each finding with `check`, `level`, `seen`, `why`, `fix`) and `standbyPatch`, a JSON patch of the Ingress that is empty where nothing is missing. `level` is `problem`, `warning`, `unknown` or `ok`. |
| `--output yaml` | Only the Ingresses that lack standby rules, each with its whole `spec.rules`, for a repository. |
| `--gitops argocd`, `--gitops flux` | What the tool must leave alone, for the objects that the application file names. Needs no cluster; with one it also finds out which trigger of a ScaledObject is meant. |

## Checks

A finding is named after its check. What is needed depends on the [routing style](routing.md).
"""  # noqa: E501 - rows of a table


def document() -> str:
    """docs/doctor.md."""
    rows = [f"| `{check.name}` | {check.asks} | {check.why} |\n" for check in CHECKS]
    return f"{_INTRODUCTION}\n| check | what it asks for | why it matters |\n|---|---|---|\n{''.join(rows)}"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
