"""A verification request: the routing that a routing object asks for, read from Kubernetes objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from controller.objects import mapping, service_port, text
from controller.policy.model import Target
from controller.routing.kinds import KINDS
from controller.routing.port import LiveRule

ServicePort = tuple[str, int | str]
"""A Service and its port as an action names it: 80 and "http" make two different target groups."""

TargetGroups = Mapping[ServicePort, tuple[str, ...]]
"""The ARNs of the target groups that are bound to a Service and port."""

Stacks = Iterable[tuple[str, str]]
"""See `controller.routing.port.Asked`."""

_STACK_LABELS: Final = tuple(dict.fromkeys(prefix for port in KINDS.values() for prefix in port.stack_labels))
"""How the labels begin that name what a TargetGroupBinding was made for."""
_AUTO_MODE: Final = ".eks.amazonaws.com/"
"""In the key of such a label where EKS Auto Mode made the binding."""


class CannotTellError(Exception):
    """The request cannot be answered; the message says why."""


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """A question: does the load balancer route as this action says?

    Attributes:
        application: Its key.
        hostnames: See `controller.routing.port.Asked`.
        action: See `RoutingObservation.action`. The verification is valid only for it.
        targets: The action's Services and weights.
        stickiness_s: The action's target group stickiness, seconds; 0 = disabled.
        rules: The rules that carry the action.
        target_groups: See `target_groups`; None: the TargetGroupBindings were unreadable.
        ready: Ready endpoints by Service, as far as known. Used only for ``ip`` targets, where a target is a pod.
        min_healthy: Least number of healthy targets of a target group with traffic; at least 1 is always needed.
        standby: Services that have no traffic now and would have after a mode change. Their healthy targets are counted but decide nothing.
        ports: Listeners that must have the rules; empty: every listener that has any of them, and at least one.
    """

    application: str
    hostnames: tuple[str, ...]
    action: str
    targets: tuple[Target, ...]
    stickiness_s: int
    rules: tuple[LiveRule, ...]
    target_groups: TargetGroups | None
    ready: Mapping[str, int] = field(default_factory=dict)
    min_healthy: int = 1
    standby: tuple[ServicePort, ...] = ()
    ports: frozenset[int] = frozenset()

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The target groups of each Service: of the port that the action or the standby names, where the Service has several."""
        named = {(target.service, service_port(target.port)) for target in self.targets} | set(self.standby)
        return {key[0]: arns for key, arns in sorted((self.target_groups or {}).items(), key=lambda one: one[0] in named)}


class BoundGroups:
    """TargetGroupBindings, each read once, by what it was made for.

    Args:
        bindings: TargetGroupBindings as plain objects.
    """

    def __init__(self, bindings: Iterable[Mapping[str, Any]]) -> None:
        self._own: dict[tuple[str, str, str], list[tuple[ServicePort, str]]] = {}  # by namespace, and by the stack's namespace and name
        self._grouped: dict[str, dict[str, list[tuple[ServicePort, str]]]] = {}  # by namespace, and by the name of the explicit group
        for binding in bindings:
            self._add(binding)

    def _add(self, binding: Mapping[str, Any]) -> None:
        metadata, spec = mapping(binding, "metadata"), mapping(binding, "spec")
        reference = mapping(spec, "serviceRef")
        namespace, port = text(metadata, "namespace"), service_port(reference.get("port"))
        service, arn = text(reference, "name"), text(spec, "targetGroupARN")
        if metadata.get("deletionTimestamp") or not service or port is None or not arn:
            return
        self._own.setdefault((namespace, *stack_of(binding)), []).append(((service, port), arn))
        group = explicit_group_of(binding)
        if group:
            self._grouped.setdefault(namespace, {}).setdefault(group, []).append(((service, port), arn))

    def of(self, namespace: str, stacks: Stacks, group: str | None = "") -> dict[ServicePort, tuple[str, ...]]:
        """See `target_groups`."""
        groups = {} if group is None else self._grouped.get(namespace, {})
        shared = groups.get(group or "") or [one for some in groups.values() for one in some]
        own = [one for stack in stacks for one in self._own.get((namespace, *stack), ())]
        found: dict[ServicePort, set[str]] = {}
        for service, arn in own or shared:
            found.setdefault(service, set()).add(arn)
        return {key: tuple(sorted(arns)) for key, arns in found.items()}


def target_groups(
    bindings: Iterable[Mapping[str, Any]], namespace: str, stacks: Stacks, group: str | None = ""
) -> dict[ServicePort, tuple[str, ...]]:
    """Reads from TargetGroupBindings which target groups belong to which Service of a routing object.

    It counts the bindings of the object's own stacks; where they have none, those of its group, or of all groups where it is not
    known. A target group belongs to one load balancer: that of another says nothing of ours. Two routing objects of a load balancer may
    each have a target group for the same Service and port. Both are returned, because our rule (found by its
    conditions, on our load balancer) is right with either: the traffic reaches the same pods. Bindings of another stack, of none, and
    those that are being deleted are left out.

    Args:
        bindings: TargetGroupBindings as plain objects.
        namespace: Of the Services.
        stacks: See `controller.routing.port.Asked`.
        group: Likewise.

    Returns:
        The ARNs, sorted, by Service and port.
    """
    return BoundGroups(bindings).of(namespace, stacks, group)


def stack_of(binding: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name of what a TargetGroupBinding was made for, see `Asked.stacks`; both "" in a group."""
    labels = mapping(binding, "metadata", "labels")
    stacks = ((text(labels, f"{prefix}/stack-namespace"), text(labels, f"{prefix}/stack-name")) for prefix in _STACK_LABELS)
    return next((one for one in stacks if any(one)), ("", ""))


def explicit_group_of(binding: Mapping[str, Any]) -> str:
    """The group that a TargetGroupBinding was made for, see `Asked.group`; "" where it was made for one routing object."""
    labels = mapping(binding, "metadata", "labels")
    return next((name for prefix in _STACK_LABELS if (name := text(labels, f"{prefix}/stack"))), "")


def is_of_auto_mode(binding: Mapping[str, Any]) -> bool:
    """Whether EKS Auto Mode made a TargetGroupBinding."""
    labels = mapping(binding, "metadata", "labels")
    return any(_AUTO_MODE in key for key in labels if key.startswith(_STACK_LABELS))
