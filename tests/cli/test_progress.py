"""The progress line: nothing but on a terminal, one line of it, and no trace afterwards."""

from __future__ import annotations

import io

import pytest

from controller.cli.common import colour
from controller.cli.progress import ProgressLine
from failover_testbed.clocks import ManualClock

ERASE = "\r\x1b[2K"


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True

    def drawn(self) -> list[str]:
        """What the line showed, one after the other."""
        return self.getvalue().split(ERASE)[1:]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def steps(line: ProgressLine, clock: ManualClock) -> None:
    """Two steps; the first is half over when something is printed."""
    line.begin("step 1", 10.0)
    clock.advance(5.0)
    line.advance(5.0)
    with line.above():
        pass
    line.begin("letting it recover")
    line.erase()


def test_the_line_shows_what_goes_on_and_is_erased() -> None:
    screen, clock = Screen(), ManualClock(0.0)
    steps(ProgressLine(clock, screen), clock)
    half = "step 1 [############.............] 0:05"
    assert screen.drawn() == ["step 1 [.........................] 0:00", half, "", half, "letting it recover", ""]


def test_a_file_or_a_dumb_terminal_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log, screen = ManualClock(0.0), io.StringIO(), Screen()
    steps(ProgressLine(clock, log), clock)
    monkeypatch.setenv("TERM", "dumb")
    steps(ProgressLine(clock, screen), clock)
    assert log.getvalue() == screen.getvalue() == ""


def test_it_is_redrawn_ten_times_a_second_however_many_requests_report() -> None:
    screen, clock = Screen(), ManualClock(0.0)
    line = ProgressLine(clock, screen)
    line.begin("step 1", 10.0)
    for _ in range(1000):
        clock.advance(0.001)
        line.advance(clock.monotonic())
    assert 9 <= len(screen.drawn()) - 1 <= 10


def test_a_long_description_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that fills its row wraps, and the rest would stay when it is erased."""
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    ProgressLine(ManualClock(0.0), screen).begin("step 12: 1234.5 requests/s to confirm", 10.0)
    assert screen.drawn() == ["step 12: 1234.5 req"]


@pytest.mark.parametrize(("variable", "value"), [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_a_terminal_that_knows_no_colours_gets_none(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """Emacs and CI systems say that theirs is a dumb one."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert colour() is None
    monkeypatch.setenv(variable, value)
    assert colour() is False
