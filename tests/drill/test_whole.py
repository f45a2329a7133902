"""A whole drill: the production controller, the emulated cluster and the emulated FIS, in the time of a scenario."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from failover_testbed.demo.drill import Share
from failover_testbed.demo.player import Progress
from tests.cluster.processes import PROGRAM


@pytest.mark.timeout(300)
def test_a_simulated_drill_is_followed_from_the_first_refusal_to_the_return(tmp_path: Path) -> None:
    """FIS makes EC2 refuse, Karpenter reports it, the controller fails over and returns, and the experiment ends as FIS ends it."""
    page = tmp_path / "drill.html"
    command = [PROGRAM, "drill", "--simulate", "--duration", "5m", "-o", "json", "--html", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "passed"
    said = [line.split(":")[0] for line in done.stderr.splitlines()]
    followed = ["experiment EXP1 begins", "EC2 refuses", "capacity mode", "experiment EXP1 has ended", "cost mode"]
    assert said[-len(followed) :] == followed
    assert done.stderr.startswith("Simulated: ")
    assert "passed" in page.read_text()


def test_the_page_fails_as_often_as_the_application_does() -> None:
    start = Progress(0, 0, 0, 0, (), {}, (), served=100, failed=50)
    share = Share(start)
    assert not share.fails(replace(start, served=200))
    half = [replace(start, served=200 + 10 * number, failed=50 + 10 * number) for number in range(1, 11)]
    assert [share.fails(one) for one in half].count(True) == 5
    assert not share.fails(half[-1])
