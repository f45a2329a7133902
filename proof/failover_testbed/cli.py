"""`failoverctl demo`: plays a shortage without a cloud."""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

import click

from controller.cli.common import fail_cleanly, show
from controller.errors import FailoverError
from controller.policy import text
from controller.policy.model import Strategy
from controller.service.logs import configure_logging
from controller.settings import LogFormat, LogLevel, LogSettings
from failover_testbed.demo.narrator import LEGEND
from failover_testbed.demo.play import play, serve
from failover_testbed.demo.scenario import Scenario, builtin, builtin_names, load_scenario
from failover_testbed.demo.strategies import with_strategy


@click.command("demo")
@click.option("--scenario", "wanted", default="seed", show_default=True, help="Name or file of a scenario; --list shows the names.")
@click.option(
    "--strategy",
    type=click.Choice([one.value for one in Strategy]),
    help="Play it with another strategy, planned with its floors live. The scenario's mode changes are then not expected.",
)
@click.option("--list", "names_only", is_flag=True, help="List the scenarios that come with the package.")
@click.option("--serve", "serve_only", is_flag=True, help="Run only the emulated servers, in real time, and print their addresses.")
@click.option("--logs", is_flag=True, help="Also show the controller's log.")
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), help="Folder to record decisions in, for `failoverctl replay`.")
def demo_command(wanted: str, *, strategy: str | None, names_only: bool, serve_only: bool, logs: bool, record: Path | None) -> None:
    """Play a shortage on emulated servers, with the production controller.

    Shows mode, weights, evidence, patches and messages as they happen, in the scenario's own time (about a minute in all). Exits with 0
    only if every expectation of the scenario was met, for the right reasons.
    """
    configure_logging(LogSettings(level=LogLevel.INFO if logs else LogLevel.ERROR, format=LogFormat.CONSOLE))
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        if names_only:
            for name in builtin_names():
                click.echo(f"{name:<12} {load_scenario(builtin(name)).file.description}")
            return
        path = Path(wanted)
        scenario = load_scenario(path if path.suffix in {".yaml", ".yml"} else builtin(wanted))
        with tempfile.TemporaryDirectory(prefix="failoverctl-demo-") as folder:
            if strategy is not None:
                scenario = with_strategy(scenario, Strategy(strategy), Path(folder))
            if serve_only:
                serve(scenario, lambda style, line: show([(style, line)]), stop)
                return
            good = _play(scenario, stop, record)
        sys.exit(0 if good else 1)
    except FailoverError as error:
        raise fail_cleanly(error) from error


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
    words = "Every expectation was met." if good else "An expectation was not met."
    show([("good" if good else "bad", words)])
    return good
