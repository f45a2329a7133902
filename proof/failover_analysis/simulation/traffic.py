"""Splits the demand as the live rule does, and works out what happens to the requests.

The time between two changes counts as uniform. A share for a target group without targets, or for a fixed response, fails. A group whose
targets are all unhealthy uses all of them (the load balancer fails open). A replica sheds what it cannot serve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from controller.policy.model import Application, Target
from failover_analysis.simulation.balancer import Balancer
from failover_analysis.simulation.cluster import UnitPods
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.queueing import answered, speed
from failover_analysis.simulation.setup import Algorithm

EMPTY: Final = "a target group without targets"
BROKEN: Final = "targets that fail every request"
SHED: Final = "replicas that are full"

_ROUNDING: Final = 1e-9  # a smaller part of the requests is floating-point noise


@dataclass(slots=True)
class UnitFlow:
    """The traffic of one unit in a stretch of time."""

    requests: float = 0.0  # answered
    latency: float = 0.0  # sum over them, seconds


@dataclass(slots=True)
class Flow:
    """The traffic of all units in a stretch of time, in requests.

    Attributes:
        demand: All requests.
        units: By unit.
        failed: Failed requests by cause.
        own_5xx: Requests that failed at the load balancer itself, without a target.
    """

    demand: float = 0.0
    units: dict[str, UnitFlow] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    own_5xx: float = 0.0

    def add(self, other: Flow) -> None:
        """Adds the traffic of another stretch."""
        self.demand += other.demand
        self.own_5xx += other.own_5xx
        for name, flow in other.units.items():
            mine = self.units.setdefault(name, UnitFlow())
            mine.requests += flow.requests
            mine.latency += flow.latency
        for why, count in other.failed.items():
            self.failed[why] = self.failed.get(why, 0.0) + count

    @property
    def lost(self) -> float:
        """Number of failed requests."""
        return sum(self.failed.values())


Listener = Callable[[Flow, float], None]
"""Called for every stretch with its flow and its seconds."""


class Traffic:
    """One application's traffic.

    Args:
        event_queue: Virtual time.
        application: The simulated application.
        demand: Requests per metric period at a moment, seconds since the Unix epoch.
        balancer: The live rule and the targets.
        pods: By unit.
        fault_state: The faults in force.
        algorithm: How the target groups choose a target.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        application: Application,
        demand: Callable[[float], float],
        balancer: Balancer,
        pods: Mapping[str, UnitPods],
        fault_state: FaultState,
        algorithm: Algorithm,
    ) -> None:
        self._event_queue, self._application, self._demand, self._balancer = event_queue, application, demand, balancer
        self._pods, self._fault_state = pods, fault_state
        self._of_service = {unit.backend.service: unit.name for unit in application.units}
        even, period_s = algorithm is Algorithm.ROUND_ROBIN, application.metric_period_s
        self._speed = {unit.name: 1.0 if even else speed(unit.throughput, unit.latency_s, period_s) for unit in application.units}
        self._until = event_queue.now
        self.listeners: list[Listener] = []

    def advance(self) -> None:
        """Adds the traffic since the last call, by the state since then. Call it before anything changes."""
        seconds = self._event_queue.now - self._until
        if seconds <= 0:
            return
        rate = self._demand(self._until + seconds / 2)
        self._until = self._event_queue.now
        flow = self.flow(self._balancer.live.targets, rate, seconds)
        for listener in self.listeners:
            listener(flow, seconds)

    def flow(self, targets: tuple[Target, ...], rate: float, seconds: float) -> Flow:
        """The traffic that a rule would cause with the present pods.

        Args:
            targets: The rule's targets.
            rate: Requests per metric period.
            seconds: Length of the stretch.
        """
        made = Flow(demand=rate / self._application.metric_period_s * seconds)
        whole = sum(target.weight for target in targets)
        if whole <= 0:
            made.failed[EMPTY] = made.own_5xx = made.demand
            return made
        arriving: dict[str, float] = {}  # requests per period, by unit
        replicas: dict[str, int] = {}
        lost = 0.0
        for target in targets:
            if target.weight > 0:
                lost += self._send(target.service, rate * target.weight / whole, arriving, replicas)
        part = seconds / self._application.metric_period_s
        if lost > 0:
            made.failed[EMPTY] = made.own_5xx = lost * part
        for name, amount in arriving.items():
            self._serve(made, name, amount, replicas[name], part)
        return made

    def _send(self, service: str, rate: float, arriving: dict[str, float], replicas: dict[str, int]) -> float:
        """Spreads a share over a target group's healthy targets, or over all of them if none is healthy.

        Returns:
            The requests per period that find no target.
        """
        group = self._balancer.group(service)
        if group is None or not group.registered or service in self._fault_state.deleted:
            return rate
        own = self._of_service.get(service)
        names = list(self._pods) if own is None else [own]
        ill = self._fault_state.broken if own is None else self._fault_state.broken | self._fault_state.sick
        counts = {name: self._pods[name].healthy for name in names if name not in ill and self._pods[name].healthy}
        if not counts or not group.healthy:
            counts = {name: self._pods[name].registered for name in names if self._pods[name].registered}
        if not counts:
            return rate
        shares = {name: count * self._speed[name] for name, count in counts.items()}
        total = sum(shares.values())
        for name, count in counts.items():
            arriving[name] = arriving.get(name, 0.0) + rate * shares[name] / total
            replicas[name] = max(replicas.get(name, 0), count)
        return 0.0

    def _serve(self, made: Flow, name: str, rate: float, replicas: int, part: float) -> None:
        if name in self._fault_state.broken:
            made.failed[BROKEN] = made.failed.get(BROKEN, 0.0) + rate * part
            return
        unit = self._pods[name].unit
        served, latency = answered(rate / replicas, unit.throughput, unit.latency_s, self._application.metric_period_s)
        requests = served * replicas * part
        made.units[name] = UnitFlow(requests, requests * latency)
        shed = rate * part - requests
        if shed > _ROUNDING * rate:
            made.failed[SHED] = made.failed.get(SHED, 0.0) + shed
