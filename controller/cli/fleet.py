"""Several applications at a glance: a line each, what needs a person first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from controller.cli.observe import Observation
from controller.cli.words import ICONS, Line, mode_word
from controller.policy import text
from controller.policy.decision import observed_mode
from controller.policy.model import Mode

_HEADER: Final = ("APPLICATION", "MODE", "SINCE", "SHORT", "ALERTS", "REASON")


def fleet_lines(observations: Sequence[Observation]) -> Iterator[Line]:
    """A table of applications, as text for people.

    Args:
        observations: One of each application.
    """
    shown = sorted(observations, key=lambda one: (not one.alerts, one.decision.held_back is None, _mode(one) is Mode.COST))
    rows = [_row(one) for one in shown]
    widths = [max(map(len, column)) for column in zip(_HEADER, *(cells for _, cells in rows), strict=True)]
    for style, cells in (("dim", _HEADER), *rows):
        icon = ICONS.get(style, " ")
        yield style, f"{icon} " + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
    yield "plain", ""
    yield "dim", "one of them whole: failoverctl status APPLICATION"


def _mode(seen: Observation) -> Mode | None:
    return observed_mode(seen.snapshot, seen.memory)[0]


def _row(seen: Observation) -> tuple[str, tuple[str, ...]]:
    mode, since = _mode(seen), seen.memory.mode_since
    short = [judged.unit for judged in seen.decision.evidence.values() if judged.short]
    style = "bad" if seen.alerts else "warn" if seen.decision.held_back or mode is not Mode.COST else "good"
    cells = (
        seen.snapshot.application.key,
        mode_word(mode),
        text.duration(seen.snapshot.now - since) if since else "",
        text.listing(short) if short else "",
        str(len(seen.alerts) or ""),
        str(seen.decision.reason),
    )
    return style, cells
