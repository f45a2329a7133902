"""Parsers raise more than they document: code that parses foreign text expects all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]

RAISED: Final = {
    "loads": {"RecursionError"},  # json, where it is nested too deeply
    "text_string_to_metric_families": {"IndexError", "KeyError"},  # prometheus_client, for a line that is cut off
}
"""What each raises besides ValueError."""

OURS: Final = {
    "controller/clients/aws_models.py": "files of boto3's own package",
    "controller/cli/version.py": "a file that the installer wrote",
    "controller/notifiers/redact.py": "a document that the controller has just made",
    "controller/routing/ingress/action.py": "`states_stickiness` is asked only of an action that was read before",
    "controller/signals/slim.py": "what it packed itself",
}
"""Files in which one call needs no handler, and why."""


def _unhandled(tree: ast.AST) -> Iterator[tuple[int, set[str]]]:
    """The line of each call of a parser in no `try` that handles what it raises."""

    def visit(node: ast.AST, handled: set[str]) -> Iterator[tuple[int, set[str]]]:
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if missing := RAISED.get(name, set()) - handled:
                yield node.lineno, missing
        if isinstance(node, ast.Try):
            names = {one.id for handler in node.handlers if handler.type for one in ast.walk(handler.type) if isinstance(one, ast.Name)}
            for inside in node.body:
                yield from visit(inside, handled | names)
            rest: list[ast.AST] = [*node.handlers, *node.orelse, *node.finalbody]
        else:
            inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            rest, handled = list(ast.iter_child_nodes(node)), set() if inner else handled
        for child in rest:
            yield from visit(child, handled)

    return visit(tree, set())


@pytest.mark.parametrize("folder", ["controller", "setup", "model_server/src"])
def test_all_that_a_parser_raises_is_handled_where_it_is_called(folder: str) -> None:
    """One that was not let a scrape that was cut off end the watch of an engine."""
    found = {
        f"{path.relative_to(ROOT)}:{line}": missing
        for path in sorted((ROOT / folder).rglob("*.py"))
        if any(name in (text := path.read_text()) for name in RAISED)
        for line, missing in _unhandled(ast.parse(text))
    }
    files = [place.rpartition(":")[0] for place in found]
    assert {place: missing for place, missing in found.items() if place.rpartition(":")[0] not in OURS} == {}
    assert sorted(files) == sorted(one for one in OURS if one.startswith(folder)), "one call in each of these files, and no more"


def test_a_handler_elsewhere_does_not_count() -> None:
    """Neither around a function that is called later, nor for another error, nor in the handler itself."""
    source = """
try:
    json.loads(a)
    def later(): json.loads(b)
except RecursionError:
    json.loads(c)
try:
    json.loads(d)
except ValueError:
    pass
"""
    assert [line for line, _ in _unhandled(ast.parse(source))] == [4, 6, 8]
