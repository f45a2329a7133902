"""Progress and Ctrl-C of long commands: on a terminal and without one."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from failover_analysis.cli.progress import STOPPED, Progress
from failover_testbed.clocks import ManualClock

FAILOVERCTL = [sys.executable, "-m", "controller.cli.main"]
_PATIENCE_S = 50.0


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_comes_now_and_then() -> None:
    """With the time that is left at the present pace."""
    clock, stream = ManualClock(0.0), io.StringIO()
    progress = Progress("simulate", clock, stream)
    for second in range(1, 91):
        clock.advance(1)
        progress.update(second / 300, f"{second} of 300 runs")
    assert stream.getvalue().splitlines() == [
        "simulate: 10% (30 of 300 runs), about 4 min 30 s left",
        "simulate: 20% (60 of 300 runs), about 4 min left",
        "simulate: 30% (90 of 300 runs), about 3 min 30 s left",
    ]


def test_on_a_terminal_a_bar_appears_once_it_takes_more_than_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command prints is above it, and it is gone in the end."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    clock, stream = ManualClock(0.0), Terminal()
    with Progress("replay", clock, stream) as progress:
        clock.advance(1.9)
        progress.update(0.1)
        assert stream.getvalue() == ""
        clock.advance(2.1)
        progress.update(0.2)
        line = "replay [#####....................] 20%, about 16 s left"
        assert stream.getvalue() == f"\r\x1b[2K{line}"
        with progress.above():
            stream.write("a result\n")
        assert stream.getvalue().endswith(f"\r\x1b[2Ka result\n\r\x1b[2K{line}")
    assert stream.getvalue().endswith("\r\x1b[2K")


def test_without_a_share_no_end_is_promised() -> None:
    clock, stream = ManualClock(0.0), io.StringIO()
    progress = Progress("simulate", clock, stream)
    clock.advance(60)
    progress.update(0.001)
    assert stream.getvalue() == "simulate: 0%\n"


def stopped(arguments: list[str | Path], *, after: bytes) -> tuple[int, str]:
    """Runs a command on a terminal of its own, and presses Ctrl-C once it has shown something; the exit code and what it showed."""
    screen, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*FAILOVERCTL, *map(str, arguments)], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, env=environment
    )
    os.close(terminal)
    shown, pressed, end = b"", False, time.monotonic() + _PATIENCE_S
    try:
        while time.monotonic() < end:
            if select.select([screen], [], [], 0.2)[0]:
                try:
                    piece = os.read(screen, 65_536)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                shown += piece
            if not pressed and after in shown:
                os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: to the whole group
                pressed = True
        return process.wait(_PATIENCE_S), shown.decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(screen)


def test_ctrl_c_keeps_the_seeds_that_are_finished_in_a_report_that_says_so(tmp_path: Path) -> None:
    """The report compares only seeds that every policy has played."""
    report = tmp_path / "out.json"
    arguments: list[str | Path] = [
        "simulate",
        "day",
        "--days",
        "0.1",
        "--interval",
        "240",
        "--seeds",
        "200",
        "--jobs",
        "2",
        "--report",
        report,
    ]
    code, shown = stopped(arguments, after=b"day, seed 2")
    assert code == STOPPED, shown
    assert "Traceback" not in shown
    assert "stopping, and keeping what is computed" in shown
    made = json.loads(report.read_text())
    assert made["verdict"].startswith("Partial, stopped by Ctrl-C after ")
    assert " of 200 seeds: " in made["verdict"]
    facts = {fact["name"]: fact["value"] for fact in made["facts"]}
    assert facts["Partial"].startswith("stopped by Ctrl-C after ")


def test_ctrl_c_keeps_the_part_of_a_single_run(tmp_path: Path) -> None:
    """Its timeline ends where it was stopped, and the bar said how long it would have gone on."""
    code, shown = stopped(["simulate", "month", "--out", tmp_path], after=b" left")
    assert code == STOPPED, shown
    assert "simulate [" in shown
    assert "Partial: stopped by Ctrl-C after " in shown
    (kept,) = json.loads((tmp_path / "month.json").read_text())
    assert 0 < kept["seconds"] < 30 * 86_400
    assert (tmp_path / "month-1.csv").exists()


def test_ctrl_c_keeps_what_a_replay_decided(tmp_path: Path) -> None:
    """The sums, and a report, of the decisions until then."""
    recording, report = Path("tests/analysis/replay/seed.jsonl.gz").resolve(), tmp_path / "out.md"
    code, shown = stopped(["replay", *[recording] * 100, "--report", report], after=b" left")
    assert code == STOPPED, shown
    assert "Partial: stopped by Ctrl-C, so that later decisions are missing." in shown
    assert "Partial, stopped by Ctrl-C, so that later decisions are missing: " in report.read_text()
