"""Splits the demand as the load balancer does, and computes which requests succeed.

The split comes from ELBv2, not from Kubernetes, so changes that the load-balancer controller has not made yet have no effect. Requests to
a target group without targets in service, or to a fixed 503, fail. A target group whose targets are all unhealthy fails open. A replica
with more load than its throughput answers late but correctly.

Not modelled: target-group stickiness.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from controller.clock import Clock
from controller.policy.model import Application, Unit
from controller.policy.routing import largest_remainder
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.cluster.world import Pod, World

STEP_S: Final = 1.0
"""Longest time for which one split is used, seconds."""

_HEALTHY: Final = "healthy"
_UNHEALTHY: Final = "unhealthy"
_WINDOW_S: Final = 60.0
_RECHECK_S: Final = 1.0  # how often targets are checked that are not healthy yet


class Routes(Protocol):
    """What the traffic reads from the load-balancer controller: the listener, and when to read the rules again."""

    def listener(self, key: str) -> str:
        """The ARN of the listener of an Ingress or a route (``namespace/name``), "" if there is none yet."""

    def service_of(self, target_group: str) -> str:
        """The Service of a target group, "" if the controller did not create it."""

    @property
    def changes(self) -> int:
        """A number that grows with every change of ELBv2."""


@dataclass(frozen=True, slots=True)
class Split:
    """The effect of the live rule. `weights` is by target group; empty for a fixed response."""

    weights: Mapping[str, int] = field(default_factory=dict)
    answer: str = ""  # "" or the fixed response, e.g. "503 Backend service does not exist"


class LiveRouting:
    """Reads an application's live rule and its targets, again after each change.

    Args:
        aws: The emulated account.
        routes: The load-balancer controller.
        key: ``namespace/name`` of the Ingress or the route.
        clock: Time.
    """

    def __init__(self, aws: EmulatedAws, routes: Routes, key: str, clock: Clock) -> None:
        self._aws, self._routes, self._key, self._clock = aws, routes, key, clock
        self._seen = -1
        self._recheck_at = float("inf")  # monotonic
        self._split = Split(answer="no load balancer yet")
        self._targets: dict[str, frozenset[str]] = {}

    def read(self) -> tuple[Split, Mapping[str, frozenset[str]]]:
        """The live rule, and the addresses that get requests, by target group."""
        changes, now = self._routes.changes, self._clock.monotonic()
        listener = self._routes.listener(self._key)
        if listener and (changes != self._seen or now >= self._recheck_at):
            self._seen, self._recheck_at = changes, float("inf")
            elb = self._aws.client("elbv2")
            rules = elb.describe_rules(ListenerArn=listener)["Rules"]
            self._split = _live(rules)
            self._targets = {group: self._in_service(elb, group, now) for group, weight in self._split.weights.items() if weight > 0}
        return self._split, self._targets

    def _in_service(self, elb: Any, group: str, now: float) -> frozenset[str]:  # noqa: ANN401 - a botocore client
        """The healthy targets, or all targets if none is healthy."""
        states: dict[str, set[str]] = {}
        for entry in elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]:
            states.setdefault(entry["TargetHealth"]["State"], set()).add(entry["Target"]["Id"])
        if states.keys() - {_HEALTHY}:
            self._recheck_at = now + _RECHECK_S
        return frozenset(states.get(_HEALTHY) or states.get(_UNHEALTHY) or ())


def _live(rules: list[dict[str, Any]]) -> Split:
    """The rule of an ordinary request: the first by priority that is not a standby rule."""
    ordered = sorted((rule for rule in rules if rule["Priority"] != "default"), key=lambda rule: int(rule["Priority"]))
    for rule in [*ordered, *(rule for rule in rules if rule["Priority"] == "default")]:
        if not all(_reachable(one) for one in rule.get("Conditions", [])):
            continue
        action = rule["Actions"][-1]
        if action["Type"] != "forward":
            fixed = action.get("FixedResponseConfig", {})
            return Split(answer=f"{fixed.get('StatusCode', '503')} {fixed.get('MessageBody', '')}".strip())
        groups = action.get("ForwardConfig", {}).get("TargetGroups") or [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]
        return Split({entry["TargetGroupArn"]: int(entry.get("Weight", 1)) for entry in groups})
    return Split(answer="404")


def _reachable(condition: Mapping[str, Any]) -> bool:
    """Whether an ordinary request from the internet satisfies a condition."""
    match condition.get("Field"):
        case "host-header":
            values = condition.get("HostHeaderConfig", {}).get("Values") or condition.get("Values", [])
            return not all(str(value).endswith(".invalid") for value in values)
        case "source-ip" | "http-header":
            return False
        case _:
            return True


@dataclass(slots=True)
class Period:
    """A unit's traffic in one metric period."""

    requests: float = 0.0
    latency: float = 0.0  # sum over the requests, seconds


@dataclass(slots=True)
class UnitTraffic:
    """A unit's traffic so far."""

    period: Period = field(default_factory=Period)
    recent: deque[tuple[float, float]] = field(default_factory=deque)  # time and requests of each step of the last minute
    served: float = 0.0
    load: float = 0.0  # of one replica in the last step; 1 is its throughput
    latency_s: float = 0.0
    worst_latency_s: float = 0.0


@dataclass(slots=True)
class Balancer:
    """A load balancer's traffic in one metric period, and so far."""

    requests: float = 0.0
    own_5xx: float = 0.0
    target_5xx: float = 0.0
    served: float = 0.0
    failed: float = 0.0
    failures: dict[str, float] = field(default_factory=dict)  # failed requests by cause


class Traffic:
    """An application's traffic.

    Args:
        world: The pods.
        application: The application.
        routing: The live rule.
        services: Finds the Service of a target group.
        period_at: The start of the present metric period.
    """

    def __init__(self, world: World, application: Application, routing: LiveRouting, services: Routes) -> None:
        self._world, self.application, self._routing, self._services = world, application, routing, services
        self.units = {unit.name: UnitTraffic() for unit in application.units}
        self.balancer = Balancer()
        self.split = Split(answer="no load balancer yet")
        self.shown: dict[str, int] = {}  # the live weights by Service

    def warm(self, demand: float) -> None:
        """Fills the last minute and the present metric period with this demand. None of it counts as served.

        Args:
            demand: Requests per metric period.
        """
        self.step(demand, self.application.metric_period_s)
        now, steps = self._world.now(), int(_WINDOW_S)
        for traffic in self.units.values():
            a_minute = traffic.period.requests * _WINDOW_S / self.application.metric_period_s
            traffic.recent = deque((now - _WINDOW_S + second, a_minute / steps) for second in range(1, steps + 1))
            traffic.served = traffic.worst_latency_s = 0.0
        self.balancer.served = self.balancer.failed = 0.0
        self.balancer.failures.clear()

    def step(self, demand: float, seconds: float) -> None:
        """Sends the requests of a period of time.

        Args:
            demand: Requests per metric period.
            seconds: How long.
        """
        self.split, targets = self._routing.read()
        self.shown = {self._services.service_of(group) or group: weight for group, weight in self.split.weights.items()}
        now, requests = self._world.now(), demand / self.application.metric_period_s * seconds
        by_pod: dict[str, float] = {}
        total = sum(self.split.weights.values())
        if total <= 0:
            self._fail(requests, self.split.answer or "no target group has a weight", own=True)
        pods = {pod.ip: pod for pod in self._world.pods.values() if pod.ip and pod.namespace == self.application.namespace}
        for group, weight in self.split.weights.items():
            if weight > 0:
                self._send(group, requests * weight / total, targets.get(group, frozenset()), pods, by_pod)
        self._serve(by_pod, pods, now, seconds)

    def _send(self, group: str, requests: float, targets: frozenset[str], pods: Mapping[str, Pod], by_pod: dict[str, float]) -> None:
        """Round robin over the targets of one target group that answer."""
        service = self._services.service_of(group) or group
        serving = sorted(address for address in targets if address in pods and pods[address].serving)
        if not serving:
            why = "has no target that answers" if targets else "has no target in service"
            self._fail(requests, f"target group of {service} {why}", own=not targets)
            return
        for address in serving:
            by_pod[address] = by_pod.get(address, 0.0) + requests / len(serving)

    def _fail(self, requests: float, why: str, *, own: bool) -> None:
        if requests <= 0:
            return
        balancer = self.balancer
        balancer.failed += requests
        balancer.failures[why] = balancer.failures.get(why, 0.0) + requests
        if own:
            balancer.own_5xx += requests  # no target was chosen: not in RequestCount
        else:
            balancer.target_5xx += requests
            balancer.requests += requests

    def _serve(self, by_pod: Mapping[str, float], pods: Mapping[str, Pod], now: float, seconds: float) -> None:
        sums = {unit.name: (0.0, 0.0, 0) for unit in self.application.units}
        for address, requests in by_pod.items():
            unit = pods[address].unit
            load = requests / seconds * self.application.metric_period_s / unit.throughput if seconds > 0 else 0.0
            served, latency, count = sums[unit.name]
            sums[unit.name] = (served + requests, latency + requests * latency_at(unit, load), count + 1)
        for unit in self.application.units:
            served, latency, count = sums[unit.name]
            traffic = self.units[unit.name]
            traffic.recent.append((now, served))
            while traffic.recent and now - traffic.recent[0][0] > _WINDOW_S:
                traffic.recent.popleft()
            traffic.served += served
            traffic.period.requests += served
            traffic.period.latency += latency
            traffic.load = served / seconds * self.application.metric_period_s / unit.throughput / count if count and seconds > 0 else 0.0
            traffic.latency_s = latency / served if served else 0.0
            traffic.worst_latency_s = max(traffic.worst_latency_s, traffic.latency_s)
            self.balancer.served += served
            self.balancer.requests += served

    def counter(self, unit: str) -> float:
        """Requests that a unit served in the last minute of the clock."""
        return sum(requests for _, requests in self.units[unit].recent)

    def shares(self) -> dict[str, int]:
        """Percentage of the last minute's served requests by unit; all 0 if there were none."""
        counts = {unit: self.counter(unit) for unit in self.units}
        return largest_remainder(counts) if any(counts.values()) else dict.fromkeys(counts, 0)


def latency_at(unit: Unit, load: float) -> float:
    """Latency of one replica, seconds.

    Args:
        unit: The unit.
        load: 1 is its throughput. Below 1, batches are small and answers slightly faster; above 1, requests queue.
    """
    return unit.latency_s * (0.75 + 0.25 * load if load <= 1 else load)
