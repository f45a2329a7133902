"""What `status` says of the controller's replicas, on the emulated API."""

from __future__ import annotations

from pathlib import Path

from controller.cli.replicas import read_replicas
from controller.clients.kube import connect
from controller.clock import SystemClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity


def test_without_a_lease_it_says_what_that_means(tmp_path: Path) -> None:
    """And not the path of the request that found none."""
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        found = read_replicas(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system")
    assert found.problem == "there is no Lease failover-system/failoverctl: leader election is off, or no controller has run there"
