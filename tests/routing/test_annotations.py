"""One module names every annotation of the controller."""

from __future__ import annotations

import ast
from pathlib import Path

from controller.catalog.application import API_VERSION
from controller.routing.annotations import OURS

ROOT = Path(__file__).parents[2]


def test_no_other_module_writes_a_key_of_ours() -> None:
    """A key that two modules name could be changed in one of them only."""
    owner = ROOT / "controller/routing/annotations.py"
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for folder in ("controller", "setup")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != owner
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(OURS) and node.value != API_VERSION
    ]
    assert found == []
