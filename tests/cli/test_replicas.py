"""What `status` says of the controller's replicas, on the emulated API."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli.replicas import Replicas, read_replicas
from controller.clients.kube import connect
from controller.clock import SystemClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity


def test_without_a_lease_it_says_what_that_means(tmp_path: Path) -> None:
    """And not the path of the request that found none."""
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        found = read_replicas(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system")
    assert (
        found.problem
        == "there is no Lease failover-system/failoverctl: leader election is off, or no controller has run there, except as a dry run"
    )


@pytest.mark.parametrize("holder", ["", "failoverctl-gone_1"], ids=["a released Lease", "that of a process that died"])
def test_a_dry_run_is_no_standby(holder: str, tmp_path: Path) -> None:
    """It holds no Lease and would never take over; one that a live controller left names nobody who runs."""
    labels = {"app.kubernetes.io/name": "failoverctl"}
    pod = {
        "metadata": {"name": "failoverctl-abc", "namespace": "failover-system", "labels": labels},
        "spec": {"containers": [{"name": "failoverctl", "args": ["run", "--dry-run"]}]},
    }
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        api.store.create("Pod", pod)
        api.store.create("Lease", {"metadata": {"name": "failoverctl", "namespace": "failover-system"}, "spec": {"holderIdentity": holder}})
        found = read_replicas(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system")
    assert found == Replicas(dry=("failoverctl-abc",))
