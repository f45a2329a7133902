"""Writes Rich tables as Markdown into documents."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table


def markdown(table: Table) -> str:
    """A table and its title as Markdown; keeps the alignment of columns."""
    header = [str(column.header) for column in table.columns]
    rules = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*([str(cell) for cell in column.cells] for column in table.columns), strict=True)
    lines = [f"{table.title}:", "", f"| {' | '.join(header)} |", f"|{'|'.join(rules)}|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def put(path: Path, begin: str, end: str, parts: list[str]) -> None:
    """Replaces the text between two markers of a document and keeps the markers.

    Raises:
        ValueError: A marker is missing or occurs more than once.
    """
    before, rest = path.read_text().split(begin)
    _, after = rest.split(end)
    path.write_text("\n\n".join([before + begin, *parts, end + after]))
