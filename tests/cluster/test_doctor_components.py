"""`failoverctl doctor` on an empty, a partly installed and a complete cluster, on a separate real control plane.

The Deployments and DaemonSets are those that the charts make from the values in deploy/cluster. The real controllers create their pods, the
scheduler places them, and the fake kubelet starts them.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from failover_harness.control_plane import crds
from failover_harness.control_plane.binaries import Unavailable
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.control_plane.kubelet import Kubelet
from failover_harness.waiting import wait_for
from failover_testbed.cluster import components
from tests.cluster import objects
from tests.cluster.manifests import KUSTOMIZE, kubectl
from tests.cluster.processes import PROGRAM
from tests.support.applications import seed_units
from tests.support.cluster import NAMESPACE, write_application

Object = dict[str, Any]
_BIG: Final = {"cpu": "64", "memory": "256Gi", "pods": "100"}
_TAINTED: Final = {"key": "accelerator", "value": "yes", "effect": "NoSchedule"}


class Site:
    """A control plane, and the identities that run doctor."""

    def __init__(self, plane: ControlPlane, kubelet: Kubelet, folder: Path) -> None:
        self.plane, self.kubelet, self.folder = plane, kubelet, folder
        self.session = plane.patient_session()
        self.tokens: dict[str, str] = {}

    def create(self, *made: Object) -> None:
        kubectl(self.plane, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(made)}))

    def account(self, name: str) -> None:
        """Creates a ServiceAccount to run doctor with."""
        kubectl(self.plane, "create", "serviceaccount", name, "-n", "default")
        self.tokens[name] = self.plane.service_account_token("default", name)

    def doctor(self, *words: str, account: str = "reader") -> tuple[int, dict[str, Object]]:
        """Exit code, and the first document's worst finding for each check."""
        config = self.plane.kubeconfig(self.folder / f"{account}.kubeconfig", token=self.tokens[account])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAILOVERCTL_")}
        variables = {**inherited, "KUBECONFIG": str(config), "FAILOVERCTL_APPLICATIONS": str(self.folder / "sd21.yaml")}
        command = [PROGRAM, "doctor", "--output", "json", *words]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode in {0, 2}, done.stderr
        order = ("ok", "unknown", "warning", "problem")
        findings = sorted(json.loads(done.stdout.splitlines()[0])["checks"], key=lambda one: order.index(one["level"]))
        return done.returncode, {one["check"]: one for one in findings}

    def levels(self, *words: str, account: str = "reader") -> dict[str, str]:
        """The worst level of each check."""
        return {check: one["level"] for check, one in self.doctor(*words, account=account)[1].items()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty cluster with three identities: one with doctor's role, one with `view`, one without a role."""
    try:
        made = ControlPlane()
    except Unavailable as error:
        pytest.skip(f"no control plane: {error}")
    with made as plane:
        session = plane.patient_session()
        with Kubelet(session) as kubelet:
            site = Site(plane, kubelet, tmp_path)
            for name in ("reader", "viewer", "nobody"):
                site.account(name)
            kubectl(plane, "apply", "-k", str(KUSTOMIZE / "doctor"))
            for name, role in (("reader", "failoverctl-doctor"), ("viewer", "view"), ("reader", "view")):
                kubectl(
                    plane, "create", "clusterrolebinding", f"{name}-{role}", f"--clusterrole={role}", f"--serviceaccount=default:{name}"
                )
            yield site
            site.session.close()
        session.close()


def workload(name: str) -> Object:
    """One of the components."""
    return copy.deepcopy(next(one for one in components.workloads() if one["metadata"]["name"] == name))


def half(site: Site) -> None:
    """Installs Karpenter with its kinds; an old, unschedulable load-balancer controller with default flags; only KEDA's operator."""
    definitions = crds.upstream() or list(crds.MINIMAL)
    crds.install(site.session, [one for one in definitions if "karpenter" in one["spec"]["group"]])
    site.kubelet.register("system", {}, _BIG)
    old = workload("aws-load-balancer-controller")
    container = old["spec"]["template"]["spec"]["containers"][0]
    container |= {"image": "public.ecr.aws/eks/aws-load-balancer-controller:v2.4.7", "args": ["--cluster-name=c", "--ingress-class=alb"]}
    old["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "yes"}
    site.create(components.namespace("keda"), workload("karpenter"), old, workload("keda-operator"))
    wait_for("Karpenter", lambda: site.levels("--cluster").get("karpenter") == "ok", deadline_s=60)
    wait_for("KEDA's operator", lambda: "metrics server" in site.doctor("--cluster")[1]["keda"]["seen"], deadline_s=60)


def rest(site: Site) -> None:
    """Installs everything else, an application with its NodePools, and a node for each NodePool."""
    crds.install(site.session)
    kubectl(site.plane, "-n", "kube-system", "delete", "deployment", "aws-load-balancer-controller")
    there = {"karpenter", "keda-operator"}
    site.create(components.namespace("amazon-cloudwatch"), components.namespace(NAMESPACE, gated=True))
    site.create(*(one for one in components.workloads() if one["metadata"]["name"] not in there))
    units = seed_units()
    site.create(components.trigger_authentication(NAMESPACE))
    for unit in units:
        scaled = objects.scaled_object(unit)
        site.create({**scaled, "metadata": {**scaled["metadata"], "namespace": NAMESPACE}})
    pools = {unit.node_pool: unit.instance_type for unit in units}
    for pool, instance_type in pools.items():
        site.create(objects.node_pool(pool, instance_type))
        join(site, pool, instance_type)
    site.create(*components.cluster_scoped())  # last, because discovery is incomplete while its Service is missing


def join(site: Site, pool: str, instance_type: str, *, devices: str = "1", name: str = "") -> None:
    """Registers a node of a NodePool with Karpenter's labels."""
    neuron = instance_type.startswith(("inf", "trn"))
    resource = "aws.amazon.com/neuron" if neuron else "nvidia.com/gpu"
    labels = {"karpenter.sh/nodepool": pool, "node.kubernetes.io/instance-type": instance_type}
    if not neuron:
        labels["karpenter.k8s.aws/instance-gpu-manufacturer"] = "nvidia"
    site.kubelet.register(name or f"node-{pool}", labels, {**_BIG, resource: devices}, taints=(_TAINTED,))


def test_an_empty_a_half_installed_and_a_complete_cluster(site: Site) -> None:
    """Each run reports exactly what is missing and how to fix it; at the end nothing is."""
    # Empty, and without an application file.
    code, found = site.doctor("--cluster")
    assert code == 2
    assert {check: one["level"] for check, one in found.items()} == {
        "karpenter": "problem",
        "load-balancer-controller": "problem",
        "keda": "warning",
        "nvidia-device-plugin": "warning",
        "neuron-device-plugin": "warning",
        "container-insights": "warning",
    }
    assert all("docs/install.md, section " in one["fix"] for one in found.values())
    # Half.
    half(site)
    code, found = site.doctor("--cluster")
    assert code == 2
    assert {check: one["level"] for check, one in found.items() if one["level"] != "ok"} == {
        "load-balancer-controller": "problem",
        "load-balancer-kinds": "problem",
        "load-balancer-flags": "warning",
        "keda": "warning",
        "keda-kinds": "problem",
        "nvidia-device-plugin": "warning",
        "neuron-device-plugin": "warning",
        "container-insights": "warning",
    }
    assert found["load-balancer-controller"]["seen"].startswith("the AWS Load Balancer Controller is 2.4.7; versions before 2.12.0")
    assert found["karpenter"]["seen"] == "kube-system/karpenter: 2 of 2 pods ready, version 1.14.1"
    # Complete: the DaemonSets' pods are on the nodes that their affinity selects, in spite of the taints.
    rest(site)
    write_application(site.folder)
    wait_for("everything", lambda: set(site.levels("--cluster").values()) == {"ok"}, deadline_s=90)
    code, found = site.doctor("--cluster")
    assert code == 0
    assert len(found) == 17
    units = seed_units()
    gpus = len({unit.node_pool for unit in units if unit.instance_type.startswith("g")})
    assert found["nvidia-device-plugin"]["seen"].startswith(f"kube-system/nvidia-device-plugin: {gpus} of {gpus} pods ready")
    # A node whose plugin has found nothing.
    join(site, "g5", "g5.xlarge", devices="0", name="broken")
    wait_for("the broken node", lambda: site.levels("--cluster")["nvidia-device-plugin"] == "problem")
    assert "offer no nvidia.com/gpu: broken" in site.doctor("--cluster")[1]["nvidia-device-plugin"]["seen"]


def test_what_may_not_be_read_is_said_and_nothing_else_is_claimed(site: Site) -> None:
    """Kubernetes' role `view` reads workloads, but neither nodes nor cluster-scoped objects; without a role only kinds are visible."""
    site.kubelet.register("system", {}, _BIG)
    crds.install(site.session)
    site.create(*(components.namespace(name) for name in ("keda", "amazon-cloudwatch")), *components.workloads())
    wait_for("everything", lambda: site.levels("--cluster")["karpenter"] == "ok", deadline_s=60)
    code, found = site.doctor("--cluster", account="viewer")
    assert {check for check, one in found.items() if one["level"] == "unknown"} >= {
        "nvidia-device-plugin",
        "neuron-device-plugin",
        "keda-kinds",
    }
    assert found["karpenter"]["level"] == "ok"
    assert "nodes may not be listed with these credentials" in found["nvidia-device-plugin"]["seen"]
    code, found = site.doctor("--cluster", account="nobody")
    assert code == 0
    assert {check for check, one in found.items() if one["level"] == "ok"} == {"karpenter-kinds", "load-balancer-kinds"}
    assert {one["level"] for one in found.values()} == {"ok", "unknown"}
    assert all(one["fix"] for one in found.values() if one["level"] == "unknown")
    assert {one.verb for one in site.plane.audit() if one.user.startswith("system:serviceaccount:default:")} <= {"get", "list"}
