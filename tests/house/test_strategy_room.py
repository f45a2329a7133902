"""Strategy `planned` can be taken out: its room is one folder, and a handful of modules know of it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.house.parsed import imports
from tests.house.test_import_cycles import sources

ROOM = "controller.policy.fleet"
KNOWS = re.compile(rf"{re.escape(ROOM)}\b|\bStrategy\.PLANNED\b")
MOST = 7
"""The values of a decision and a memory, the registration, the check of the application file, the account, and what is stored."""


def test_a_handful_of_modules_know_the_strategy() -> None:
    """It was known in 21 modules outside its own, so that nobody could take it out or try another strategy."""
    texts = {name: text for name, text in sources().items() if name.startswith("controller.") and not f"{name}.".startswith(f"{ROOM}.")}
    assert len([name for name, text in texts.items() if KNOWS.search(text)]) <= MOST


def test_only_the_registration_knows_its_functions() -> None:
    """What is stored needs the number of slots of a day."""
    knowing = {
        name
        for name, text in sources().items()
        if name.startswith("controller.") and not f"{name}.".startswith(f"{ROOM}.")
        for node in imports(text)
        if f"{getattr(node, 'module', None) or ''}.".startswith(f"{ROOM}.")
    }
    assert knowing == {"controller.policy.strategies", "controller.recording.stored"}


def test_the_room_is_where_this_test_expects_it() -> None:
    """A test of a folder that was renamed would find nothing."""
    assert (Path(__file__).parents[2] / ROOM.replace(".", "/") / "__init__.py").exists()
