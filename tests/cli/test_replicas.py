"""What `status` says of the controller's replicas, on the emulated API."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.cli.replicas import Lapsed, Replicas, read_replicas
from controller.clients.kube import connect
from controller.clock import SystemClock, format_rfc3339
from failover_testbed.kube_api import EmulatedKubeApi, Identity

NOW = 1_790_000_000.0
LABELS = {"app.kubernetes.io/name": "failoverctl"}


def test_without_a_lease_it_says_what_that_means(tmp_path: Path) -> None:
    """And not the path of the request that found none."""
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        found = read_replicas(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system", NOW)
    assert (
        found.problem
        == "there is no Lease failover-system/failoverctl: leader election is off, or no controller has run there, except as a dry run"
    )


@pytest.mark.parametrize("holder", ["", "failoverctl-gone_1"], ids=["a released Lease", "that of a process that died"])
def test_a_dry_run_is_no_standby(holder: str, tmp_path: Path) -> None:
    """It holds no Lease and would never take over; one that a live controller left names nobody who runs."""
    pod = {
        "metadata": {"name": "failoverctl-abc", "namespace": "failover-system", "labels": LABELS},
        "spec": {"containers": [{"name": "failoverctl", "args": ["run", "--dry-run"]}]},
    }
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        api.store.create("Pod", pod)
        api.store.create("Lease", {"metadata": {"name": "failoverctl", "namespace": "failover-system"}, "spec": {"holderIdentity": holder}})
        found = read_replicas(connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system", NOW)
    assert found == Replicas(dry=("failoverctl-abc",))


@pytest.mark.parametrize(
    ("age_s", "found"),
    [
        pytest.param(5.0, Replicas("pod-a", ("pod-b",)), id="renewed"),
        pytest.param(74.0, Replicas("pod-a", ("pod-b",)), id="clocks may differ"),
        pytest.param(76.0, Replicas("", ("pod-b",), lapsed=Lapsed("pod-a", NOW - 76)), id="not renewed"),
    ],
)
def test_who_renews_the_lease_no_more_does_not_lead(age_s: float, found: Replicas, tmp_path: Path) -> None:
    """The Lease names its last holder for ever where nobody takes it over."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pod = {"metadata": {"name": "pod-b", "namespace": "failover-system", "labels": LABELS}}
    spec = {"holderIdentity": "pod-a_1", "leaseDurationSeconds": 15, "renewTime": format_rfc3339(NOW - age_s, fraction=True)}
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        api.store.create("Pod", pod)
        api.store.update_status("Pod", "pod-b", ready, namespace="failover-system")
        api.store.create("Lease", {"metadata": {"name": "failoverctl", "namespace": "failover-system"}, "spec": spec})
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig")))
        assert read_replicas(session, "failover-system", NOW) == found
