"""What the images hold.

`make test-image` measures it, and ``python -m tools.image_figures --write`` records that and writes the table of docs/images.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import click

from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
MEASURED: Final = ROOT / "build" / "test-image.json"
RECORDED: Final = ROOT / "benchmarks" / "results" / "images.json"
DOCUMENT: Final = ROOT / "docs" / "laboratory" / "images.md"

Figures: TypeAlias = dict[str, dict[str, int]]
"""Figures of each image, by its name; `COLUMNS` are their keys."""

COLUMNS: Final = {
    "steps": "steps",
    "image_mb": "image, MB",
    "added_mb": "added to the base, MB",
    "distributions": "distributions added",
    "packages": "Debian packages",
}
GROWTH: Final = 0.10
"""By which part an image may differ from what is recorded before a test fails."""


def recorded() -> Figures:
    """What was recorded last; nothing where nothing was."""
    return json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


def differs(measured: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    """What of an image is not as recorded: other distributions, or a size beyond `GROWTH`.

    The base is Debian's of that day, so that its packages and the whole size do not count.
    """
    found = []
    if measured["distributions"] != before["distributions"]:
        found.append(f"{measured['distributions']} distributions, recorded {before['distributions']}")
    if abs(measured["added_mb"] - before["added_mb"]) > GROWTH * before["added_mb"]:
        found.append(f"{measured['added_mb']} MB added, recorded {before['added_mb']}")
    return found


def compared(measured: Figures, before: Figures) -> Iterator[str]:
    """Lines of a table: each figure, and the recorded one in parentheses."""
    yield "".join(["image".ljust(14), *(title.rjust(24) for title in COLUMNS.values())])
    for name, figures in sorted(measured.items()):
        shown = (f"{figures[key]:,} ({before[name][key]:,})" if name in before else f"{figures[key]:,} (none)" for key in COLUMNS)
        yield "".join([name.ljust(14), *(text.rjust(24) for text in shown)])


def page(present: str, figures: Figures) -> str:
    """The page with its table replaced.

    Raises:
        ValueError: The part's markers are missing.
    """
    return replaced("docs/laboratory/images.md", present, "figures", "\n".join(_rows(figures)))


def _rows(figures: Figures) -> Iterator[str]:
    yield f"| image | {' | '.join(COLUMNS.values())} |"
    yield f"|---|{'---|' * len(COLUMNS)}"
    for name, values in sorted(figures.items()):
        yield f"| {name} | {' | '.join(f'{values[key]:,}' for key in COLUMNS)} |"


@click.command()
@click.option("--write", is_flag=True, help="Record what the last `make test-image` measured, and write the page.")
def main(*, write: bool) -> None:
    """Compares what was measured last with what is recorded."""
    if not MEASURED.exists():
        raise click.ClickException(f"{MEASURED} is missing: run make test-image")
    measured: Figures = json.loads(MEASURED.read_text())
    for line in compared(measured, recorded()):
        click.echo(line)
    if write:
        figures = {**recorded(), **measured}
        RECORDED.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
        DOCUMENT.write_text(page(DOCUMENT.read_text(), figures))


if __name__ == "__main__":
    main()
