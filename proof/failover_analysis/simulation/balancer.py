"""The load balancer and its controller: the live rule, the lag behind the routing object, and the health of the targets.

A Service has a target group while a rule of the routing object names it: its action, or a standby rule. Without one the controller deletes
the group, and makes another one when a rule names the Service again; its targets are registered and become healthy only later. A pod is a
target of its unit's group and of the capacity Service's. The controller is level-triggered: after its lag it applies whatever the routing
object says then. It leaves the live rule as it is when it cannot read that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.model import Application
from failover_analysis.simulation.api import KubeApi
from failover_analysis.simulation.built import Builder, Built, LiveRule
from failover_analysis.simulation.cluster import Pod, UnitPods
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState

HEALTH_CHECK_S: Final = 15.0
"""Interval of the target groups' health checks, seconds: the controller's default. A new target becomes healthy with the first check."""

_LAG_S: Final = (0.7, 2.0)  # one ModifyRule 0.79 to 0.88 s after the patch, as recorded; the rest allows for slower answers of AWS
_SLOW_SHARE: Final = 0.02  # of reconciles that take minutes: throttled or behind a full sync (issues LBC#2070, #1447, #3588); our choice
_SLOW_S: Final = (30.0, 375.0)  # up to the 6 min 15 s of LBC#2070
_REGISTER_S: Final = (1.0, 3.0)  # facts on the load balancer, section 3: the binding's reconcile
_RETRY_S: Final = 60.0  # between two tries at an unreadable group; the real backoff grows to minutes


@dataclass(slots=True, eq=False)
class TargetGroup:
    """A Service's target group.

    Attributes:
        arn: Another one after the group was deleted and made again.
        registered: Whether the pods that were there when it was made are its targets.
        healthy: Whether those have passed its first health check.
        gone: Whether somebody has deleted it in AWS: its TargetGroupBinding stays, and the controller notices at its next reconcile.
    """

    arn: str
    registered: bool = False
    healthy: bool = False
    gone: bool = False


class Balancer:
    """One load balancer.

    Args:
        event_queue: Virtual time.
        application: The simulated application.
        api: The routing object.
        builder: The part of the controller that depends on its kind.
        pods: The pods by unit.
        fault_state: The faults in force.
        chance: A random stream of its own.
        before: Called before the routing or the targets change, so that traffic up to then follows the old ones.
        changed: Called when there is something new for a watch of the controller's events.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        application: Application,
        api: KubeApi,
        builder: Builder,
        fault_state: FaultState,
        chance: random.Random,
        before: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._event_queue, self._application, self._api, self._builder = event_queue, application, api, builder
        self._fault_state, self._chance = fault_state, chance
        self._before, self._changed = before, changed
        self._pods: Mapping[str, UnitPods] = {}
        self.live = LiveRule(())
        self.live_since = event_queue.now
        self.listeners: list[Callable[[LiveRule, LiveRule], None]] = []
        self.blocked = ""
        self.exists = True
        """Whether the load balancer is there. Where it is not, the controller makes another one at its next reconcile."""
        self._groups: dict[str, TargetGroup] = {}
        self._made = 0

    def attach(self, pods: Mapping[str, UnitPods]) -> None:
        """Connects the pods. The present routing object and the ready pods count as applied long ago."""
        self._pods = pods
        for counts in pods.values():
            counts.registered = counts.healthy = counts.ready
        self._groups = {service: TargetGroup(f"{service}/0", registered=True, healthy=True) for service in self._application.services}
        built = self._builder.build(self._api.routing)
        self._api.routing.say(built.conditions)
        self._deploy(built)

    # --- the controller's half ----------------------------------------------------------------------------------------------------------

    def routing_changed(self) -> None:
        """The routing object was written."""
        fault_state, chance = self._fault_state, self._chance
        lag = chance.uniform(*_SLOW_S) if chance.random() < _SLOW_SHARE else chance.uniform(*_LAG_S)
        if fault_state.lbc_loses:
            fault_state.lbc_loses -= 1
            return
        self._event_queue.after(lag * fault_state.lbc_slow, self._reconcile)

    def _reconcile(self) -> None:
        fault_state = self._fault_state
        if fault_state.lbc_stopped:
            return
        routing = self._api.routing
        built = self._builder.build(routing)
        said = routing.say(built.conditions)
        if said or built.reported != self.blocked:
            self.blocked = built.reported
            self._changed()
        if built.again:
            self._event_queue.after(_RETRY_S, self._reconcile)
        self._deploy(built)

    def _deploy(self, built: Built) -> None:
        """Carries out what was built."""
        if built.rule is not None:
            self.exists = True
            self._make_groups(built.rule)
            self.set(built.rule)

    def service_changed(self) -> None:
        """A Service was deleted or made again: its targets are gone at once, and the controller reconciles."""
        self._changed()
        self.resume()

    def resume(self) -> None:
        """The controller runs again and reconciles at once."""
        self._event_queue.after(self._chance.uniform(*_LAG_S), self._reconcile)

    def set(self, rule: LiveRule) -> None:
        """Makes `rule` the live rule."""
        if rule != self.live:
            self._before()
            before, self.live, self.live_since = self.live, rule, self._event_queue.now
            for listener in self.listeners:
                listener(before, rule)

    # --- target groups ------------------------------------------------------------------------------------------------------------------

    def _make_groups(self, rule: LiveRule) -> None:
        """Makes the target groups that the rules need, and deletes the others."""
        seen = self._api.routing.observed
        named = {target.service for target in rule.targets}
        services = [one for one in self._application.services if one not in self._fault_state.deleted]
        wanted = [one for one in services if seen.exists and (one in seen.standby or one in named)]
        there = {service: group for service, group in self._groups.items() if not group.gone}
        if wanted == list(there):
            return
        self._before()
        self._groups = {service: there.get(service) or self._new_group(service) for service in wanted}
        self._changed()

    def unbind(self, service: str) -> None:
        """Somebody deletes a TargetGroupBinding. The targets go at once; the controller watches no bindings (docs/research/alb.md)."""
        self._before()
        self._groups.pop(service, None)
        self._changed()

    def delete_group(self, service: str) -> None:
        """Somebody deletes a target group in AWS, and before it what forwards there: AWS refuses while a rule uses it."""
        if service not in self._groups:
            return
        others = tuple(target for target in self.live.targets if target.service != service)
        self._before()
        self._groups[service].gone = True
        if others != self.live.targets:
            self.set(LiveRule(others, answer="" if others else "404"))

    def delete(self) -> None:
        """Somebody deletes the load balancer: no request arrives anywhere. The target groups stay."""
        self.exists = False
        self.set(LiveRule((), answer="nothing"))

    def _new_group(self, service: str) -> TargetGroup:
        self._made += 1
        group = TargetGroup(f"{service}/{self._made}")
        self._event_queue.after(self._chance.uniform(*_REGISTER_S), lambda: self._register_all(group))
        return group

    def _register_all(self, group: TargetGroup) -> None:
        if self._fault_state.targets_stuck:
            self._event_queue.after(_RETRY_S, lambda: self._register_all(group))
            return
        self._before()
        group.registered = True
        self._event_queue.after(self._chance.uniform(1.0, HEALTH_CHECK_S), lambda: self._check_all(group))

    def _check_all(self, group: TargetGroup) -> None:
        self._before()
        group.healthy = True

    def group(self, service: str) -> TargetGroup | None:
        """The Service's target group in AWS; None if it has none."""
        group = self._groups.get(service)
        return None if group is None or group.gone else group

    def bound(self) -> dict[str, str]:
        """The ARN of each Service's target group, as the TargetGroupBindings have it."""
        return {service: group.arn for service, group in self._groups.items()}

    # --- targets ------------------------------------------------------------------------------------------------------------------------

    def pod_ready(self, pod: Pod) -> None:
        """See `failover_analysis.simulation.workloads.Targets.pod_ready`."""
        if not self._pods:  # before the start: a target since long ago
            pod.registered = pod.healthy = True
            return
        due = pod.ready_at
        self._event_queue.after(self._chance.uniform(*_REGISTER_S), lambda: self._register(pod, due))

    def _register(self, pod: Pod, due: float) -> None:
        if not pod.ready or pod.ready_at != due:
            return
        if self._fault_state.targets_stuck:
            self._event_queue.after(_RETRY_S, lambda: self._register(pod, due))
            return
        self._before()
        pod.registered = True
        self._pods[pod.unit.name].registered += 1
        self._event_queue.after(self._chance.uniform(1.0, HEALTH_CHECK_S), lambda: self._checked(pod, due))

    def _checked(self, pod: Pod, due: float) -> None:
        if pod.registered and pod.ready_at == due and not pod.healthy:
            self._before()
            pod.healthy = True
            self._pods[pod.unit.name].healthy += 1

    def pod_gone(self, pod: Pod) -> None:
        """See `failover_analysis.simulation.workloads.Targets.pod_gone`."""
        if pod.registered:
            self._before()
            counts = self._pods[pod.unit.name]
            counts.registered -= 1
            counts.healthy -= pod.healthy
            pod.registered = pod.healthy = False

    def healthy(self, service: str) -> int:
        """Healthy targets of a Service's target group; 0 without one."""
        group = self.group(service)
        if group is None or not group.healthy or service in self._fault_state.deleted:
            return 0
        fault_state = self._fault_state
        units = [pods for pods in self._pods.values() if service in {pods.unit.backend.service, self._application.capacity.service}]
        ill = fault_state.broken | (fault_state.sick if service != self._application.capacity.service else set())
        return sum(pods.healthy for pods in units if pods.unit.name not in ill)

    def ready(self, service: str) -> int:
        """Ready endpoints of a Service."""
        if service in self._fault_state.deleted:
            return 0
        return sum(pods.ready for pods in self._pods.values() if service in {pods.unit.backend.service, self._application.capacity.service})
