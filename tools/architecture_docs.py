"""Writes the layers into docs/architecture.md from the import contracts in pyproject.toml: ``python -m tools.architecture_docs``.

What a layer is for is the first sentence of its docstring.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tools.generated import replaced

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "architecture.md"
_SOURCES: Final = (ROOT, ROOT / "proof", ROOT / "setup")
"""The folders that hold packages."""


def contracts() -> list[Mapping[str, Any]]:
    """The contracts about layers: first that of the houses, then those within a package."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    return [one for one in tools["importlinter"]["contracts"] if one["type"] == "layers"]


def written(page: str) -> str:
    """The page with its generated parts replaced.

    Raises:
        ValueError: A part's markers are missing.
        FileNotFoundError: A layer has no module.
    """
    houses, *within = contracts()
    page = replaced(PAGE.name, page, "folders", "\n".join(_table(houses)))
    parts = ("\n".join([f"**{one['name'].partition(':')[0]}**", "", *_table(one)]) for one in within)
    return replaced(PAGE.name, page, "layers", "\n\n".join(parts))


def _table(contract: Mapping[str, Any]) -> Iterator[str]:
    """A row for each module; those of one layer, which may not import each other, have the same number."""
    yield from ("| | module | what it holds |", "|---|---|---|")
    (container,) = contract.get("containers", [""])
    for number, layer in enumerate(contract["layers"], 1):
        for name in layer.split(" | "):
            path = _path(f"{container}.{name}".lstrip("."))
            yield f"| {number} | `{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}` | {_purpose(path)} |"


def _path(module: str) -> Path:
    """The folder of a package, or the file of a module.

    Raises:
        FileNotFoundError: There is neither.
    """
    below = Path(*module.split("."))
    for path in (path for folder in _SOURCES for path in (folder / below, folder / below.with_suffix(".py"))):
        if path.exists():
            return path
    raise FileNotFoundError(module)


def _purpose(path: Path) -> str:
    """The first sentence of a module's docstring."""
    source = path / "__init__.py" if path.is_dir() else path
    said = ast.get_docstring(ast.parse(source.read_text())) or ""
    return re.split(r"\.(?:\s|$)", said.partition("\n\n")[0].replace("\n", " "), maxsplit=1)[0]


def main() -> None:
    """Writes the page."""
    PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
