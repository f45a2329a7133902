"""The rooms of the policy are entered through their faces."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.parsed import imports
from tests.house.test_one_pass import sources

POLICY = Path(__file__).parents[2] / "controller" / "policy"
ROOMS = sorted(folder.parent.name for folder in POLICY.glob("*/__init__.py"))
INNER = re.compile(r"controller[./]policy[./](\w+)[./]\w+")
TOOLS = ("tools/",)
"""They generate documents from constants, whichever module has them."""


def inside(path: str) -> str:
    """The room that a file is in; "" outside of any."""
    found = re.fullmatch(r"controller/policy/(\w+)/\w+\.py", path)
    return found.group(1) if found else ""


def entered(path: str, text: str) -> list[str]:
    """The inner modules of other rooms that a file imports."""
    return [
        node.module
        for node in imports(text)
        if isinstance(node, ast.ImportFrom) and node.module and (met := INNER.fullmatch(node.module)) and met.group(1) != inside(path)
    ]


def test_there_are_rooms() -> None:
    """Else the tests below check nothing."""
    assert {"account", "decision", "evidence", "fleet", "floors", "model", "modes", "routing"} <= set(ROOMS)


def test_nobody_enters_a_room_but_through_its_face() -> None:
    """Who needs an inner function gives the room a reason to show it, or asks the room another question."""
    found = {path: inner for path, text in sources().items() if not path.startswith(TOOLS) and (inner := entered(path, text))}
    assert found == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_says_what_it_answers_and_for_whom(room: str) -> None:
    """In its first lines, before anybody reads a module."""
    text = ast.get_docstring(ast.parse((POLICY / room / "__init__.py").read_text()))
    assert text is not None
    assert re.search(r"\b[Ff]or (`?\w|everybody)", text)


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_shows_only_what_others_use(room: str) -> None:
    """A name that nobody outside imports is inner."""
    tree = ast.parse((POLICY / room / "__init__.py").read_text())
    shown = {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    used = {
        alias.name
        for path, text in sources().items()
        if inside(path) != room
        for node in imports(text)
        if isinstance(node, ast.ImportFrom) and node.module == f"controller.policy.{room}"
        for alias in node.names
    }
    for path, text in sources().items():  # of a room that is imported as a whole
        if inside(path) != room and any(
            isinstance(node, ast.ImportFrom) and node.module == "controller.policy" and room in {alias.name for alias in node.names}
            for node in imports(text)
        ):
            used |= set(re.findall(rf"\b{room}\.(\w+)", text))
    assert shown - used == set()
