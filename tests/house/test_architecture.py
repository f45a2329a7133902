"""docs/architecture.md and CONTRIBUTING.md show the house as it is: what they name exists, and no room is missing."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house import makefile
from tools.architecture_docs import written

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = ("controller", "setup", "proof", "research", "benchmarks", "tools", "tests", "deploy", "config", "model_server", "docs")
LONGEST_WALK = 40
"""Functions between the watch and the patch: a reader must be able to follow all of them."""

_FUNCTION = re.compile(r"`([a-z_]+(?:/[\w.-]+)+\.py): ([\w.]+)`")
_PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(PLACES)})/[\w./-]*")
_SPAN = re.compile(r"`([^`\n]+)`|^```\n(.*?)^```", re.MULTILINE | re.DOTALL)


def packages(folder: str) -> set[str]:
    """The packages directly below a folder, relative to the root."""
    return {str(one.parent.relative_to(ROOT)) for one in (ROOT / folder).glob("*/__init__.py")}


def paths(page: str) -> set[str]:
    """Every path of the project that a page writes in backticks or in a block."""
    spans = ["".join(found) for found in _SPAN.findall(page)]
    return {path.rstrip("/.") for span in spans for path in _PATH.findall(span)}


def defined(source: str) -> set[str]:
    """Functions and methods of a module, as ``function`` and ``Class.method``."""
    tree = ast.parse(source)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    methods = {f"{c.name}.{f.name}" for c in tree.body if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, kinds)}
    return methods | {node.name for node in tree.body if isinstance(node, kinds)}


def section(page: str, heading: str) -> str:
    """What stands below a heading."""
    return page.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_every_function_of_the_walk_exists() -> None:
    """A name that moved or changed would send a reader to nothing."""
    named = _FUNCTION.findall(ARCHITECTURE)
    missing = [f"{path}: {name}" for path, name in named if not (ROOT / path).is_file() or name not in defined((ROOT / path).read_text())]
    assert missing == []


def test_the_walk_is_short_and_goes_from_the_watch_to_the_patch() -> None:
    """The table has every step once, in their order."""
    walk = section(ARCHITECTURE, "One event, from the watch to the patch")
    rows = [found.group(1, 2) for line in walk.splitlines() if line.startswith("|") and (found := _FUNCTION.search(line))]
    assert len(rows) == len(set(rows))
    assert 15 < len(rows) < LONGEST_WALK
    assert rows[0] == ("controller/signals/watch.py", "Watch._follow")
    assert ("controller/service/kube_applier.py", "KubeApplier.apply") in rows


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "README.md"])
def test_every_path_exists(page: str) -> None:
    """Paths are written from the root, so that they can be checked and opened."""
    named = paths((ROOT / page).read_text())
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_layers_show_every_room() -> None:
    """Packages of the controller and of proof, and the modules beside the packages."""
    shown = paths(section(ARCHITECTURE, "Folders") + section(ARCHITECTURE, "Layers"))
    modules = {f"controller/{one.name}" for one in (ROOT / "controller").glob("*.py") if one.name != "__init__.py"}
    assert (
        sorted((packages("controller") | packages("setup") | packages("setup/failover_setup") | packages("proof") | modules) - shown) == []
    )


def test_the_layers_are_those_of_the_import_contracts() -> None:
    """What `make docs` would write."""
    assert written(ARCHITECTURE) == ARCHITECTURE


def test_every_folder_at_the_root_is_named() -> None:
    """One that nobody explains is one that nobody keeps."""
    shown = {path.split("/")[0] for path in paths(ARCHITECTURE)} | set(re.findall(r"`([a-z_]+)/`", ARCHITECTURE)) | {"docs"}
    folders = {one.name for one in ROOT.iterdir() if one.is_dir() and not one.name.startswith((".", "_")) and any(one.rglob("*.*"))}
    assert sorted(folders - shown - {"build", "dist"}) == []


def test_what_to_read_names_every_room() -> None:
    """Who wants to change something finds the folder that it is in."""
    table = paths(section(CONTRIBUTING, "Where things are"))
    rooms = packages("controller") | packages("setup/failover_setup") | packages("proof")
    assert sorted(room for room in rooms if not any(path == room or path.startswith(f"{room}/") for path in table)) == []


def test_makefile_targets_that_pages_name_exist() -> None:
    """A command that a newcomer types must work."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {
        (page.name, target) for page in pages for target in re.findall(r"\bmake ([a-z][a-z-]*[a-z])\b(?!-?\*)", _code(page.read_text()))
    }
    assert sorted(one for one in named if one[1] not in makefile.targets()) == []


def _code(page: str) -> str:
    return "\n".join("".join(found) for found in re.findall(r"`([^`\n]+)`|^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
