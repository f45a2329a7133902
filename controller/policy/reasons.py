"""The reason of every outcome: one enum member and one sentence, the same in log, Kubernetes Event, Slack, command line and tests.

The sentence may have ``{placeholders}`` that `Decision.sentence` fills from the decision's details. `docs/reasons.md` is generated from
this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why a decision is what it is. The value is the stable machine name."""

    # The mode changes, or the routing does.
    SHORTAGE_PROVEN = "ShortageProven"
    SLO_BREACHED = "SloBreached"
    RETURN_PROVEN = "ReturnProven"
    PINNED_TO_MODE = "PinnedToMode"
    AVAILABILITY_CHANGED = "AvailabilityChanged"
    RESERVATION_ENDS = "ReservationEnds"
    ROUTING_DRIFTED = "RoutingDrifted"
    ROUTING_MISSING = "RoutingMissing"
    ROUTING_TAKEN_OVER = "RoutingTakenOver"
    PREPARING_RETURN = "PreparingReturn"
    ROLLED_BACK = "RolledBack"
    NOTHING_ANSWERS = "NothingAnswers"
    NUDGED = "Nudged"

    # Nothing to do.
    DEMAND_MET = "DemandMet"
    WAITING_IS_NORMAL = "WaitingIsNormal"
    NOTHING_SERVES = "NothingServes"
    EVIDENCE_WITHOUT_DEMAND = "EvidenceWithoutDemand"
    SHORTAGE_SUSPECTED = "ShortageSuspected"

    # A guard holds.
    NOT_LEADER = "NotLeader"
    INGRESS_MISSING = "IngressMissing"
    ROUTING_UNKNOWN = "RoutingUnknown"
    PAUSED = "Paused"
    OVERRIDE_UNREADABLE = "OverrideUnreadable"
    PINNED = "Pinned"
    SIGNALS_STALE = "SignalsStale"
    SIGNALS_CONTRADICT = "SignalsContradict"
    ROUTING_UNVERIFIED = "RoutingUnverified"
    PATIENCE = "Patience"
    CAUSE_NOT_ALLOWED = "CauseNotAllowed"
    SHORTAGE_ABSORBED = "ShortageAbsorbed"
    OTHER_SIDE_SHORT = "OtherSideShort"
    STANDBY_NOT_READY = "StandbyNotReady"
    UNSAFE_SWITCH = "UnsafeSwitch"
    ACTION_REFUSED = "ActionRefused"
    ROUTING_BLOCKED = "RoutingBlocked"
    DWELL = "Dwell"
    FLIP_BUDGET_SPENT = "FlipBudgetSpent"
    RETURN_UNPROVEN = "ReturnUnproven"
    NOT_QUIET = "NotQuiet"
    HOLD_RUNNING = "HoldRunning"
    RESERVATION_ENDING = "ReservationEnding"
    WAITING_FOR_READY = "WaitingForReady"
    REASSERT_BACKOFF = "ReassertBackoff"
    ROUTING_BUDGET_SPENT = "RoutingBudgetSpent"

    # Other weights are wanted, and the present ones stay.
    WEIGHTS_SETTLING = "WeightsSettling"
    WEIGHTS_KEPT = "WeightsKept"
    FIGURES_AWAITED = "FiguresAwaited"


RESTORED: Final = frozenset({Reason.ROUTING_DRIFTED, Reason.ROUTING_MISSING})
"""Why a routing action is written again that somebody changed or deleted."""

SENTENCES: Final[dict[Reason, str]] = {
    Reason.SHORTAGE_PROVEN: "{units} cannot get capacity ({cause}: {codes}) while {pending} pod(s) wait for it",
    Reason.SLO_BREACHED: "{units} cannot get capacity ({cause}: {codes}), and users suffer: {breach}",
    Reason.RETURN_PROVEN: "back to cost mode with {units}: {proof}",
    Reason.PINNED_TO_MODE: "an operator pinned mode {mode}: {why}",
    Reason.AVAILABILITY_CHANGED: "the weights follow what can serve: {change}",
    Reason.RESERVATION_ENDS: "the nodes of Capacity Block {reservation}, which ends at {end}, are drained from {drain} on: {change}",
    Reason.ROUTING_DRIFTED: "the routing action or the mode annotation is not what mode {mode} asks for; last written by {writer}",
    Reason.ROUTING_MISSING: "the Ingress has no routing action, so every request gets a 503; that of mode {mode} is written again",
    Reason.ROUTING_TAKEN_OVER: "the controller writes the routing action for the first time: {change}",
    Reason.PREPARING_RETURN: "capacity for {units} is back; the replicas that cost mode needs come before any traffic moves",
    Reason.ROLLED_BACK: "the load balancer did not show the change to mode {mode} within {waited} ({problem}); it is rolled back",
    Reason.NOTHING_ANSWERS: "no request is answered in mode {mode}: {gone}; the other mode serves",
    Reason.NUDGED: "the load balancer has not shown the routing action for {waited} ({problem}); a nudge makes its controller reconcile",
    Reason.DEMAND_MET: "no pod of any deployment unit waits for a node",
    Reason.NOTHING_SERVES: "no deployment unit has a replica that can serve, and no pod waits for a node",
    Reason.WAITING_IS_NORMAL: "{pending} pod(s) of {units} wait for a node; nothing shows that waiting will not help",
    Reason.EVIDENCE_WITHOUT_DEMAND: "capacity for {units} was refused, but no pod waits for it",
    Reason.SHORTAGE_SUSPECTED: "part of what {units} may have is {part}; the other parts are not proven short",
    Reason.NOT_LEADER: "this replica does not hold the lease",
    Reason.INGRESS_MISSING: "Ingress {ingress} does not exist",
    Reason.ROUTING_UNKNOWN: "the routing action of {ingress} is neither cost nor capacity mode: {problem}",
    Reason.PAUSED: "paused by an operator until {until}: {why}",
    Reason.OVERRIDE_UNREADABLE: "an override cannot be read and counts as a pause ({problem}): correct the annotation, or remove it",
    Reason.PINNED: "pinned to mode {mode} by an operator until {until}: {why}",
    Reason.SIGNALS_STALE: "no fresh signals from {sources}; the last good state is held",
    Reason.SIGNALS_CONTRADICT: "signals contradict each other: {problem}",
    Reason.ROUTING_UNVERIFIED: "the load balancer does not show the last change yet ({problem})",
    Reason.PATIENCE: "shortage of {units} is proven; waiting {remaining} more before acting on it",
    Reason.CAUSE_NOT_ALLOWED: "{units} cannot get capacity, but cause {cause} may not lead to a failover: {codes}",
    Reason.SHORTAGE_ABSORBED: "{units} cannot get capacity (cause {cause}), but {instead}",
    Reason.OTHER_SIDE_SHORT: "{units} cannot get capacity, but no other deployment unit could take over the traffic",
    Reason.STANDBY_NOT_READY: "the receiving side is not ready: {problem}",
    Reason.UNSAFE_SWITCH: "the mode change would drop requests: {problem}",
    Reason.ACTION_REFUSED: "AWS would refuse the routing action: {problem}",
    Reason.ROUTING_BLOCKED: "the load-balancer controller cannot carry out any change now: {problem}",
    Reason.DWELL: "mode {mode} must last {remaining} more",
    Reason.FLIP_BUDGET_SPENT: "{changes} mode changes in the last hour, {limit} are allowed",
    Reason.RETURN_UNPROVEN: "no proof yet that capacity for {units} has returned; a missing signal proves nothing",
    Reason.NOT_QUIET: "{units} got no capacity {age} ago; {remaining} more without a refusal are needed",
    Reason.HOLD_RUNNING: "a fallback pays off only after {hold}; {remaining} left",
    Reason.RESERVATION_ENDING: "{replicas} replica(s) of {units} run in Capacity Block {reservation}, which ends at {end}",
    Reason.WAITING_FOR_READY: "{units} has {ready} of the {needed} ready replicas that cost mode needs at the present demand",
    Reason.REASSERT_BACKOFF: "{writer} changed the routing action; it is written again in {remaining}",
    Reason.ROUTING_BUDGET_SPENT: "{changes} changes of the routing in the last hour, {limit} are allowed; the next in {remaining}",
    Reason.WEIGHTS_SETTLING: "other weights wait {remaining}: until then CloudWatch does not show the effect of the last change",
    Reason.WEIGHTS_KEPT: "other weights are not worth a change: {why}",
    Reason.FIGURES_AWAITED: "the weights stay until {source} has answered once",
}

assert set(SENTENCES) == set(Reason), "every reason has exactly one sentence"  # noqa: S101 - a table, checked at import


class _Known(dict[str, str]):
    """Leaves a placeholder visible where a detail is missing: a wrong sentence must not stop a mode change."""

    def __missing__(self, key: str) -> str:
        return f"<{key}?>"


def fill(reason: Reason, details: Mapping[str, str]) -> str:
    """The reason's sentence with its placeholders filled in."""
    return SENTENCES[reason].format_map(_Known(details))
