"""The running service records what it does, and a replay of that finds no difference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from controller.cli.main import main
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import Cluster, application_document, make_service, running

POLICY: dict[str, Any] = {"holdMinSeconds": 30, "holdMaxSeconds": 30, "quietSeconds": 60, "dwellCapacitySeconds": 30}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application; a second of the machine is twenty of the cluster."""
    made = Cluster(AcceleratedClock(20))
    yield made
    made.close()


def _replay(*words: str) -> Result:
    return CliRunner().invoke(main, ["replay", *words], catch_exceptions=False)


def test_a_failover_and_a_fallback_are_recorded_and_decided_the_same_again(cluster: Cluster, tmp_path: Path) -> None:
    """Each by itself, and each as the one before it left it; with another policy the divergence is shown."""
    folder = tmp_path / "recorded"
    recording = {"folder": str(folder)}
    with running(make_service(cluster, tmp_path, policy=POLICY, recording=recording)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        cluster.launch("inf2", "inf2.xlarge")
        cluster.schedule_all("sd21-inf2")
        wait_for("cost mode", lambda: cluster.mode() == "cost")
        wait_for("a decision after it", lambda: service.controller.views()[0].decision.reason == "DemandMet")
    for words in ((), ("--what-if",)):
        result = _replay(str(folder), *words)
        assert result.exit_code == 0, result.output
        assert "no difference" in result.output
    result = _replay(str(folder), "--what-if")
    assert "capacity ShortageProven" in result.output
    assert "cost ReturnProven" in result.output

    patient = tmp_path / "patient.yaml"
    patient.write_text(yaml.safe_dump(application_document(**POLICY) | {}).replace("patienceSeconds: 0", "patienceSeconds: 3600"))
    result = _replay(str(folder), "--policy", str(patient))
    assert result.exit_code == 2, result.output
    assert "holds back failover)  Patience" in result.output
    assert "mode changes     2                            0" in result.output


def test_a_folder_that_cannot_be_written_stops_no_mode_change(cluster: Cluster, tmp_path: Path) -> None:
    """The recording is degraded, and says so in the status; the failover is made."""
    folder = tmp_path / "file"
    folder.write_text("no folder")
    with running(make_service(cluster, tmp_path, policy=POLICY, recording={"folder": str(folder)})) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        wait_for("the degradation", lambda: "recording stale: File exists" in service.controller.views()[0].decision.degraded)
    assert folder.read_text() == "no folder"
