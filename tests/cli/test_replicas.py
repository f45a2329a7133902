"""What `status` says of the controller's replicas, on the emulated API."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from controller.cli.replicas import Lapsed, Replicas, read_replicas, unled
from controller.clients.kube import connect
from controller.clock import SystemClock, format_rfc3339
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity

NOW = 1_790_000_000.0
LABELS = {"app.kubernetes.io/name": "failoverctl"}


def test_without_a_lease_it_says_what_that_means(tmp_path: Path) -> None:
    """And not the path of the request that found none."""
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        found = read_replicas(
            connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system", ManualClock(NOW)
        )
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
        found = read_replicas(
            connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig"))), "failover-system", ManualClock(NOW)
        )
    assert found == Replicas(dry=("failoverctl-abc",))


@pytest.mark.parametrize(
    ("age_s", "found"),
    [
        pytest.param(5.0, Replicas("pod-a", ("pod-b",)), id="renewed"),
        pytest.param(16.0, Replicas("", ("pod-b",), lapsed=Lapsed("pod-a", NOW - 16)), id="not renewed, and watched"),
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
        assert read_replicas(session, "failover-system", ManualClock(NOW)) == found


def test_a_holder_whose_clock_is_behind_leads_as_long_as_it_renews(tmp_path: Path) -> None:
    """Its Lease seems to have run out, and reading it again shows another time."""
    clock = ManualClock(NOW)
    with EmulatedKubeApi(SystemClock(), tokens={"admin": Identity("admin")}) as api:
        spec = {"holderIdentity": "pod-a_1", "leaseDurationSeconds": 15, "renewTime": format_rfc3339(NOW - 40, fraction=True)}
        api.store.create("Lease", {"metadata": {"name": "failoverctl", "namespace": "failover-system"}, "spec": spec})

        class Renewing(ManualClock):
            """A clock during whose waits the holder renews."""

            def wait(self, event: threading.Event, seconds: float) -> bool:
                later = {"spec": {**spec, "renewTime": format_rfc3339(NOW - 40 + seconds, fraction=True)}}
                api.store.patch("Lease", "failoverctl", later, namespace="failover-system")
                return super().wait(event, seconds)

        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig")))
        assert read_replicas(session, "failover-system", Renewing(NOW)).leader == "pod-a"
        assert read_replicas(session, "failover-system", clock).leader == "", "it renews no more"


@pytest.mark.parametrize(
    ("replicas", "says"),
    [
        (Replicas("pod-a"), ""),
        (Replicas(problem="403"), ""),
        (Replicas(dry=("pod-a",)), ""),
        (Replicas("", ("pod-b",)), "no replica of the controller leads, so nobody changes anything"),
        (
            Replicas(lapsed=Lapsed("pod-a", NOW)),
            f"no replica of the controller leads (pod-a renewed the Lease last at {format_rfc3339(NOW)})",
        ),
    ],
)
def test_that_nobody_leads_is_said_in_one_sentence(replicas: Replicas, says: str) -> None:
    """What is not known is not called dead."""
    assert unled(replicas).partition(", so nobody")[0] == says.partition(", so nobody")[0]
