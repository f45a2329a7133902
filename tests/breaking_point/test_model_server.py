"""The breaking point of our own model server, on the CPU: its capacity is not known beforehand, but the properties of the result are."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clock import SystemClock
from failover_harness.model_servers.measuring import Quiet, measure
from failover_harness.model_servers.own_model_server import BODY, python, serving_bert
from failover_setup.breaking_point.model import Bounds, Ending, Limit, Limits
from failover_setup.breaking_point.run import Settings
from failover_setup.breaking_point.target import make_target
from failover_setup.breaking_point.vegeta import Vegeta


def test_the_breaking_point_of_our_own_model_server_is_found(vegeta: Path, tmp_path: Path) -> None:
    """It answers until its queue is full, then 429: something ends the climb, and it recovers after every step."""
    interpreter = python()
    if interpreter is None:
        pytest.skip("the model server's environment is missing: make test-pipelines makes it")
    body = tmp_path / "prompt.json"
    body.write_text(BODY)
    watcher = Quiet()
    with serving_bert(interpreter) as url:
        target = make_target(url, "", ["Content-Type: application/json"], body)
        settings = Settings(Limits(latency_s=0.9), Bounds(), step_s=4.0, tolerance=0.1)
        outcome = measure(Vegeta(vegeta, target, timeout_s=10.0), SystemClock(), settings, watcher)
    if outcome.ending is Ending.GENERATOR:
        pytest.skip("the load tool could not keep the rate: other work keeps this machine busy")
    assert outcome.ending is Ending.FOUND, (outcome.ending, watcher.steps)
    assert outcome.found is not None
    assert outcome.found.p95_s <= 0.9
    assert outcome.found.error_ratio <= 0.01
    assert outcome.limited_by
    assert Limit.ACCELERATOR not in outcome.limited_by
    assert watcher.base_s is not None
    assert outcome.found.throughput > 0.5 / watcher.base_s, "less than single requests one after the other"
    assert watcher.recovered == sum(not step.held for step in watcher.steps)
