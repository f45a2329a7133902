"""One application whose nodes the real Karpenter launches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from controller.clients.kube import MERGE_PATCH
from controller.errors import NotFound
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers.fleets import Capacity
from failover_harness.controllers.machines import Machines
from failover_harness.controllers.programs import Program
from failover_testbed.aws.server import EmulatedAws
from tests.cluster import objects
from tests.cluster.stack import Stack

NODE_CLASSES: Final = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"


class World(Stack):
    """An application with one ready replica of every unit, each on a node that Karpenter launched for it.

    Args:
        plane: The control plane.
        namespace: The stack's namespace.
        folder: Folder of its files.
        karpenter: The running Karpenter.
        capacity: Capacity of EC2.
        zones: The zones of the NodePools.
    """

    def __init__(
        self, plane: ControlPlane, namespace: str, folder: Path, *, karpenter: Program, capacity: Capacity, zones: Iterable[str]
    ) -> None:
        super().__init__(plane, namespace, folder)
        self.capacity, self.zones = capacity, tuple(sorted(zones))
        self.karpenter = karpenter
        self._machines_session = plane.patient_session()
        self._machines = Machines(self._machines_session)

    def __enter__(self) -> Self:
        self._machines.__enter__()
        return super().__enter__()

    def close(self) -> None:
        """See the base class; also ends the machines."""
        self._machines.__exit__(None, None, None)
        super().close()
        self._machines_session.close()

    def report(self) -> str:
        """See the base class."""
        return f"{super().report()}\n{self.karpenter.report()}"

    def _make_room(self, unit: str) -> None:
        """Karpenter does."""

    def instance_type(self, unit: str) -> str:
        """The instance type of a unit."""
        return self.units[unit].instance_type


@contextmanager
def node_class(plane: ControlPlane, aws: EmulatedAws) -> Iterator[None]:
    """The EC2NodeClass of every NodePool here: the emulated account's network, and any machine image.

    Args:
        plane: The control plane.
        aws: The account.
    """
    images = aws.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
    name = objects.NODE_CLASS["name"]
    body = {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
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
    session.request("POST", NODE_CLASSES, body=json.dumps(body))
    try:
        yield
    finally:
        # Karpenter has ended, so nothing else removes the finalizer.
        session.request("DELETE", f"{NODE_CLASSES}/{name}")
        free = json.dumps({"metadata": {"finalizers": None}})
        with suppress(NotFound):
            session.request("PATCH", f"{NODE_CLASSES}/{name}", body=free, content_type=MERGE_PATCH)
        session.close()
