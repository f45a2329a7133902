"""Modules form no circles: each can be read, and changed, without all the others. Imports for types alone count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.house.parsed import imports

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "controller": ROOT,
    "failover_setup": ROOT / "setup",
    "benchmarks": ROOT,
    "research": ROOT,
    "failover_testbed": ROOT / "proof",
    "failover_analysis": ROOT / "proof",
    "failover_harness": ROOT / "proof",
}


def sources() -> dict[str, str]:
    """The text of every module by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imported(text: str, modules: Mapping[str, object]) -> Iterator[str]:
    """The modules among `modules` that a source imports, wherever in it."""
    for node in imports(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


def circles(texts: Mapping[str, str]) -> set[frozenset[str]]:
    """Groups of modules each of which imports, over any number of steps, all the others."""
    graph = {name: set(imported(text, texts)) - {name} for name, text in texts.items()}
    reached = {name: _reachable(name, graph) for name in graph}
    groups = {frozenset({name, *(other for other in reached[name] if name in reached[other])}) for name in graph}
    return {group for group in groups if len(group) > 1}


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found, open_ends = set[str](), [start]
    while open_ends:
        for name in graph[open_ends.pop()] - found:
            found.add(name)
            open_ends.append(name)
    return found


def test_no_modules_import_one_another_in_a_circle() -> None:
    """A circle that was opened leaves the list, too."""
    assert circles(sources()) == set()


def test_a_circle_is_found_even_if_it_is_for_types_alone() -> None:
    """Three modules, one of which imports only for a type checker; a fourth one is no part of it."""
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A\n"
    texts = {"p": "", "p.a": "from p import b", "p.b": "from p.c import C", "p.c": guarded, "p.d": "import p.a"}
    assert circles(texts) == {frozenset({"p.a", "p.b", "p.c"})}
