"""The routing object as observed, and what the load balancer shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from controller.policy.model.modes import Override
from controller.policy.names import Mode


@dataclass(frozen=True, slots=True)
class Target:
    """One weighted Service of a forward action."""

    service: str
    port: int | str
    weight: int


CRITICAL: Final = "critical: "
"""Starts the problem of a verification whose live rule answers requests itself and does not forward them: page someone."""


class Verdict(StrEnum):
    """What the load balancer shows of the routing that the routing object asks for."""

    YES = "yes"
    NOT_YET = "not-yet"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True, slots=True)
class Verification:
    """A signal: the load balancer's rules compared with one action. It counts for that action only."""

    verdict: Verdict
    at: float
    problem: str = ""
    action: str = ""  # `RoutingObservation.action` that was compared; "" where nothing can be compared
    applied: bool = False  # the rules are as the action says, whatever the health of the targets
    weights: Mapping[str, int] = field(default_factory=dict)  # live weights by Service, as far as known
    healthy: Mapping[str, int] = field(default_factory=dict)  # healthy targets by Service, as far as known
    healthy_at: float | None = None  # when those were counted; None: at `at`
    healthy_for_s: float | None = None  # how long they stay valid, where that is longer than usual
    counted: Mapping[str, int] = field(default_factory=dict)  # the last count of each Service, however old, of target groups it still has
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the ARNs of each Service's target groups at `at`
    ill_since: Mapping[str, float] = field(default_factory=dict)  # Services with ready endpoints and no healthy target, and since when

    @property
    def why(self) -> str:
        """`problem`, or that nobody said one: never empty, so that it can follow a colon."""
        return self.problem or "no reason is known"

    @property
    def counted_at(self) -> float:
        """When the healthy targets were counted, seconds since the Unix epoch."""
        return self.at if self.healthy_at is None else self.healthy_at


@dataclass(frozen=True, slots=True)
class OpenGates:
    """A signal: ready pods of a Service whose readiness gate of the load-balancer controller is true.

    It sets a gate once the pod is a healthy target of the gate's target group. `count` has the gates that became true since that target
    group exists, `lately` those of them that did so after the load balancer's targets were counted last.
    """

    count: int
    lately: int = 0


@dataclass(frozen=True, slots=True)
class RoutingObservation:
    """The routing object as observed."""

    exists: bool
    resource_version: str = ""
    uid: str = ""
    marker: str = ""  # value of our mode annotation, "" where absent
    action: str = ""  # the routing action as it is written there, byte for byte: only the routing port reads it
    targets: tuple[Target, ...] = ()
    stickiness_s: int = 0  # 0 = disabled
    settings_elsewhere: bool = False  # other objects state that and the target groups' settings; the controller writes none of them
    problem: str = ""  # why the action could not be read
    unused: str = ""  # why nothing uses the application's part of the object, and how to correct it, in a sentence; "" where it is used
    kept: tuple[tuple[str, str], ...] = ()  # what of the object a write must know: only the routing port reads it
    writer: str = ""  # field manager that last wrote the action
    foreign: bool = False  # that manager is known and is not us
    marked_by: str = ""  # field manager that last wrote the mode annotation, "" where that is us or is not known
    written_by: str = ""  # the installation of the controller that wrote the action last, as it says; "" where none does
    override: Override = field(default_factory=Override)
    blocked: str = ""  # why the load-balancer controller cannot make rules of its routing objects, in its words; "" where it can
    undone: str = ""  # why it could not write the rules to AWS, in its words; "" where it could
    ungranted: tuple[str, ...] = ()  # Services in another namespace that no ReferenceGrant there lets it name
    standby: tuple[str, ...] = ()  # Services that a permanent standby rule keeps registered
    bound: tuple[str, ...] | None = None  # Services that have a target group; None: cannot tell
    capacity_ready: int | None = None  # ready endpoints of the capacity Service
    capacity_exists: bool | None = None
    verification: Verification | None = None
    asked_within_s: float = 0.0  # how long after a change the budget of ELBv2 calls may take to reach it, where that is more than a minute
    gates: Mapping[str, OpenGates] = field(default_factory=dict)  # by Service, of those that have any
    sticky: tuple[str, ...] = ()  # Services whose target groups keep each client on one target

    def marks(self, mode: Mode) -> bool:
        """Whether the mode annotation says a mode, or is absent: before its first write the controller has not put it there."""
        return self.marker in {"", str(mode)}

    @property
    def present_verification(self) -> Verification | None:
        """The verification of the present action; None where the load balancer has not been asked about it yet."""
        seen = self.verification
        return None if seen is None or seen.action not in {"", self.action} else seen
