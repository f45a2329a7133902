"""The values that the policy reads and returns, by the room that they belong to; for everybody.

All times are seconds since the Unix epoch, all durations seconds, all prices US dollars per hour. Throughput and demand are in
requests per metric period (what the AWS sample calls RPS: the sum of a unit's counter over one CloudWatch period).
Tuples, not lists: what a decision was made from cannot change afterwards.
"""

from controller.policy.model.account import Held, Price, PriceSource, Reservation, Sample
from controller.policy.model.alerts import Alert
from controller.policy.model.application import (
    CAUSE_PRECEDENCE,
    Application,
    Backend,
    CapacityWeights,
    Cause,
    PlannedMode,
    PolicySettings,
    ReturnProbe,
    Route,
    RoutingStyle,
    Unit,
    WeightStrategy,
    WorkloadKind,
)
from controller.policy.model.decision import Action, ActionKind, Decision, Plan
from controller.policy.model.evidence import (
    Launch,
    Offerings,
    PendingPod,
    PoolObservation,
    ProbeAnswer,
    Proof,
    Refusal,
    Return,
    Shortage,
    UnitEvidence,
    UnitMemory,
)
from controller.policy.model.fleet import Candidates, Damping, DemandHistory, Fleet, Needs, NotedDemand, Outcome, PlannedFleet
from controller.policy.model.floors import (
    NOTHING_REMEMBERED,
    SCALE_IN_S,
    Claim,
    FloorMemory,
    Scaler,
    ScalerMetric,
    ScalerWrite,
    SinkingFloor,
)
from controller.policy.model.memory import Memory
from controller.policy.model.modes import NEVER, GuardResult, ModeChange, Override, Verb
from controller.policy.model.moments import moved, none_ahead
from controller.policy.model.routing import CRITICAL, OpenGates, RoutingObservation, Target, Verdict, Verification
from controller.policy.model.snapshot import OFFERINGS_SOURCE, QUEUE_SOURCE, Snapshot, Source, UnitObservation
from controller.policy.names import Mode, Strategy

__all__ = [
    "CAUSE_PRECEDENCE",
    "CRITICAL",
    "NEVER",
    "NOTHING_REMEMBERED",
    "OFFERINGS_SOURCE",
    "QUEUE_SOURCE",
    "SCALE_IN_S",
    "Action",
    "ActionKind",
    "Alert",
    "Application",
    "Backend",
    "Candidates",
    "CapacityWeights",
    "Cause",
    "Claim",
    "Damping",
    "Decision",
    "DemandHistory",
    "Fleet",
    "FloorMemory",
    "GuardResult",
    "Held",
    "Launch",
    "Memory",
    "Mode",
    "ModeChange",
    "Needs",
    "NotedDemand",
    "Offerings",
    "OpenGates",
    "Outcome",
    "Override",
    "PendingPod",
    "Plan",
    "PlannedFleet",
    "PlannedMode",
    "PolicySettings",
    "PoolObservation",
    "Price",
    "PriceSource",
    "ProbeAnswer",
    "Proof",
    "Refusal",
    "Reservation",
    "Return",
    "ReturnProbe",
    "Route",
    "RoutingObservation",
    "RoutingStyle",
    "Sample",
    "Scaler",
    "ScalerMetric",
    "ScalerWrite",
    "Shortage",
    "SinkingFloor",
    "Snapshot",
    "Source",
    "Strategy",
    "Target",
    "Unit",
    "UnitEvidence",
    "UnitMemory",
    "UnitObservation",
    "Verb",
    "Verdict",
    "Verification",
    "WeightStrategy",
    "WorkloadKind",
    "moved",
    "none_ahead",
]
