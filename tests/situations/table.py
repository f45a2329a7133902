"""The table of situations for docs/situations.md, from what the controller did in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from controller.policy import text
from controller.policy.reasons import Reason
from tests.situations.situation import Situation
from tests.situations.stage import Played

_HEAD: Final = (
    "| situation | what proves a shortage, and when | mode, and when it changes | reasons on the way | alerts |",
    "|---|---|---|---|---|",
)
_MOST: Final = 3


def table(played: Iterable[tuple[Situation, Played]]) -> str:
    """The situations with their outcome, a table for each topic.

    Args:
        played: Each situation with what the controller did in it.
    """
    lines: list[str] = []
    topic = ""
    for situation, found in played:
        if situation.topic != topic:
            topic = situation.topic
            lines += ["", f"**{topic}**", "", *_HEAD]
        lines.append(row(situation, found))
    return "\n".join(lines[1:])


def row(situation: Situation, found: Played) -> str:
    """The line of one situation."""
    cells = (situation.given, _proofs(found), _changes(found), _reasons(found), _alerts(found))
    return f"| {' | '.join(cells)} |"


def _proofs(found: Played) -> str:
    whole = len(found.proofs) > 1
    each = [f"{unit + ': ' if whole else ''}{proof}, {text.duration(at)}" for unit, (proof, at) in sorted(found.proofs.items())]
    if not each:
        return "nothing"
    return "; ".join(each) if len(each) <= _MOST else f"{each[0]}, and {len(each) - 1} more alike"


def _changes(found: Played) -> str:
    return "; ".join(f"**{mode}** after {text.duration(at)} (`{reason}`)" for at, _, mode, reason in found.changes) or "as it was"


def _reasons(found: Played) -> str:
    """Every reason but those of the mode changes and of calm, at its first time; the last one as it is."""
    changed = {reason for *_, reason in found.changes}
    path: list[Reason] = [one for one in dict.fromkeys(found.reasons) if one not in changed and one is not Reason.DEMAND_MET]
    last = found.decision.reason
    return " → ".join(f"`{one}`" for one in (*(one for one in path if one is not last), last))


def _alerts(found: Played) -> str:
    each = [f"`{key}` ({alert.severity}, {text.duration(at)})" for key, (at, alert) in found.alerts.items()]
    return "; ".join(each) or "none"
