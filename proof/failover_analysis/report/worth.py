"""What the controller gained against what a user has without it, on the same world and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from failover_analysis.report import words
from failover_analysis.report.contenders import BASELINES
from failover_analysis.report.model import Spread
from failover_analysis.report.played import Played, whole

_MINUTE_S: Final = 60.0
_CENT: Final = 0.01


def failed_or_late(one: Played) -> float:
    """How many requests of a run failed or came late; see `failover_analysis.simulation.measures.Measured.late`."""
    return one.result.totals.flow.lost + one.measured.late


def gained(compared: Mapping[str, Sequence[Played]]) -> str:
    """One line: the gain of the first policy of the controller against each of `BASELINES`; "" if there is nothing to compare.

    Args:
        compared: The runs by the name of their policy. Of several seeds the line has the median of the differences.
    """
    ours = next((name for name, runs in compared.items() if runs[0].contender.ours), None)
    if ours is None:
        return ""
    parts = [against for name in BASELINES if name in compared and (against := _against(name, compared[ours], compared[name]))]
    return f"{ours} {'; '.join(parts)}" if parts else ""


def _against(name: str, ours: Sequence[Played], theirs: Sequence[Played]) -> str:
    """The differences from one baseline; "" if no seed has a whole run of both."""
    others = {one.result.seed: one for one in whole(theirs)}
    pairs = [(one, others[one.result.seed]) for one in whole(ours) if one.result.seed in others]
    if not pairs:
        return ""

    def more(value: Callable[[Played], float]) -> float:
        spread = Spread.of(value(mine) - value(other) for mine, other in pairs)
        return spread.median if spread else 0.0

    minutes = more(lambda one: one.measured.exposed_s) / _MINUTE_S
    requests, dollars = more(failed_or_late), more(lambda one: one.result.totals.dollars)
    return f"against {name}: {_fewer(minutes, 'exposed minutes')}, {_fewer(requests, 'failed or late requests')}, {_price(dollars)}"


def _fewer(more: float, things: str) -> str:
    count = f"{abs(round(more)):,}"
    if count == "0":
        return f"as many {things}"
    return f"{count} {'more' if more > 0 else 'fewer'} {things}"


def _price(more: float) -> str:
    if abs(more) < _CENT / 2:
        return "the same cost"
    return f"{words.dollars(abs(more))} {'more' if more > 0 else 'less'}"
