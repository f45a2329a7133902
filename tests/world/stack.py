"""One application whose nodes the real Karpenter launches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers.fleets import Capacity
from failover_harness.controllers.machines import Machines
from failover_harness.controllers.programs import Program
from tests.cluster.stack import Stack


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
