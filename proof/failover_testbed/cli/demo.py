"""`failoverctl demo`: plays a shortage without a cloud."""

from __future__ import annotations

import signal
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Final

import click

from controller.cli.common import show
from controller.policy import text
from controller.policy.model import Strategy
from controller.service.logs import configure_logging
from controller.settings import LogFormat, LogLevel, LogSettings
from failover_testbed.demo.narrator import LEGEND
from failover_testbed.demo.play import play, serve
from failover_testbed.demo.scenario import Scenario, builtin, builtin_names, load_scenario
from failover_testbed.demo.strategies import with_strategy

MET: Final = "Every expectation was met."
"""The last line of a run that went as the scenario expects."""


def play_demo(wanted: str, *, strategy: str | None, names_only: bool, serve_only: bool, logs: bool, record: Path | None) -> int:
    """Plays or serves a scenario; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: The scenario cannot be played.
    """
    configure_logging(LogSettings(level=LogLevel.INFO if logs else LogLevel.ERROR, format=LogFormat.CONSOLE))
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if names_only:
        for name in builtin_names():
            click.echo(f"{name:<12} {load_scenario(builtin(name)).file.description}")
        return 0
    path = Path(wanted)
    scenario = load_scenario(path if path.suffix in {".yaml", ".yml"} else builtin(wanted))
    with tempfile.TemporaryDirectory(prefix="failoverctl-demo-") as folder:
        if strategy is not None:
            scenario = with_strategy(scenario, Strategy(strategy), Path(folder))
        if serve_only:
            serve(scenario, lambda style, line: show([(style, line)]), stop)
            return 0
        good = _play(scenario, stop, record)
    return 0 if good else 1


def _other_strategy(scenario: Scenario) -> list[tuple[str, str]]:
    """A line about a strategy that the description does not have."""
    used = {str(one.policy.strategy) for one in scenario.applications.values()}
    return [] if used == {"two-mode"} else [("plain", f"Played with strategy {text.listing(sorted(used))}: no mode change is expected.")]


def _play(scenario: Scenario, stop: threading.Event, record: Path | None) -> bool:
    about = scenario.file
    lasts, takes = text.duration(about.duration_s), text.duration(about.duration_s / about.factor)
    show(
        [
            ("title", f"Scenario {about.name}"),
            ("plain", about.description),
            *_other_strategy(scenario),
            ("dim", f"{lasts} in about {takes}: the clock runs {about.factor:g} times as fast"),
            *(("dim", line) for line in LEGEND),
            ("plain", ""),
        ]
    )
    checks = play(scenario, lambda style, line: show([(style, line)]), stop, record)
    if stop.is_set():
        show([("warn", "Stopped before the end: no verdict.")])
        return False
    good = all(check.met for check in checks)
    show([("plain", ""), ("title", "Verdict")])
    show([("good" if check.met else "bad", f"  {'✔' if check.met else '✖'} {check.text}") for check in checks])
    words = MET if good else "An expectation was not met."
    show([("good" if good else "bad", words)])
    return good
