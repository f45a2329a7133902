"""The true state of the world, regardless of what the controller knows of it: for invariants, records and measures."""

from __future__ import annotations

from typing import Final

from controller.policy.annotations import MARKER
from controller.policy.model import Mode
from failover_analysis.simulation.engine import Engine

SETTLE_S: Final = 900.0
"""How long after a fault no liveness is demanded yet: time for a cold start and for catching up."""


class Truth:
    """Answers questions about one world.

    Args:
        engine: The world and the processes in it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def calm(self) -> bool:
        """Whether nothing has been wrong but capacity for at least `SETTLE_S`."""
        engine = self._engine
        return not engine.active and engine.event_queue.now - engine.last_fault >= SETTLE_S

    def exhausted(self, unit: str) -> bool:
        """Whether EC2 has no capacity for any offering of a unit: no instance type in any zone, of any capacity type."""
        engine = self._engine
        return bool(engine.ec2.shortages) and engine.ec2.exhausted(engine.karpenter.offerings_of(engine.application.unit(unit)))

    def starved(self, unit: str) -> bool:
        """Whether pods of a unit wait for capacity that EC2 does not have."""
        pods = self._engine.workloads.units[unit]
        return pods.ready < pods.desired and any(pod.node is None for pod in pods.pods) and self.exhausted(unit)

    def exposed(self) -> bool:
        """Whether cost mode sends traffic to a starved unit."""
        engine = self._engine
        if not engine.ec2.shortages or self.mode() is Mode.CAPACITY:
            return False
        weights = {target.service: target.weight for target in engine.balancer.live.targets}
        return any(weights.get(unit.backend.service) and self.starved(unit.name) for unit in engine.application.units)

    def mode(self) -> Mode:
        """The mode that the Ingress shows; before the first mode change, the initial mode."""
        shown = self._engine.api.ingress.annotations.get(MARKER)
        return {str(mode): mode for mode in Mode}.get(shown or "", self._engine.setup.mode)

    def stuck_types(self) -> tuple[str, ...]:
        """Instance types that cannot grow: EC2 has no capacity in any zone, or the NodePool is at its limit."""
        engine = self._engine
        stuck = [
            unit.instance_type
            for unit in engine.application.units
            if engine.karpenter.pools[unit.node_pool].full() or self.exhausted(unit.name)
        ]
        return tuple(sorted(set(stuck)))
