"""Runs the real Karpenter against a control plane and an emulated AWS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from controller.clients.kube import MERGE_PATCH, NODE_CLASSES
from controller.errors import NotFound
from failover_harness.control_plane.control_plane import ControlPlane, free_ports
from failover_harness.controllers.programs import Program, started
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws

CLUSTER: Final = "world"
NODE_CLASS: Final[Mapping[str, str]] = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
"""How a NodePool names the node class that `node_class` makes."""
_READY_S: Final = 90.0


@contextmanager
def running(program: Path, plane: ControlPlane, aws: dict[str, str], folder: Path) -> Iterator[Program]:
    """Starts Karpenter, waits until it is ready, and stops it on exit.

    Args:
        program: Its binary.
        plane: The control plane.
        aws: Environment variables that make an SDK use the emulated account.
        folder: Folder of its log.
    """
    metrics, health = free_ports(2)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **aws,
        "KUBECONFIG": str(plane.kubeconfig()),
        "CLUSTER_NAME": CLUSTER,
        "CLUSTER_ENDPOINT": plane.url,
        "SYSTEM_NAMESPACE": "kube-system",
        "DISABLE_LEADER_ELECTION": "true",
        "ISOLATED_VPC": "true",  # no price list: its service is not emulated
        "DISABLE_DRY_RUN": "true",  # moto lacks the dry run of fleets
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
    }
    with started(program, (), environment, folder / "karpenter.log") as made:
        wait_for("karpenter is ready", lambda: made.ready(health), _READY_S, made.report)
        yield made


@contextmanager
def node_class(plane: ControlPlane, aws: EmulatedAws) -> Iterator[None]:
    """The EC2NodeClass of a cluster without rendered ones: the emulated account's network, and any machine image.

    Args:
        plane: The control plane.
        aws: The account.
    """
    images = aws.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    name = NODE_CLASS["name"]
    body = {
        "apiVersion": NODE_CLASSES.api_version,
        "kind": NODE_CLASSES.kind,
        "metadata": {"name": name},
        "spec": {
            "amiFamily": "Custom",
            "amiSelectorTerms": [{"id": images[0]["ImageId"]}],
            "subnetSelectorTerms": [{"id": one} for one in aws.network.subnets.values()],
            "securityGroupSelectorTerms": [{"id": aws.network.security_group}],
            "instanceProfile": "nodes",
        },
    }
    session = plane.session()
    session.request("POST", NODE_CLASSES.path(None), body=json.dumps(body))
    try:
        yield
    finally:
        # Karpenter has ended, so nothing else removes the finalizer.
        session.request("DELETE", NODE_CLASSES.path(None, name))
        free = json.dumps({"metadata": {"finalizers": None}})
        with suppress(NotFound):
            session.request("PATCH", NODE_CLASSES.path(None, name), body=free, content_type=MERGE_PATCH)
        session.close()
