"""The reason of every outcome: one row each, the same in log, Kubernetes Event, Slack, command line and tests.

`Decision.sentence` fills the placeholders from the decision's details. `docs/reasons.md` is generated from this table and that of alerts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Self

CRITICAL: Final = "critical"
WARNING: Final = "warning"
INFO: Final = "info"

_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Row(StrEnum):
    """A row of a table. Its value is the stable machine name.

    Attributes:
        sentence: With ``{placeholders}`` for details.
        runbook: The page of docs/runbooks that says what to do, "" where nothing is to be done.
        severity: Of the alert about it; "" where it raises none.
        subject: What the subject of its alerts names, in words, the unit first; "" where an application has one alert of it.
        heading: The title of the messages about its alerts, with ``{0}`` and ``{1}`` for the parts of the subject; "": its name in words.
    """

    sentence: str
    runbook: str
    severity: str
    subject: str
    heading: str

    def __new__(cls, name: str, sentence: str = "", runbook: str = "", severity: str = "", subject: str = "", heading: str = "") -> Self:
        """One member of a table, as it is written there."""
        made = str.__new__(cls, name)
        made._value_ = name
        made.sentence, made.runbook, made.severity, made.subject, made.heading = sentence, runbook, severity, subject, heading
        return made

    @property
    def key(self) -> str:
        """What the keys of its alerts begin with, before their subject."""
        return str(self)

    @property
    def reason(self) -> str:
        """The name of its messages, in CamelCase like the reasons of Kubernetes Events."""
        return str(self)

    def headed(self, subject: Sequence[str]) -> str:
        """The title of a message about its alert. A subject that an older version stored may have fewer parts."""
        return self.heading.format(*subject, "?", "?") or _HUMP.sub(" ", self).lower()


class _Known(dict[str, str]):
    """Leaves a placeholder visible where a detail is missing: a wrong sentence must not stop a mode change."""

    def __missing__(self, key: str) -> str:
        return f"<{key}?>"


def fill(row: Row, details: Mapping[str, str]) -> str:
    """The row's sentence with its placeholders filled in."""
    return row.sentence.format_map(_Known(details))


class Reason(Row):
    """Why a decision is what it is. A reason with a severity raises an alert where its guard holds a change."""

    # The mode changes, or the routing does.
    SHORTAGE_PROVEN = ("ShortageProven", "{units} cannot get capacity ({cause}: {codes}) while {pending} pod(s) wait for it", "failed-over")
    SLO_BREACHED = ("SloBreached", "{units} cannot get capacity ({cause}: {codes}), and users suffer: {breach}", "failed-over")
    RETURN_PROVEN = ("ReturnProven", "back to cost mode with {units}: {proof}")
    PINNED_TO_MODE = ("PinnedToMode", "an operator pinned mode {mode}: {why}")
    AVAILABILITY_CHANGED = ("AvailabilityChanged", "the weights follow what can serve: {change}")
    RESERVATION_ENDS = (
        "ReservationEnds",
        "the nodes of Capacity Block {reservation}, which ends at {end}, are drained from {drain} on: {change}",
    )
    ROUTING_DRIFTED = (
        "RoutingDrifted",
        "the routing action or the mode annotation is not what mode {mode} asks for; last written by {writer}",
        "somebody-else-writes",
    )
    ROUTING_MISSING = (
        "RoutingMissing",
        "there is no routing action, so every request gets an error; that of mode {mode} is written again",
        "somebody-else-writes",
    )
    ROUTING_TAKEN_OVER = ("RoutingTakenOver", "the controller writes the routing action for the first time: {change}")
    PREPARING_RETURN = ("PreparingReturn", "capacity for {units} is back; the replicas that cost mode needs come before any traffic moves")
    ROLLED_BACK = (
        "RolledBack",
        "the load balancer did not show the change to mode {mode} within {waited} ({problem}); it is rolled back",
        "load-balancer-does-not-follow",
    )
    NOTHING_ANSWERS = ("NothingAnswers", "no request is answered in mode {mode}: {gone}; the other mode serves", "failed-over")
    NUDGED = (
        "Nudged",
        "{problem}: a nudge makes the load-balancer controller reconcile",
    )

    # Nothing to do.
    DEMAND_MET = ("DemandMet", "no pod of any deployment unit waits for a node")
    WAITING_IS_NORMAL = ("WaitingIsNormal", "{pending} pod(s) of {units} wait for a node; nothing shows that waiting will not help")
    NOTHING_SERVES = ("NothingServes", "no deployment unit has a replica that can serve, and no pod waits for a node")
    EVIDENCE_WITHOUT_DEMAND = ("EvidenceWithoutDemand", "capacity for {units} was refused, but no pod waits for it")
    SHORTAGE_SUSPECTED = ("ShortageSuspected", "part of what {units} may have is {part}; the other parts are not proven short")

    # A guard holds.
    NOT_LEADER = ("NotLeader", "this replica does not hold the lease")
    ROUTING_OBJECT_MISSING = ("RoutingObjectMissing", "{object} does not exist", "somebody-else-writes", CRITICAL)
    ROUTING_UNKNOWN = (
        "RoutingUnknown",
        "the routing action of {object} is neither cost nor capacity mode: {problem}",
        "somebody-else-writes",
        CRITICAL,
    )
    PAUSED = ("Paused", "paused by an operator until {until}: {why}")
    OVERRIDE_UNREADABLE = (
        "OverrideUnreadable",
        "an override cannot be read and counts as a pause ({problem}): correct the annotation, or remove it",
        "failover-is-held",
        CRITICAL,
    )
    PINNED = ("Pinned", "pinned to mode {mode} by an operator until {until}: {why}")
    SIGNALS_STALE = ("SignalsStale", "no fresh signals from {sources}; the last good state is held", "signals-are-missing", WARNING)
    SIGNALS_CONTRADICT = ("SignalsContradict", "signals contradict each other: {problem}", "signals-are-missing", WARNING)
    ROUTING_UNVERIFIED = ("RoutingUnverified", "the load balancer does not show the last change yet ({problem})")
    PATIENCE = ("Patience", "shortage of {units} is proven; waiting {remaining} more before acting on it")
    CAUSE_NOT_ALLOWED = (
        "CauseNotAllowed",
        "{units} cannot get capacity, but cause {cause} may not lead to a failover: {codes}",
        "capacity-is-short",
        WARNING,
    )
    SHORTAGE_ABSORBED = ("ShortageAbsorbed", "{units} cannot get capacity (cause {cause}), but {instead}", "capacity-is-short", WARNING)
    OTHER_SIDE_SHORT = (
        "OtherSideShort",
        "{units} cannot get capacity, but no other deployment unit could take over the traffic",
        "capacity-is-short",
        CRITICAL,
    )
    STANDBY_NOT_READY = ("StandbyNotReady", "the receiving side is not ready: {problem}", "failover-is-held", CRITICAL)
    UNSAFE_SWITCH = ("UnsafeSwitch", "the mode change would drop requests: {problem}", "failover-is-held", CRITICAL)
    ACTION_REFUSED = ("ActionRefused", "AWS would refuse the routing action: {problem}", "failover-is-held", CRITICAL)
    ROUTING_BLOCKED = (
        "RoutingBlocked",
        "the load-balancer controller cannot carry out any change now: {problem}",
        "load-balancer-does-not-follow",
        CRITICAL,
    )
    DWELL = ("Dwell", "mode {mode} must last {remaining} more")
    FLIP_BUDGET_SPENT = (
        "FlipBudgetSpent",
        "{changes} mode changes in the last hour, {limit} are allowed",
        "too-many-mode-changes",
        CRITICAL,
    )
    RETURN_UNPROVEN = ("ReturnUnproven", "waiting for proof that {units} can get capacity again")
    NOT_QUIET = ("NotQuiet", "{units} got no capacity {age} ago; {remaining} more without a refusal are needed")
    HOLD_RUNNING = ("HoldRunning", "a fallback pays off only after {hold}; {remaining} left")
    RESERVATION_ENDING = ("ReservationEnding", "{replicas} replica(s) of {units} run in Capacity Block {reservation}, which ends at {end}")
    WAITING_FOR_READY = ("WaitingForReady", "{units} has {ready} of the {needed} ready replicas that cost mode needs at the present demand")
    REASSERT_BACKOFF = ("ReassertBackoff", "{writer} changed the routing action; it is written again in {remaining}")
    ROUTING_BUDGET_SPENT = (
        "RoutingBudgetSpent",
        "{changes} changes of the routing in the last hour, {limit} are allowed; the next in {remaining}",
    )

    # Other weights are wanted, and the present ones stay.
    WEIGHTS_SETTLING = (
        "WeightsSettling",
        "other weights wait {remaining}: until then CloudWatch does not show the effect of the last change",
    )
    WEIGHTS_KEPT = ("WeightsKept", "other weights are not worth a change: {why}")
    FIGURES_AWAITED = ("FiguresAwaited", "the weights stay until {source} has answered once")

    @property
    def key(self) -> str:
        """Alerts of this table say which guard's reason holds a change."""
        return f"held/{self}"


RESTORED: Final = frozenset({Reason.ROUTING_DRIFTED, Reason.ROUTING_MISSING})
"""Why a routing action is written again that somebody changed or deleted."""


class ClaimReason(StrEnum):
    """Why a unit is to have at least some replicas. The value is the stable machine name."""

    FILE = "file"
    FOUND = "found"
    IN_USE = "in-use"
    NEEDED = "needed"
    MISSING = "missing"
    PROBE = "probe"
    BLOCK = "block"
    HELD = "held"
    FLEET = "fleet"
    FLEET_WAITS = "fleet-waits"
    WEIGHTED = "weighted"


CLAIMS: Final[Mapping[ClaimReason, str]] = {
    ClaimReason.FILE: "the application file asks for them",
    ClaimReason.FOUND: "somebody else set this floor on the ScaledObject",
    ClaimReason.IN_USE: "the present demand keeps them in use, so the raised floor sinks no further",
    ClaimReason.NEEDED: "cost mode needs them at the present demand",
    ClaimReason.MISSING: "they carry a part of the demand that the ready replicas cannot carry",
    ClaimReason.PROBE: "one replica more than are ready asks for capacity again",
    ClaimReason.BLOCK: "a Capacity Block ends soon, and until then no floor sinks",
    ClaimReason.HELD: "no request counter has a value, so replicas stay",
    ClaimReason.FLEET: "the cheapest fleet has them",
    ClaimReason.FLEET_WAITS: "the cheapest fleet has fewer, and nothing lets the floor sink yet",
    ClaimReason.WEIGHTED: "the unit still has a weight, and its last replica goes after that",
}

assert set(CLAIMS) == set(ClaimReason), "every claim has exactly one sentence"  # noqa: S101 - a table, checked at import
