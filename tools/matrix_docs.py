"""Generates the tables of what is known to work, in docs/compatibility.md and docs/images.md, from ``setup/failover_setup/matrix.yaml``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from failover_setup.matrix import Engine, Row, Status, matrix
from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
COMPATIBILITY: Final = ROOT / "docs" / "compatibility.md"
IMAGES: Final = ROOT / "docs" / "images.md"

_SAID: Final = {Status.WORKS: "works", Status.FAILS: "**does not work**", Status.UNKNOWN: "not known"}
_BY: Final = {"run": "run here", "report": "reported", "listed": "its maker lists it", "": "-"}


def whole() -> str:
    """Every row, then every engine."""
    rows = sorted(matrix().rows, key=lambda one: (min(one.devices), one.engine, list(Status).index(one.status)))
    head = "| model | device | engine | known | by | read or run | source |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, rows), "", *_engines()])


def _row(row: Row) -> str:
    models = ", ".join(row.models) or "any"
    limits = [f"`{one.replace('|', chr(92) + '|')}`" for one in (row.image, *row.flags) if one]
    engine = f"{row.engine} ({', '.join(limits)})" if limits else row.engine
    cells = (models, ", ".join(row.devices), engine, _SAID[row.status], _BY[row.by], str(row.date), f"[{row.why}]({row.source})")
    return f"| {' | '.join(cells)} |"


def _engines() -> Iterator[str]:
    yield "| engine | framework | image | versions | flags | frozen, and what it does not honour |"
    yield "|---|---|---|---|---|---|"
    for name, one in matrix().engines.items():
        image = f"`{one.image}`" if one.image else f"`model-server-{one.framework}`"
        versions = ", ".join(f"{library} {version}" for library, version in one.versions.items()) or "-"
        noted = "; ".join(filter(None, (one.frozen, one.ignored and f"not honoured: {one.ignored}"))) or "-"
        yield f"| {name} | {one.framework} | {image} | {versions} | {_flags(one)} | {noted} |"


def _flags(engine: Engine) -> str:
    return " ".join(f"`{one.replace('{{', '{').replace('}}', '}')}`" for one in engine.flags) or "-"


def short() -> str:
    """What works, by device: the strongest evidence of each model; devices of which the same is known share a line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for family, accelerator in matrix().accelerators.items():
        reported, listed = _models(family, "report"), _models(family, "listed")
        said = (", ".join(reported) or "-", ", ".join(one for one in listed if one not in reported) or "-")
        lines.setdefault(said, []).append(f"{family} ({accelerator.name})")
    head = ["| device | works: reported | works: its maker lists it, no run is known |", "|---|---|---|"]
    return "\n".join(
        [*head, *(f"| {', '.join(devices)} | {said[0]} | {said[1]} |" for said, devices in lines.items() if said != ("-", "-"))]
    )


def _models(family: str, by: str) -> list[str]:
    rows = [one for one in matrix().rows if one.status is Status.WORKS and family in one.devices]
    wanted = [one for one in rows if (one.by == "listed") is (by == "listed")]
    return list(dict.fromkeys(model for one in wanted for model in one.models))


def pages() -> dict[Path, str]:
    """The text of both pages."""
    parts = ((COMPATIBILITY, short()), (IMAGES, whole()))
    return {path: replaced(path.name, path.read_text(encoding="utf-8"), "matrix", text) for path, text in parts}


def main() -> None:
    """Writes both."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
