"""A drill that is cut short as a process: its report, its exit code, and that nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.policy.model import Mode
from failover_harness.waiting import wait_for
from failover_setup.cli.drill import INTERRUPTED
from tests.drill.stage import APP, NEEDED, Stage, staged

_NOTHING = f"Drills of {APP.key} have left nothing.\n"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as made:
        made.publish(Mode.COST, SystemClock().now())
        yield made


def cut(stage: Stage, page: Path, how: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str, str]:
    """Starts a drill, cuts it short while EC2 refuses, and returns its exit code, its report and what it said."""
    running = stage.start(*NEEDED, "--yes", "-o", "json", "--html", str(page))
    wait_for("the drill watches", lambda: stage.aws.fis.zones() != () or running.poll() is not None, 40)
    assert running.stderr is not None
    said = ""
    while "begins" not in said and (line := running.stderr.readline()):
        said += line
    how(running)
    output, rest = running.communicate(timeout=50)
    return running.returncode, output, said + rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_report_and_nothing_else(stage: Stage, tmp_path: Path, number: signal.Signals) -> None:
    code, output, said = cut(stage, tmp_path / "drill.html", lambda running: running.send_signal(number))
    assert code == INTERRUPTED, said
    made = json.loads(output)
    assert (made["verdict"], made["interrupted"]) == ("interrupted", "by a signal")
    assert [one["what"] for one in made["timeline"]] == [
        "the experiment begins",
        "the experiment has ended: ended by the drill",
        "the drill was interrupted: by a signal",
    ]
    assert f"<h1>Drill of {APP.key}: interrupted</h1>" in (tmp_path / "drill.html").read_text()
    assert stage.drill("--check-left").stdout == _NOTHING


def test_a_lost_cluster_is_an_error_with_a_report(stage: Stage, tmp_path: Path) -> None:
    code, output, said = cut(stage, tmp_path / "drill.html", lambda _: stage.api.stop())
    assert code == 1, said
    made = json.loads(output)
    assert made["verdict"] == "interrupted"
    assert made["interrupted"] in said
    assert stage.aws.fis.zones() == ()
    assert stage.aws.client("fis").list_experiment_templates()["experimentTemplates"] == []


def test_after_a_kill_the_next_drill_names_the_command_that_ends_what_is_left(stage: Stage, tmp_path: Path) -> None:
    code, output, said = cut(stage, tmp_path / "drill.html", subprocess.Popen.kill)
    assert (code, output) == (-signal.SIGKILL, ""), said
    again = stage.drill(*NEEDED, "--yes")
    assert again.exit_code == 1
    assert "an earlier drill has left experiment EXP1, template EXT1; end it with failoverctl drill --check-left --yes" in again.stderr
    assert stage.drill("--check-left").exit_code == 2
    ended = stage.drill("--check-left", "--yes")
    assert (ended.exit_code, ended.stdout, stage.aws.fis.zones()) == (0, _NOTHING, ())


def test_a_page_that_cannot_be_written_does_not_cost_the_report(stage: Stage, tmp_path: Path) -> None:
    code, output, said = cut(stage, tmp_path / "missing" / "drill.html", lambda running: running.send_signal(signal.SIGTERM))
    assert code == 1
    assert "missing/drill.html: cannot be written: No such file or directory" in said
    assert json.loads(output)["verdict"] == "interrupted"
