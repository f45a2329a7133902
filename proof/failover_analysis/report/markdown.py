"""Renders a report as Markdown: everything but the timelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.policy.text import duration
from failover_analysis.report import words
from failover_analysis.report.model import Moment, Report, Table

_SPECIAL: Final = str.maketrans({"|": "\\|", "<": "&lt;", "\n": " "})


def markdown(report: Report) -> str:
    """Renders the text."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    yield ""
    mark = "✔" if report.ok else "✖" if report.kind == "simulation" else "≠"
    yield f"{mark} **{_plain(report.verdict)}**"
    yield ""
    for fact in report.facts:
        yield f"- {fact.name}: {_plain(fact.value)}"
    yield f"- Wall time: {duration(report.wall_s)}"
    yield ""
    yield from _code(report.command)
    for table in report.tables:
        yield from _table(table, "##")
    if report.moments:
        yield f"## {'Worst moments' if report.kind == 'simulation' else 'Moments'}"
        yield ""
        for place, one in enumerate(report.moments, 1):
            yield from _moment(place, one)
    if report.failures:
        yield "## Failed seeds"
        yield ""
        for failure in report.failures:
            yield f"**{_plain(failure.name)}, seed {failure.seed}**: {_plain(failure.words)}"
            yield ""
            yield from _code(failure.command)
    for table in report.appendix:
        yield from _table(table, "##")
    for note in report.notes:
        yield f"- {_plain(note)}"


def _plain(text: str) -> str:
    return text.translate(_SPECIAL)


def _code(command: str) -> Iterator[str]:
    yield "```sh"
    yield command
    yield "```"
    yield ""


def _table(table: Table, level: str) -> Iterator[str]:
    yield f"{level} {_plain(table.title)}"
    yield ""
    yield _plain(table.words)
    yield ""
    yield "| | " + " | ".join(_plain(column.title) for column in table.columns) + " |"
    yield "|---|" + "---:|" * len(table.columns)
    for row in table.rows:
        cells = (words.spread_words(row.cells[column.key], column.unit) for column in table.columns)
        yield f"| {_plain(row.name)} | " + " | ".join(f"{number} ({spread})" if spread else number for number, spread in cells) + " |"
    yield ""


def _moment(place: int, one: Moment) -> Iterator[str]:
    seed = f", seed {one.seed}" if one.seed is not None else ""
    yield f"{place}. **{words.time(one.at)}**, {_plain(one.name)}{seed}: {_plain(one.words)}."
    yield f"   Decided: {_plain(one.decision)}."
    for line in one.evidence:
        yield f"   - {_plain(line)}"
    yield ""
    yield from _code(one.command)
