"""The port that every kind of routing object is behind, and the values that pass through it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from controller.clients.kube import Resource
from controller.objects import Object
from controller.policy.model import Application, Backend, Decision, RoutingObservation, Snapshot, Target
from controller.routing.conditions import Condition


@dataclass(frozen=True, slots=True)
class LiveRule:
    """A rule with the application's traffic, as the load balancer should have it.

    Attributes:
        conditions: What a request must match; equal sets mean the same rule.
        label: For people, e.g. ``a.example /*``.
        at: The load balancers and ports whose listeners must have it, each by its DNS name; empty: as `Asked.ports` says.
    """

    conditions: frozenset[Condition]
    label: str
    at: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """Where the load balancer must show the routing action.

    Attributes:
        hostnames: The load balancer's DNS names.
        rules: The rules that carry the action.
        stacks: Namespaces and names by which the load-balancer controller labels what it makes for the load balancers.
        reported: Kinds, namespaces and names of the objects on whose events it reports whether it could make the rules.
        ports: The listeners that must have them; empty: every listener that has any of them, and at least one.
        group: The name of the group of routing objects that share the load balancer; "" where the object names none, None where its kind
            has no groups.
        overlooked: Since when the load-balancer controller has not taken up the object's last change, seconds since the Unix epoch by the
            cluster's clock; None where it has, or its kind does not tell.
    """

    hostnames: tuple[str, ...]
    rules: tuple[LiveRule, ...]
    stacks: tuple[tuple[str, str], ...] = ()
    reported: tuple[tuple[str, str, str], ...] = ()
    ports: frozenset[int] = frozenset()
    group: str | None = ""
    overlooked: float | None = None


NOBODY: Final = Asked((), (), group=None)
"""Of a routing object that does not exist."""


class Beside(Protocol):
    """The further objects that an adapter reads, as far as they are known."""

    def one(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """One of them; None where it does not exist, or is not known."""

    def all(self, resource: Resource, namespace: str) -> Iterable[Object]:
        """Those of a kind in a namespace."""


class _Nothing:
    """No further object is known."""

    def one(self, _resource: Resource, _namespace: str, _name: str) -> Object | None:
        return None

    def all(self, _resource: Resource, _namespace: str) -> Iterable[Object]:
        return ()


ALONE: Final[Beside] = _Nothing()
"""The routing object is read alone: what other objects say keeps its defaults."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """How to add missing standby rules.

    Attributes:
        rules: All rules of the routing object, with those that may be added now.
        patch: The JSON patch that adds them; () if there is none to add.
        absent: Backends whose rule must wait because there is no such Service with that port.
        unknown: Backends whose rule must wait because the Services cannot be read.
    """

    rules: tuple[Mapping[str, Any], ...] = ()
    patch: tuple[Mapping[str, Any], ...] = ()
    absent: tuple[Backend, ...] = ()
    unknown: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A patch of a routing object.

    Attributes:
        content_type: Of the body.
        query: Its query parameters.
        body: Its body.
        action: The routing action as `RoutingObservation.action` shows it once it is written.
    """

    content_type: str
    query: tuple[tuple[str, str], ...]
    body: str
    action: str


class RoutingPort(Protocol):
    """One kind of routing object: a module with these functions. They are pure: no I/O, no clock."""

    @property
    def resource(self) -> Resource:
        """The kind as the API server names it, which Events regard and patches address."""

    @property
    def stack_labels(self) -> tuple[str, ...]:
        """How the labels begin by which the load-balancer controller names what a TargetGroupBinding was made for, see `Asked.stacks`."""

    @property
    def reads(self) -> tuple[Resource, ...]:
        """The kinds of the further objects that it reads."""

    def observe(self, application: Application, obj: Object | None, beside: Beside = ALONE) -> RoutingObservation:
        """Reads a routing object. What only the cluster's other objects say keeps its defaults.

        Args:
            application: The application that it routes.
            obj: The object; None if it does not exist.
            beside: Where it finds the objects of `reads`.
        """

    def hosts(self, obj: Object, beside: Beside = ALONE) -> tuple[str, ...]:
        """The hosts whose requests its rules take, as it has them: names, or ``*.`` and a name; "" for any.

        Args:
            obj: The object.
            beside: Where it finds the objects of `reads`.
        """

    def asked(self, application: Application, obj: Object, beside: Beside = ALONE) -> Asked:
        """Where the load balancer must show the application's routing action; arguments as those of `observe`."""

    def request(self, snapshot: Snapshot, decision: Decision) -> Request:
        """The exact request that writes a decision's routing action and its mode, both or neither.

        The API server refuses it where the object is not the observed one any more: deleted, created again, or changed by somebody.

        Args:
            snapshot: The application, its object as observed, and when that was.
            decision: What to write.

        Raises:
            ValueError: AWS or the load-balancer controller would refuse the action.
        """

    def write(self, application: Application, targets: Iterable[Target], stickiness_s: int) -> str:
        """Writes a routing action as `RoutingObservation.action` shows it.

        Args:
            application: The application that it is of.
            targets: In the order in which they are to be written.
            stickiness_s: Target-group stickiness, seconds; 0 for none. A kind that states it elsewhere leaves it out.

        Raises:
            ValueError: AWS or the load-balancer controller would refuse the action.
        """

    def read(self, action: str) -> tuple[tuple[Target, ...], int, str]:
        """Reads a routing action.

        Args:
            action: As `RoutingObservation.action` has it.

        Returns:
            The targets, the stickiness in seconds (0: disabled or not stated), and the problem that kept the action from being read, ""
            for none. With a problem the targets are empty.
        """

    def writers(self, application: Application, obj: Object) -> list[str]:
        """The field managers that own the routing action, the last writer last."""

    def field(self, application: Application) -> str:
        """The name of the field that holds the routing action, for people."""

    def owned(self, application: Application, routing: RoutingObservation) -> str:
        """The JSON pointer to the field that holds the routing action, which a GitOps tool must leave alone.

        Args:
            application: The application.
            routing: The object as observed.
        """

    def remedy(self, application: Application, routing: RoutingObservation, obj: Object, exists: Mapping[Backend, bool | None]) -> Remedy:
        """Which standby rules to add.

        Args:
            application: The application.
            routing: The object as observed.
            obj: The object.
            exists: Whether each backend exists, see `controller.policy.routing.standby.existence`; None where that is not known.
        """
