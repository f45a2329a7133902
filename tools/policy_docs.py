"""Writes docs/reasons.md and the diagram in docs/decision.md from the policy's tables: ``python -m tools.policy_docs``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from controller.policy import guards
from controller.policy.alerts import _HELD_ALERTS
from controller.policy.model import Mode
from controller.policy.modes import TRANSITIONS
from controller.policy.reasons import CLAIMS, SENTENCES, Reason
from tools.generated import replaced
from tools.policy_times import causes, times

DOCS: Final = Path(__file__).parents[1] / "docs"
REASONS: Final = DOCS / "reasons.md"
DECISION: Final = DOCS / "decision.md"

_INTRODUCTION: Final = """# Reasons

Every decision has one reason. The same word is in the log (`reason=`), in the Kubernetes Event, in Slack, in the metrics and in
`failoverctl status`, always with its sentence. Generated from `controller/policy/reasons.py`: `python -m tools.policy_docs`.
[The decision](decision.md) describes the guards.
"""
_GROUPS: Final = (
    (Reason.SHORTAGE_PROVEN, "Something is done"),
    (Reason.DEMAND_MET, "There is nothing to do"),
    (Reason.NOT_LEADER, "A guard holds"),
)


def reasons() -> str:
    """docs/reasons.md."""
    parts = [_INTRODUCTION]
    order = list(Reason)
    starts = [order.index(first) for first, _ in _GROUPS] + [len(order)]
    for (_, title), begin, end in zip(_GROUPS, starts, starts[1:], strict=False):
        alert = title == "A guard holds"
        parts.append(
            f"\n## {title}\n\n| reason | sentence |" + (" alert |" if alert else "") + "\n|---|---|" + ("---|" if alert else "") + "\n"
        )
        for reason in order[begin:end]:
            sentence = re.sub(r"\{(\w+)\}", r"*\1*", SENTENCES[reason])
            parts.append(f"| `{reason}` | {sentence} |" + (f" {_HELD_ALERTS.get(reason, '')} |" if alert else "") + "\n")
    return "".join(parts)


def states() -> str:
    """The state diagram, in mermaid."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Mode.COST}"]
    lines += [f"    {mode} --> {to}: {trigger} ({verb})" for (mode, trigger), (to, verb) in TRANSITIONS.items()]
    return "\n".join([*lines, "```"])


def guard_table() -> str:
    """The guards of each change, in order."""
    rows: tuple[tuple[str, Sequence[guards.Guard]], ...] = (
        ("always", guards.ALWAYS),
        ("failover", guards.FAILOVER),
        ("fallback", guards.FALLBACK),
        ("a pin, either way", guards.MODE_CHANGE),
        ("roll-back", guards.ROLLBACK),
        ("other weights, the same mode", guards.REROUTE),
    )
    lines = ["| change | guards, in order |", "|---|---|"]
    lines += [f"| {name} | {', '.join(guard.__name__.replace('_', ' ') for guard in some)} |" for name, some in rows]
    known = {guard.__name__: guard for _, some in rows for guard in some}
    lines += ["", "| guard | what it requires |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {(guard.__doc__ or '').splitlines()[0]} |" for name, guard in known.items()]
    return "\n".join(lines)


def claim_table() -> str:
    """The claims on replicas, and how each is shown."""
    return "\n".join(["| claim | why |", "|---|---|", *(f"| `{claim}` | {sentence} |" for claim, sentence in CLAIMS.items())])


def decision(present: str) -> str:
    """docs/decision.md with its generated parts replaced.

    Raises:
        ValueError: A part's markers are missing.
    """
    for name, body in (
        ("states", states()),
        ("guards", guard_table()),
        ("claims", claim_table()),
        ("causes", causes()),
        ("times", times()),
    ):
        present = replaced("docs/decision.md", present, name, body)
    return present


def main() -> None:
    """Writes both files."""
    REASONS.write_text(reasons())
    DECISION.write_text(decision(DECISION.read_text()))


if __name__ == "__main__":
    main()
