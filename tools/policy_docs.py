"""Writes docs/reasons.md and the tables of the policy in docs/decision.md and docs/configuration.md: ``python -m tools.policy_docs``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from controller.policy.alert_kinds import AlertKind
from controller.policy.model import Mode
from controller.policy.modes import TRANSITIONS, guards
from controller.policy.reasons import CLAIMS, Reason, Row
from tools.generated import replaced
from tools.policy_times import causes, times

DOCS: Final = Path(__file__).parents[1] / "docs"
REASONS: Final = DOCS / "reasons.md"
DECISION: Final = DOCS / "decision.md"
CONFIGURATION: Final = DOCS / "configuration.md"

_INTRODUCTION: Final = """# Reasons and alerts

Every decision has one reason. The same word is in the log (`reason=`), in the Kubernetes Event, in Slack, in the metrics and in
`failoverctl status`, always with its sentence. Generated from `controller/policy/reasons.py` and `controller/policy/alert_kinds.py`:
`python -m tools.policy_docs`. [The decision](decision.md) describes the guards.
"""
_ALERTS: Final = """
## Alerts and other messages

The key of an alert is its code and its subject, such as `max/sd21-inf2`: the incident of a message ends with it, and its reason is the code
in CamelCase (`Max`). While a guard holds a change for a reason with a severity, the alert is `held/` and that reason.

| key | sentence | severity | runbook |
|---|---|---|---|
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
        parts.append(f"\n## {title}\n\n| reason | sentence | alert | runbook |\n|---|---|---|---|\n")
        parts += [f"| `{reason}` | {_sentence(reason)} | {reason.severity} | {_page(reason)} |\n" for reason in order[begin:end]]
    parts.append(_ALERTS)
    for kind in AlertKind:
        key = "/".join(filter(None, (str(kind), kind.subject.upper())))
        parts.append(f"| `{key}` | {_sentence(kind)} | {kind.severity} | {_page(kind)} |\n")
    return "".join(parts)


def _sentence(row: Row) -> str:
    return re.sub(r"\{(\w+)\}", r"*\1*", row.sentence)


def _page(row: Row) -> str:
    return f"[{row.runbook}](runbooks/{row.runbook}.md)" if row.runbook else ""


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
        ("nothing behind the traffic", guards.NOTHING_BEHIND),
        ("roll-back", guards.ROLLBACK),
        ("other weights, the same mode", guards.REROUTE),
    )
    lines = ["| change | guards, in order |", "|---|---|"]
    lines += [f"| {name} | {', '.join(guard.name for guard in some)} |" for name, some in rows]
    known = {guard.name: guard for _, some in rows for guard in some}
    lines += ["", "| guard | what it requires | reason while it holds | holds |", "|---|---|---|---|"]
    lines += [_guard_row(guard) for guard in known.values()]
    return "\n".join(lines)


def _guard_row(guard: guards.Guard) -> str:
    """A guard, its reasons, and in which ways it holds."""
    reasons = ", ".join(f"`{reason}`" for reason in guard.reasons)
    holds = [words for words, so in (("for a time", guard.waits), ("also while replicas are raised", guard.preparing)) if so]
    return f"| {guard.name} | {(guard.check.__doc__ or '').splitlines()[0]} | {reasons} | {'; '.join(holds)} |"


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
    ):
        present = replaced("docs/decision.md", present, name, body)
    return present


def configuration(present: str) -> str:
    """docs/configuration.md with its table of default times replaced.

    Raises:
        ValueError: The part's markers are missing.
    """
    return replaced("docs/configuration.md", present, "times", times())


def main() -> None:
    """Writes the three files."""
    REASONS.write_text(reasons())
    DECISION.write_text(decision(DECISION.read_text()))
    CONFIGURATION.write_text(configuration(CONFIGURATION.read_text()))


if __name__ == "__main__":
    main()
