"""The true state of the world, regardless of what the controller knows of it: for invariants, records and measures."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from controller.policy.account import fresh_s
from controller.policy.model import Cause, Mode
from controller.policy.routing import base_weights, weight_strategy
from failover_analysis.simulation.cluster import Pod
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.setup import Installed
from failover_testbed.capacity.ec2 import Code

SETTLE_S: Final = 900.0
"""How long after a fault no liveness is demanded yet: time for a cold start and for catching up."""

_CAUSES: Final = {Code.CAPACITY: Cause.CAPACITY, Code.QUOTA: Cause.QUOTA, Code.ADDRESSES: Cause.NETWORK}
_NOISE: Final = 0.1  # how far a sample of the demand may lie below it, as a share
_LAUNCHING_S: Final = 10.0  # longer than a fleet call takes: a claim that is older and has no instance is stuck


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

    def only_services_deleted(self) -> bool:
        """Whether Services are deleted, and nothing else but capacity has been wrong for at least `SETTLE_S`."""
        engine = self._engine
        others = [plan for plan in engine.active.values() if not plan.name.endswith("-service-deleted")]
        return bool(engine.fault_state.deleted) and not others and engine.event_queue.now - engine.last_fault >= SETTLE_S

    def undisturbed_s(self) -> float:
        """How long nothing has been wrong but capacity and the controller's clock, seconds; 0 while a fault of another kind lasts."""
        engine = self._engine
        return 0.0 if engine.disturbing else engine.event_queue.now - engine.last_disturbance

    def waiting(self) -> dict[str, bool]:
        """The units with pods that wait and for which no instance was launched, and whether each is really short."""
        found = {}
        for name, pods in self._engine.workloads.units.items():
            unmet = [pod for pod in pods.pods if pod.node is None and not _coming(pod)]
            if unmet:
                found[name] = self._short(name, unmet)
        return found

    def _short(self, unit: str, unmet: list[Pod]) -> bool:
        """Whether Karpenter can launch nothing for these pods; see `failover_analysis.real_shortage`."""
        engine, now = self._engine, self._engine.event_queue.now
        pool = engine.karpenter.pools[engine.application.unit(unit).node_pool]
        broken = engine.fault_state.karpenter_silent or engine.fault_state.create_errors
        stuck = all(pod.claim is not None and not pod.claim.gone and now - pod.claim.created > _LAUNCHING_S for pod in unmet)
        if broken or stuck or pool.full():
            return True
        return not any(map(engine.ec2.room, engine.karpenter.askable(engine.application.unit(unit))))

    def causes(self, unit: str) -> frozenset[Cause]:
        """Why a unit's pods cannot be launched."""
        engine = self._engine
        pool = engine.karpenter.pools[engine.application.unit(unit).node_pool]
        offerings = engine.karpenter.offerings_of(engine.application.unit(unit))
        codes = {shortage.code for shortage in engine.ec2.shortages if any(map(shortage.concerns, offerings))}
        limited = {Cause.QUOTA} if pool.full() else set()
        return frozenset({_CAUSES[code] for code in codes} | limited)

    def exhausted(self, unit: str) -> bool:
        """Whether EC2 has no capacity for any offering of a unit: no instance type in any zone, of any capacity type."""
        engine = self._engine
        return bool(engine.ec2.shortages) and engine.ec2.exhausted(engine.karpenter.offerings_of(engine.application.unit(unit)))

    def starved(self, unit: str) -> bool:
        """Whether pods of a unit wait for capacity that EC2 does not have."""
        pods = self._engine.workloads.units[unit]
        return pods.ready < pods.desired and any(pod.node is None for pod in pods.pods) and self.exhausted(unit)

    def demand(self, ago_s: float = 0.0) -> float:
        """Requests per metric period, without noise.

        Args:
            ago_s: How long ago, seconds; before the run it was as at its start.
        """
        return self._engine.setup.demand(max(0.0, self._engine.elapsed() - ago_s))

    def lacking(self) -> tuple[str, ...]:
        """Units that cannot grow, and whose ready replicas do not carry their part of the demand at their rated throughput."""
        engine, demand = self._engine, self.demand()
        units, parts = engine.application.units, self._parts()
        return tuple(
            unit.name
            for unit in units
            if engine.workloads.units[unit.name].ready * unit.throughput < demand * parts[unit.name]
            and (engine.karpenter.pools[unit.node_pool].full() or self.exhausted(unit.name))
        )

    def absorbable(self, short: Collection[str], demand: float, utilization: float = 1.0) -> bool:
        """Whether the ready replicas of the other units could serve what some units cannot.

        Args:
            short: Those units.
            demand: Requests per metric period.
            utilization: Up to which share of their throughput replicas serve.
        """
        units, parts = self._engine.application.units, self._parts()
        left = {
            unit.name: utilization * unit.throughput * self._engine.workloads.units[unit.name].ready - demand * parts[unit.name]
            for unit in units
        }
        unmet = -sum(min(0.0, left[name]) for name in short)
        return unmet <= sum(max(0.0, room) for name, room in left.items() if name not in short and parts[name])

    def absorbed(self, short: Collection[str]) -> bool:
        """Whether the others can serve what short units cannot, at the least demand that the controller may know of."""
        most = self._engine.application.policy.failover_utilization
        demand = (1 - _NOISE) * min(self.demand(), self.demand(fresh_s(self._engine.application.metric_period_s)))
        return most > 0 and self.absorbable(short, demand, most)

    def _parts(self) -> dict[str, float]:
        """Each unit's part of the demand in cost mode while all are well."""
        application = self._engine.application
        weights = base_weights(application.units, weight_strategy(application), None, {})
        whole = sum(weights.values())
        return {name: weight / whole for name, weight in weights.items()}

    def exposed(self) -> bool:
        """Whether cost mode sends traffic to a starved unit."""
        engine = self._engine
        if not engine.ec2.shortages or self.mode() is Mode.CAPACITY:
            return False
        weights = {target.service: target.weight for target in engine.balancer.live.targets}
        return any(weights.get(unit.backend.service) and self.starved(unit.name) for unit in engine.application.units)

    def mode(self) -> Mode:
        """The mode that the routing object shows: by its marker, or else by its targets. The controller alone writes a marker."""
        if self._engine.setup.installed is not Installed.CONTROLLER:
            return self._routed_mode()
        shown = self._engine.api.routing.observed.marker
        return {str(mode): mode for mode in Mode}.get(shown) or self._routed_mode()

    def _routed_mode(self) -> Mode:
        engine = self._engine
        services = {target.service for target in engine.api.routing.observed.targets if target.weight > 0}
        return Mode.CAPACITY if services == {engine.application.capacity.service} else Mode.COST

    def stuck_types(self) -> tuple[str, ...]:
        """Instance types that cannot grow: EC2 has no capacity in any zone, or the NodePool is at its limit."""
        engine = self._engine
        stuck = [
            unit.instance_type
            for unit in engine.application.units
            if engine.karpenter.pools[unit.node_pool].full() or self.exhausted(unit.name)
        ]
        return tuple(sorted(set(stuck)))


def _coming(pod: Pod) -> bool:
    """Whether an instance was launched for a pod."""
    return pod.claim is not None and not pod.claim.gone and pod.claim.launched is not None
