"""Each target on a fixed number of inputs, the same every time; `make fuzz` takes new ones for as long as it is given."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS
from tools.fuzzing import fuzz


def test_there_are_enough_targets() -> None:
    """One for every kind of text that enters."""
    assert len(TARGETS) >= 15


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_accepted(name: str) -> None:
    """Else the inputs would not pass the first check."""
    for raw in TARGETS[name].corpus:
        TARGETS[name].run(raw)


@pytest.mark.parametrize("name", TARGETS)
def test_it_raises_only_what_it_may(name: str) -> None:
    """A few hundred inputs that are nearly right."""
    assert fuzz(TARGETS[name], f"1/{name}", executions=200).errors == {}
