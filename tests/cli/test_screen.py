"""What is redrawn in place keeps within the terminal."""

from __future__ import annotations

import re

import pytest

from controller.cli.screen import Screen


def test_nothing_is_drawn_beyond_the_edges(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line that wraps moves all below it, and the next drawing leaves rests of this one."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "5")
    Screen().draw([("good", f"{number} {'x' * 70}") for number in range(9)])
    lines = [re.sub(r"\033\[[?0-9]*[A-Za-z]", "", line) for line in capsys.readouterr().out.splitlines()]
    assert [len(line) for line in lines[:3]] == [40, 40, 40]
    assert lines[3] == "… 6 more line(s)"
    assert max(map(len, lines)) <= 40
