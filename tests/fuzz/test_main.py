"""The command that runs the targets: several at a time, and it fails where one raised what it may not."""

from __future__ import annotations

import pytest

from tools.fuzzing import Target, main

TARGETS = {
    "takes all": Target(len, [b"one"]),
    "refuses": Target(int, [b"1"], (ValueError,)),
    "breaks": Target(lambda raw: {b"": 0}[raw], [b"one"]),
}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_target_runs_and_an_error_fails_the_run(processes: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the table, each error with its input."""
    assert main(TARGETS, ["--seconds", "0.1", "--processes", processes, "--seed", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines if "executions" in line] == list(TARGETS)
    assert [line.endswith(" 0 errors") for line in lines if "executions" in line] == [True, True, False]
    assert any("KeyError at test_main.py" in line for line in lines)
    assert any(line.startswith("  input: b") for line in lines)


def test_one_target_alone_without_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """The run is good, and nothing else ran."""
    assert main(TARGETS, ["--seconds", "0.1", "refuses"]) == 0
    assert "takes all" not in capsys.readouterr().out
