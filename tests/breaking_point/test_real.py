"""The whole measurement with the real load tool, on servers of known capacity over real HTTP, and as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.main import main
from controller.clock import SystemClock
from controller.errors import ConfigError, Unavailable
from failover_harness.model_servers.measuring import Quiet, measure
from failover_harness.model_servers.queue_server import Spec, serving, true_knee
from failover_setup.application import load_definitions
from failover_setup.breaking_point.model import Bounds, Ending, Limit, Limits, Sample
from failover_setup.breaking_point.run import Settings
from failover_setup.breaking_point.target import make_target
from failover_setup.breaking_point.vegeta import Vegeta, find_program

SEED = Path("config/sd21.yaml")
SECRET = "Bearer s3cr3t-token-value"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sd21.yaml"
    path.write_text(SEED.read_text())
    return path


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        pytest.param(Spec(4, 0.020, 0.2, seed=11), None, id="requests wait"),
        pytest.param(Spec(2, 0.016, 0.2, line=8, seed=12), Limit.ERRORS, id="requests are turned away"),
    ],
)
def test_the_knee_of_a_real_server_is_found(spec: Spec, limit: Limit | None, vegeta: Path) -> None:
    """Over HTTP, as in a user's run except for the server. Other work on this machine can only lower what the server reaches."""
    watcher = Quiet()
    with serving(spec) as url:
        tool = Vegeta(vegeta, make_target(url, "", [], None), timeout_s=5.0)
        settings = Settings(Limits(latency_s=0.9), Bounds(), step_s=3.0, start=0.6 * spec.capacity)
        outcome = measure(tool, SystemClock(), settings, watcher)
    if outcome.ending is Ending.GENERATOR:
        pytest.skip("the load tool could not keep the rate: other work keeps this machine busy")
    assert outcome.ending is Ending.FOUND, watcher.steps
    assert outcome.found is not None
    assert 0 < outcome.found.throughput <= 1.05 * true_knee(spec, 0.9, requests=50_000), watcher.steps
    assert limit is None or limit in outcome.limited_by


@pytest.mark.timeout(240)
def test_a_person_s_run_writes_the_file_and_prints_the_tables(vegeta: Path, file: Path, tmp_path: Path) -> None:
    """Throughput per metric period, latency and cost; the plot; every step as JSON; no secret anywhere."""
    spec = Spec(2, 0.016, 0.1, seed=13)
    output, plot = tmp_path / "steps.json", tmp_path / "plot.svg"
    with serving(spec) as url:
        arguments = ["breaking-point", str(file), "sd21-inf2", "--url", f"{url}?key=abcdefgh", "-H", f"Authorization: {SECRET}"]
        arguments += ["--step", "2s", "--start-rate", "80", "--yes", "--steps", str(output), "--plot", str(plot), "--replicas", "2"]
        result = CliRunner().invoke(main, [*arguments, "--load-tool", str(vegeta)])
    assert result.exit_code == 0, result.output
    unit = load_definitions(file)["default/sd21"].model.spec.units[0]
    assert 0 < unit.throughput <= 1.05 * spec.capacity / 2 * 60  # other work on this machine can only lower it
    assert "  # measured " in file.read_text()
    assert unit.latency_s < 0.9
    for text in ("Table 1 - cost of inference", "Table 2 - throughput per replica", "Breaking point: 1", "✔ held, confirmed", "unknown"):
        assert text in result.output
    assert "<svg" in plot.read_text()
    document = json.loads(output.read_text())
    assert document["ending"] == "found"
    assert document["found"]["throughput"] * 60 / 2 == pytest.approx(unit.throughput, rel=0.001)
    for made in (result.output, output.read_text(), plot.read_text(), file.read_text()):
        assert "s3cr3t" not in made
        assert "abcdefgh" not in made


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_measured_and_leaves_the_file_as_it_was(
    how: signal.Signals, vegeta: Path, file: Path, tmp_path: Path
) -> None:
    """The steps are printed and kept as JSON; the load tool ends with the command."""
    output = tmp_path / "steps.json"
    with serving(Spec(2, 0.016)) as url:
        command = [sys.executable, "-m", "controller.cli.main", "breaking-point", str(file), "sd21-inf2", "--url", url, "--yes"]
        command += ["--no-plot", "--step", "2s", "--steps", str(output), "--load-tool", str(vegeta), "--start-rate", "50"]
        # A shell that runs tests in the background has them ignore Ctrl-C, and children inherit that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        signal.signal(signal.SIGINT, before)
        assert process.stdout is not None
        printed = ""
        while "   1 " not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        time.sleep(0.5)  # in the second step
        process.send_signal(how)
        printed += process.communicate(timeout=60)[0]
    assert process.returncode == 130, printed
    assert "Interrupted. 50 requests/s were held." in printed
    assert file.read_text() == SEED.read_text()
    assert json.loads(output.read_text())["ending"] == "interrupted"
    assert not _children_of(vegeta)


def _children_of(program: Path) -> list[str]:
    """Running processes of the load tool that send to a server of this test, by their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rsplit(")", 1)[1].split()
            command = (path.parent / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        if command.startswith(str(program)) and int(words[1]) == os.getpid():
            found.append(command)
    return found


def test_kinds_of_failures_are_distinguished(vegeta: Path) -> None:
    """An answer, a refused connection, a time-out."""
    with serving(Spec(1, 0.05)) as url:
        assert {one.failure for one in Vegeta(vegeta, make_target(url, "", [], None), 2.0).closed_loop(0.5)} == {""}
        assert {one.failure for one in Vegeta(vegeta, make_target(f"{url}none", "", [], None), 2.0).closed_loop(0.5)} == {"404"}
        assert {one.failure for one in Vegeta(vegeta, make_target(url, "", [], None), 0.02).closed_loop(0.5)} == {"time-out"}
    assert {one.failure for one in Vegeta(vegeta, make_target(url, "", [], None), 2.0).closed_loop(0.5)} == {"refused"}


def test_an_open_loop_does_not_wait_for_answers_and_stops_on_request(vegeta: Path) -> None:
    """Five per second are answered, fifty are sent. After a stop it waits for the requests in flight."""
    seen: list[Sample] = []

    def stop(sample: Sample) -> bool:
        seen.append(sample)
        return len(seen) == 2

    with serving(Spec(1, 0.2)) as url:
        samples = Vegeta(vegeta, make_target(url, "", [], None), 20.0).open_loop(50.0, 30.0, 1000, stop)
    assert 15 <= len(samples) < 200
    assert max(one.latency_s for one in samples) > 1.0


def test_a_missing_load_tool_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On the PATH, and by the option."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"go install github\.com/tsenart/vegeta"):
        find_program(None)
    with pytest.raises(ConfigError, match="no-such-tool: not a program"):
        find_program(Path("/no-such-tool"))


def test_a_load_tool_without_sockets_is_not_taken_for_errors_of_the_server(vegeta: Path, tmp_path: Path) -> None:
    """A limit of files on the machine that sends."""
    limited = tmp_path / "vegeta"
    limited.write_text(f'#!/bin/sh\nulimit -n 24\nexec {vegeta} "$@"\n')
    limited.chmod(0o755)
    with serving(Spec(1, 0.5)) as url, pytest.raises(Unavailable, match="ran out of files or ports"):
        Vegeta(limited, make_target(url, "", [], None), 5.0).open_loop(100.0, 2.0, 1000, lambda _: False)


@pytest.mark.parametrize("script", ["exit 3", "cat >/dev/null; echo nonsense"], ids=["fails", "prints something else"])
def test_a_load_tool_that_is_not_one_is_an_error(script: str, tmp_path: Path) -> None:
    """In words, and without hanging."""
    program = tmp_path / "vegeta"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(Unavailable, match="the load tool"):
        Vegeta(program, make_target("http://127.0.0.1:1/", "", [], None), 1.0).closed_loop(0.5)
