"""What is decided, and the actions that carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.policy.model.alerts import Alert
from controller.policy.model.evidence import Offerings, UnitEvidence
from controller.policy.model.fleet import PlannedFleet
from controller.policy.model.floors import Claim
from controller.policy.model.modes import GuardResult, Verb
from controller.policy.model.routing import Target
from controller.policy.names import Mode
from controller.policy.reasons import Reason, fill


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why. Data only: `plan.plan` turns it into patches."""

    verb: Verb
    mode: Mode | None  # the mode to be in after it; None where the routing is unknown
    reason: Reason
    details: Mapping[str, str]
    evidence: Mapping[str, UnitEvidence]
    guards: tuple[GuardResult, ...]
    targets: tuple[Target, ...] = ()  # the wanted routing action; () where it must be left alone
    stickiness_s: int = 0
    sticky_s: int = 0  # how long clients may stick to the targets that are replaced
    floors: Mapping[str, Claim] = field(default_factory=dict)  # the highest claim by unit: its replicas are the wanted minReplicaCount
    keda_targets: Mapping[str, str] = field(default_factory=dict)  # wanted targetMetricValue by unit
    lowering_allowed: bool = False  # verified and drained: floors may sink
    alerts: tuple[Alert, ...] = ()
    degraded: tuple[str, ...] = ()
    next_check_s: float | None = None  # when time alone may change the decision
    kept: GuardResult | None = None  # why another wanted routing action is not written now, within the mode
    held_back: Verb | None = None  # what the present trigger asks for, while a guard holds it back
    # The offerings to request a capacity reservation of, by unit: each an instance type and a zone.
    probes: Mapping[str, Offerings] = field(default_factory=dict)
    planned: PlannedFleet | None = None  # what strategy planned runs, or would run

    @property
    def answers(self) -> tuple[GuardResult, ...]:
        """The answers of the guards, and why the routing stays although another one is wanted within the mode."""
        return self.guards if self.kept is None else (*self.guards, self.kept)

    @property
    def sentence(self) -> str:
        """The reason's sentence, filled in."""
        return fill(self.reason, self.details)


class ActionKind(StrEnum):
    """What an action does."""

    RAISE_FLOOR = "raise-floor"
    SET_TARGET = "set-target"
    ROUTE = "route"
    LOWER_FLOOR = "lower-floor"


@dataclass(frozen=True, slots=True)
class Action:
    """One change, as a request to the Kubernetes API. Its `body` is sent as it is, or joined to that of another action on the same object.

    `before` and `after` are for people; `deferred` says why it is not due yet ("" where it is). The policy plans a routing action
    without its request, which `controller.routing.conclusion` adds: it writes the values of the decision.
    """

    kind: ActionKind
    namespace: str
    name: str
    before: str
    after: str = ""  # of a routing action: as `RoutingObservation.action` shows it once it is written
    resource: str = ""  # as RBAC names it: "scaledobjects.keda.sh"
    object_kind: str = ""  # as people name it: "ScaledObject"
    content_type: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""
    unit: str = ""
    deferred: str = ""
    mode: Mode | None = None  # of a routing action: the mode that the same request writes


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered actions of one decision. An empty plan is the usual one."""

    application: str
    decision: Decision
    actions: tuple[Action, ...] = ()
    refused: tuple[str, ...] = ()  # what is wanted but left alone, and why (paused ScaledObject, no KEDA)

    @property
    def due(self) -> tuple[Action, ...]:
        """The actions that are to be applied now, in order."""
        return tuple(action for action in self.actions if not action.deferred)

    @property
    def routing(self) -> Action | None:
        """The routing action; None in a plan that leaves the routing as it is."""
        return next((action for action in self.actions if action.kind is ActionKind.ROUTE), None)
