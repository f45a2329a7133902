"""What the load-balancer controller makes of the routing object: the live rule, or the reason why it leaves the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controller.policy.model import Application, Target
from controller.policy.routing import action_problem
from failover_analysis.simulation.fault_state import FaultState
from failover_analysis.simulation.routing_object import RoutingObject


@dataclass(frozen=True, slots=True)
class LiveRule:
    """What the load balancer does with a request. `answer` is the fixed response of a rule that forwards to no target group."""

    targets: tuple[Target, ...]
    stickiness_s: int = 0
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """The end of one reconcile.

    Attributes:
        rule: The live rule; None: the old one stays.
        reported: The error that it reports as an event; "" for none.
        again: Whether it tries again by itself.
        conditions: What it says of the routing object in its status; None: nothing.
    """

    rule: LiveRule | None
    reported: str = ""
    again: bool = False
    conditions: Sequence[Mapping[str, Any]] | None = None


class Builder(Protocol):
    """The part of the load-balancer controller that depends on the kind of the routing object."""

    def build(self, routing: RoutingObject) -> Built:
        """Reads the routing object and the Services, and makes the live rule."""


class IngressBuilder:
    """Builds the rules of an Ingress.

    Args:
        application: The simulated application.
        fault_state: The faults in force.
    """

    def __init__(self, application: Application, fault_state: FaultState) -> None:
        self._application, self._fault_state = application, fault_state

    def build(self, routing: RoutingObject) -> Built:
        """See `Builder.build`. One Ingress that it cannot read stops the whole group."""
        blocked = self._fault_state.lbc_blocked or self._unbuildable(routing)
        if blocked:
            return Built(None, blocked, again=True)
        return Built(self._wanted(routing))

    def _unbuildable(self, routing: RoutingObject) -> str:
        """The controller's words where a Service that does not exist stops it; "" where it goes on. With one target it only answers 503."""
        deleted, seen = self._fault_state.deleted, routing.observed
        if not deleted or not seen.exists:
            return ""
        named = [target.service for target in seen.targets]
        missing = [service for service in named if service in deleted] if len(named) > 1 else []
        if self._fault_state.lbc_strict:
            standby = [service for service in self._application.services if service in seen.standby]
            missing += [service for service in (*named, *standby) if service in deleted]
        words = f"Failed build model due to ingress: {self._application.key}"
        return f'{words}: Service "{missing[0]}" not found' if missing else ""

    def _wanted(self, routing: RoutingObject) -> LiveRule | None:
        """The rule that the Ingress asks for; None if it cannot be built, so that the old one stays."""
        seen = routing.observed
        if not seen.exists:
            return LiveRule((), answer="404")
        if not seen.action:
            return LiveRule((), answer="503 Backend action does not exist")
        if seen.problem or action_problem(seen.targets):
            return None
        if seen.targets[0].service in self._fault_state.deleted:
            return LiveRule((), answer="503 Backend service does not exist")
        return LiveRule(seen.targets, seen.stickiness_s)
