"""Every annotation of the controller has one home."""

from __future__ import annotations

import ast
from pathlib import Path

from controller.catalog.application import API_VERSION
from controller.policy import annotations

ROOT = Path(__file__).parents[2]


def test_no_other_module_writes_a_key_of_ours() -> None:
    """A key that is written twice can be changed once."""
    owner = Path(annotations.__file__).resolve()
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in sorted((ROOT / "controller").rglob("*.py"))
        if path.resolve() != owner
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and str(node.value).startswith(annotations.OURS) and node.value != API_VERSION
    ]
    assert found == []
