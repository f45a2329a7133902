"""Connects the parts of the simulated world and runs the controller's processes in it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Final

from controller.clients.kube import GATEWAYS
from controller.policy.account import capacity_throughputs
from controller.policy.model import SCALE_IN_S, Application, Mode, Target, Unit
from controller.policy.routing import base_weights, cost_targets, stickiness, weight_strategy
from controller.policy.strategies import part_of
from controller.policy.text import number
from controller.routing.kinds import routing_port
from controller.routing.port import ALONE
from failover_analysis.simulation.api import SCALERS, KubeApi, Store
from failover_analysis.simulation.aws_sample import Checker
from failover_analysis.simulation.balancer import Balancer
from failover_analysis.simulation.built import IngressBuilder
from failover_analysis.simulation.cluster import types_of
from failover_analysis.simulation.crash_points import Calls, MortalApplier, MortalLeadership, MortalStore
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.gateway import Gateway
from failover_analysis.simulation.karpenter import Karpenter, Pool
from failover_analysis.simulation.leadership import TAKEOVER_S, Lease, SimulatedLeadership
from failover_analysis.simulation.metrics import CloudWatch, Keda
from failover_analysis.simulation.outages import Outage
from failover_analysis.simulation.priority_list import PriorityList
from failover_analysis.simulation.replica import FaultyApplier, Observers, Replica
from failover_analysis.simulation.scarcity import Scarcity
from failover_analysis.simulation.setup import FaultPlan, Installed, Setup
from failover_analysis.simulation.simulated_view import SimulatedView, World
from failover_analysis.simulation.traffic import Traffic
from failover_analysis.simulation.wall_clock import WallClock
from failover_analysis.simulation.workloads import Workloads
from failover_testbed.capacity.ec2 import Ec2
from failover_testbed.capacity.reservations import Reservations

_HOUR_S: Final = 3600.0
_DIGITS: Final = 6
_VAGUE: Final = 0.05  # share of 1,381 refusals in the field that named neither type nor zone (kubernetes-sigs/karpenter#3198)


class Engine:
    """One world. Nothing happens in it until `start`.

    Args:
        setup: What to simulate.
        seed: Seed of every random stream.
    """

    def __init__(self, setup: Setup, seed: int) -> None:
        self.setup, self.seed = setup, seed
        self.application = setup.application
        self.event_queue = EventQueue(setup.start)
        self.fault_state = FaultState()
        self.ec2 = Ec2(setup.zones, self.stream("ec2"), answer=setup.fleet, vague=_VAGUE)
        self.karpenter = Karpenter(
            self.event_queue, self.ec2, setup.zones, _pools(setup), self.fault_state, self.stream("karpenter"), self._woken
        )
        self.scarcity = Scarcity(self.event_queue, self.ec2, self.karpenter)
        self.api, self.balancer = self._front()
        self.workloads = Workloads(
            self.event_queue, self.application, self.karpenter, self.balancer, self.stream("pods"), self._advance, self._woken
        )
        noise = self.stream("demand")
        self.traffic = Traffic(
            self.event_queue,
            self.application,
            lambda at: self._demand(at, noise),
            self.balancer,
            self.workloads.units,
            self.fault_state,
            setup.algorithm,
        )
        self._populate()
        self.cloudwatch = CloudWatch(self.event_queue, self.application, self.traffic, self.fault_state, self.stream("cloudwatch"))
        self.cloudwatch.warm(self.traffic.flow(self.balancer.live.targets, _exact(setup.demand(0.0)), self.application.metric_period_s))
        self.keda = Keda(self.event_queue, self.api, self.cloudwatch, self.workloads, self._advance)
        self.reservations = Reservations(self.ec2.refused, lambda: self.event_queue.now)
        self.world = World(
            self.event_queue,
            self.karpenter,
            self.workloads,
            self.api,
            self.balancer,
            self.cloudwatch,
            self.fault_state,
            setup.zones,
            self.reservations,
        )
        self.lease, self.store = Lease(), Store(self.fault_state)
        self.calls = Calls(lambda: self.event_queue.now)
        """The external calls of the controller's processes."""
        self.clock = WallClock(self.event_queue)
        """The wall clock of the controller's processes."""
        self.active: dict[int, FaultPlan] = {}
        """The active faults by their number."""
        self.last_fault = -math.inf
        """When a fault last ended."""
        self.disturbing: set[int] = set()
        """The numbers of the active faults that may keep the controller from seeing a shortage or acting on it."""
        self.last_disturbance = -math.inf
        """When one of those last ended."""
        self.injected: dict[str, int] = {}
        """How often each fault has begun."""
        self.tampered_at = self.memory_lost_at = self.override_at = -math.inf
        """When somebody last changed the live rule by hand, deleted the stored memory, or set an override."""
        self.observers = Observers()
        """Notified of everything that a process does."""
        self.mode_changed: list[Callable[[Mode, str], None]] = []
        """Called with the new mode and a sentence when the AWS sample's checker has changed it."""
        self._processes = 0
        self.replica: Replica

    def start(self) -> None:
        """Starts the first process and schedules everything that the setup plans."""
        self.replica = self._start_replica()
        if self.setup.installed is not Installed.CONTROLLER:
            self.replica.kill()  # before its first pass: faults of a process find none that runs
        if self.setup.installed is Installed.AWS_SAMPLE:
            self._start_checker()
        elif self.setup.installed is Installed.PRIORITY_LIST:
            self._start_list()
        self._schedule()

    # --- chance and time ----------------------------------------------------------------------------------------------------------------

    def stream(self, name: str) -> random.Random:
        """An independent random stream: draws of one part must not change those of another."""
        return random.Random(f"{self.seed}/{name}")

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.event_queue.now - self.setup.start

    def _demand(self, at: float, noise: random.Random) -> float:
        wanted = self.setup.demand(at - self.setup.start)
        if self.setup.noise:
            wanted = max(0.0, wanted * (1 + self.setup.noise * noise.gauss(0.0, 1.0)))
        return _exact(wanted)

    # --- the start ----------------------------------------------------------------------------------------------------------------------

    def _front(self) -> tuple[KubeApi, Balancer]:
        """The API server with the routing object, and the load balancer that follows it."""
        application, faults = self.application, self.fault_state
        gateway = Gateway(application, faults) if GATEWAYS in routing_port(application).reads else None
        action = _first_action(application, self.setup.mode)
        api = KubeApi(application, action, gateway or ALONE, faults, lambda: self.event_queue.now, self._written)
        builder = gateway or IngressBuilder(application, faults)
        chance = self.stream("balancer")
        return api, Balancer(self.event_queue, application, api, builder, faults, chance, self._advance, self._woken)

    def _populate(self) -> None:
        """Starts the replicas that the initial demand needs, all ready, with the routing applied."""
        demand, application, capacity = _exact(self.setup.demand(0.0)), self.application, self.setup.mode is Mode.CAPACITY
        weights, throughputs = _weights(application), capacity_throughputs(application)
        # The counts give every replica the load that capacity mode intends.
        share = {unit.name: throughputs[unit.name] if capacity else float(weights[unit.name]) for unit in application.units}
        whole = sum(share.values())
        for unit in application.units:
            asked = throughputs[unit.name] if capacity else unit.throughput
            wanted = math.ceil(demand * share[unit.name] / whole / asked - 1e-9)
            self.workloads.start(unit.name, min(max(wanted, unit.min_replicas), unit.max_replicas))
            if unit.name in self.api.scalers:
                scaler = self.api.scalers[unit.name]
                scaler.target, scaler.scale_in_s = number(asked), self.setup.scale_in_s.get(unit.name, SCALE_IN_S)
                scaler.scale_out_s = float(part_of(application.policy).scale_out_s(application.policy))  # as `render` writes it
        self.balancer.attach(self.workloads.units)
        self.api.routing.override = self.setup.override
        self.api.routing.say(None)

    def _schedule(self) -> None:
        start = self.setup.start
        for outage in self.setup.outages:
            self.event_queue.at(start + outage.start_s, partial(self._begin, outage))
        for limit in self.setup.limits:
            self.event_queue.at(start + limit.at_s, partial(self.set_limit, limit.node_pool, limit.nodes))
        self.event_queue.every(_HOUR_S, self.karpenter.forget_old)

    def _begin(self, outage: Outage) -> None:
        self.event_queue.at(self.setup.start + outage.end_s, self.scarcity.begin(outage))

    # --- events between the parts -------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self.traffic.advance()

    def _woken(self) -> None:
        self.replica.wake()

    def _written(self, resource: str, unit: str) -> None:
        if resource == self.api.routing.port.resource.name:
            self.balancer.routing_changed()
        elif resource == SCALERS:
            self.keda.changed(unit)
        self.replica.wake()

    def set_limit(self, pool: str, nodes: int | None) -> None:
        """Sets or removes a NodePool's limit."""
        self.karpenter.set_limit(pool, nodes)

    # --- processes ----------------------------------------------------------------------------------------------------------------------

    def _start_replica(self, application: Application | None = None) -> Replica:
        """Starts a process that leads from now on."""
        self._processes += 1
        number = self._processes
        self.lease.take(number)
        application = application or self.application
        view = SimulatedView(self.world, application, self.clock)
        return Replica(
            number,
            self.event_queue,
            application,
            view,
            MortalApplier(FaultyApplier(self.api, self.fault_state), self.calls, number),
            MortalStore(self.store, self.calls, number),
            MortalLeadership(SimulatedLeadership(self.lease, number), self.calls, number),
            self.observers,
            self.restart,
            self.clock,
            self.setup.interval_s,
            self.fault_state,
        )

    def _start_checker(self) -> None:
        def changed(mode: Mode, sentence: str) -> None:
            for listener in self.mode_changed:
                listener(mode, sentence)

        action, targets, chance = partial(_first_action, self.application), partial(_targets, self.application), self.stream("checker")
        Checker(self.event_queue, self.api, action, targets, self.karpenter.refused_since, self.fault_state, chance, changed)

    def _start_list(self) -> None:
        for scaler in self.api.scalers.values():
            scaler.paused = True  # the list scales in KEDA's place
        PriorityList(self.event_queue, self.application, self.cloudwatch, self.workloads, self._advance)

    def restart(self, after_s: float = TAKEOVER_S) -> None:
        """Kills the leading process; another one leads after the takeover. Until then there is no leader."""
        if self.setup.installed is not Installed.CONTROLLER:
            return
        application = self.replica.application
        self.replica.kill()
        self.event_queue.after(after_s, lambda: self._take_over(application))

    def _take_over(self, application: Application) -> None:
        if not self.replica.alive:
            self.replica = self._start_replica(application)

    def usurp(self) -> None:
        """Another process takes the Lease while the present leader still believes that it leads and decides once more."""
        old = self.replica
        if old.alive:
            self.replica = self._start_replica(old.application)
            old.resume()
            self.event_queue.after(1.0, old.kill)

    def retire(self, replica: Replica) -> None:
        """Ends a process that no longer leads; the leader carries on."""
        if replica is not self.replica:
            replica.kill()

    def usurp_paused(self) -> None:
        """Another process takes the Lease from a paused one."""
        if self.replica.alive and self.replica.paused:
            self.replica = self._start_replica(self.replica.application)

    def reconfigure(self, application: Application) -> None:
        """Replaces the application file."""
        self.application = application
        self.replica.reconfigure(application)


def _exact(value: float) -> float:
    """The same number on every machine.

    The last bit of cosines and logarithms differs between C libraries and processors, and one bit is enough to change a run.
    """
    return round(value, _DIGITS)


def _pools(setup: Setup) -> list[Pool]:
    """The NodePools of the application, each with the instance types of its units, and with their zones where all of them name some."""
    units: dict[str, list[Unit]] = {}
    for unit in setup.application.units:
        units.setdefault(unit.node_pool, []).append(unit)
    pools = []
    for name, sharing in units.items():
        types = tuple(dict.fromkeys(one for unit in sharing for one in types_of(unit)))
        zones = tuple(dict.fromkeys(zone for unit in sharing for zone in unit.zones)) if all(unit.zones for unit in sharing) else ()
        pools.append(Pool(name, types, setup.capacity_types.get(name, ("on-demand",)), zones))
    return pools


def _weights(application: Application) -> dict[str, int]:
    """The weights of cost mode with every unit available."""
    return base_weights(application.units, weight_strategy(application), None, {unit.name: 1 for unit in application.units})


def _first_action(application: Application, mode: Mode) -> str:
    """The action that Git has for the mode."""
    capacity = (Target(application.capacity.service, application.capacity.port, 1),)
    targets = capacity if mode is Mode.CAPACITY else cost_targets(application, _weights(application))
    return routing_port(application).write(application, targets, stickiness(application, mode))


def _targets(application: Application, mode: Mode) -> dict[str, str]:
    """KEDA's target by unit that Git has for the mode."""
    capacity = capacity_throughputs(application)
    return {unit.name: number(capacity[unit.name] if mode is Mode.CAPACITY else unit.throughput) for unit in application.units}
