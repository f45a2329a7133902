"""The table of alerts and of other messages about the controller: one row each, with its sentence, its runbook and its severity.

A sentence says what happened, what it means for requests and dollars, and what to do. `docs/reasons.md` is generated from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.policy.reasons import CRITICAL, INFO, WARNING, Reason, Row


@dataclass(frozen=True, slots=True)
class Found:
    """What an alert is about, as a function of the table of alerts finds it.

    Attributes:
        details: For the sentence.
        subject: What tells it from other alerts of its row, beside the unit of an alert about a unit.
        severity: Where it is not the row's; "" where it is.
    """

    details: Mapping[str, str]
    subject: tuple[str, ...] = ()
    severity: str = ""


class AlertKind(Row):
    """What the controller reports to people beside decisions."""

    @property
    def reason(self) -> str:
        """The name of its messages: ``mostly-short`` is ``MostlyShort``."""
        return self.title().replace("-", "")

    # What is observed.
    ABSENT = (
        "absent",
        "{source} cannot be observed, so no shortage is seen and no failover comes: {why}. Repair it: `failoverctl doctor` says how",
        "signals-are-missing",
        CRITICAL,
        "source",
        "{0} cannot be observed",
    )
    KARPENTER_METRICS = (
        "karpenter-metrics",
        "Karpenter's metrics cannot be read ({problem}), so refusals alone prove a shortage and a failover can come later: "
        "correct or remove karpenter.metrics_url",
        "signals-are-missing",
        WARNING,
        "",
        "Karpenter's metrics cannot be read",
    )
    REFUSAL_QUEUE = (
        "refusal-queue",
        "the queue of EC2's refusals cannot be read ({problem}), so Karpenter's events alone name what is refused and a failover can come "
        "later: correct or remove aws.refusal_queue_url",
        "signals-are-missing",
        WARNING,
        "",
        "the queue of EC2's refusals cannot be read",
    )
    CLOCKS = (
        "clocks",
        "this node's clock is {skew} {where} the cluster's. Decisions follow the cluster's; times in logs do not match: "
        "check the time synchronization (chrony) of the node that the controller runs on",
        "signals-are-missing",
        WARNING,
        "",
        "this node's clock differs from the cluster's",
    )
    COUNTERS = (
        "counters",
        "no counter of any unit has a value from the last {waited}. KEDA takes that for no demand, so the replicas are held, and paid for, "
        "for {left}: check that CloudWatch answers",
        "signals-are-missing",
        WARNING,
        "",
        "no demand is measured",
    )
    SILENT = (
        "silent",
        "{unit}: pods wait {waited}, and {why}. Nothing proves a shortage, so requests meant for them wait and no failover comes: {fix}",
        "signals-are-missing",
        WARNING,
        "unit",
        "{0} waits for nodes, and nothing says why",
    )

    HARMFUL_OVERRIDE = (
        "harmful-override",
        "{what} does harm: {harm}. If that is not wanted, run: failoverctl resume {application}",
        "failover-is-held",
        CRITICAL,
        "",
        "an override does harm",
    )

    # What a unit cannot get.
    CONFIG = (
        "config",
        "{unit}: pods wait {waited} because NodePool {pool} has no compatible instance type. EC2 refused none, so no failover comes: "
        "correct the NodePool's requirements",
        "capacity-is-short",
        WARNING,
        "unit",
        "the NodePool of {0} has no compatible instance type",
    )
    CAUSE = ("cause", "{unit}: {problem}", "capacity-is-short", CRITICAL, "unit/cause", "{0} gets no nodes ({1})")
    RESERVATION = (
        "reservation",
        "{unit}: Capacity Block {reservation} ends at {end}; {nodes} of its {of} node(s) run in it. Karpenter drains them from {drained} "
        "on, and traffic moves at {moves}: extend the block, or let NodePool {pool} launch something else by then",
        "capacity-is-short",
        WARNING,
        "unit/reservation",
        "Capacity Block {1} of {0} ends soon",
    )
    RESERVATION_END = (
        "reservation-end",
        "{unit}: nodes run in Capacity Block {reservations}, and EC2 has not said when it ends. No traffic moves before it ends, so "
        "requests can be lost then: allow ec2:DescribeCapacityReservations (docs/aws.md)",
        "capacity-is-short",
        WARNING,
        "unit",
        "nobody has said when the Capacity Block of {0} ends",
    )
    RESERVED = (
        "reserved",
        "{unit}: pods wait because NodePool {pool} launches only into reservations, and no active one has a free instance{ended}: buy or "
        "extend a reservation and select it in the EC2NodeClass (capacityReservationSelectorTerms), or add on-demand to the NodePool's "
        "requirement karpenter.sh/capacity-type",
        "capacity-is-short",
        CRITICAL,
        "unit",
        "no reservation has a free instance for {0}",
    )
    MOSTLY_SHORT = (
        "mostly-short",
        "{count} of {units} units get no capacity ({short}), and no mode change helps: {rest}. Requests beyond its replicas wait: allow "
        "more zones or instance types, or add another accelerator",
        "capacity-is-short",
        CRITICAL,
        "",
        "most units get no capacity",
    )
    UNJOINED = (
        "unjoined",
        "{unit}: {count} launched and never became a node, the last one {ago} ago ({claim}). It costs money and serves nothing: check "
        "image, user data, node role and security groups of NodePool {pool}",
        "nodes-do-not-join",
        CRITICAL,
        "unit",
        "nodes of {0} launch and do not join",
    )
    UNUSABLE = (
        "unusable",
        "{unit}: {count} not usable, the last one for {ago} ({claim}), while {pending} pod(s) wait. Karpenter counts on it and launches "
        "nothing else. Its condition Initialized says what is missing: check the device plugin and the startup taints of NodePool {pool}",
        "nodes-do-not-join",
        CRITICAL,
        "unit",
        "a node of {0} joined and is not usable",
    )
    UNPROVEN = (
        "unproven",
        "{unit}: its return has been neither proven nor refused for {quiet}, so capacity mode goes on, and its price. {why}, or pin cost "
        "mode",
        "capacity-mode-lasts",
        WARNING,
        "unit",
        "nothing proves that capacity for {0} is back",
    )

    # Replicas.
    MAX = (
        "max",
        "{unit}: cost mode needs {wanted} replicas at the present demand, and its maximum is {most}. Requests beyond that wait: raise "
        "maxReplicas",
        "replicas-do-not-follow",
        WARNING,
        "unit",
        "{0} has all the replicas that it may have",
    )
    FIXED = (
        "fixed",
        "{unit}: the way back to cost mode waits for {needed} replicas, its {kind} asks for {asked}, and {why}. Capacity mode, and its "
        "price, go on: set them by hand",
        "replicas-do-not-follow",
        WARNING,
        "unit",
        "the replicas of {0} do not follow",
    )
    MISSING = (
        "missing",
        "{unit}: {kind} {name} does not exist, so {means}. Create it, or correct {field} in the application file",
        "an-object-is-missing",
        WARNING,
        "unit/kind",
        "the {1} of {0} does not exist",
    )
    UNHEALTHY = (
        "unhealthy",
        "{unit}: the load balancer calls none of {ready} ready replica(s) healthy, so they cost money and get no traffic: compare the "
        "target group's health check with the readiness probe",
        "replicas-do-not-follow",
        WARNING,
        "unit",
        "no ready replica of {0} is a healthy target",
    )
    SCALER = (
        "scaler",
        "{unit}: its replicas do not follow the demand, so requests wait or idle replicas cost money. Repair ScaledObject {scaler}: "
        "{trouble}",
        "replicas-do-not-follow",
        WARNING,
        "unit",
        "the ScaledObject of {0} does not scale",
    )
    LEFT = (
        "left",
        "ScaledObject {name} keeps the minReplicaCount {present} that the controller raised from {before}: no unit names it any more, so "
        "nothing lowers it and its pods cost money. If they are not needed, run: {command}",
        "replicas-do-not-follow",
        WARNING,
        "ScaledObject",
        "ScaledObject {0} keeps a raised floor",
    )
    CONTESTED = (
        "contested",
        "{change} was written {times} times, and each time another writer put it back, so replicas do not follow the mode: take the field "
        "out of what the GitOps tool manages (`failoverctl doctor` names it)",
        "somebody-else-writes",
        WARNING,
        "unit/field",
        "another writer puts {1} of {0} back",
    )

    # The routing.
    UNPREPARED = (
        "unprepared",
        "{problem}, so the controller would not change the mode and requests would fail in a shortage: {fix}",
        "failover-is-held",
        WARNING,
        "what is missing",
        "a mode change is not prepared",
    )
    BLACKHOLE = (
        "blackhole",
        "{share} requests get errors now: {problem}. Restore the action or the Service that is missing: `failoverctl doctor` names it",
        "load-balancer-answers-503",
        CRITICAL,
        "",
        "requests get errors",
    )
    UNVERIFIED = (
        "unverified",
        "the load balancer {verdict} the routing action written {ago} ago: {problem}. Requests may still go where they went before: read "
        "the events of the Ingress or the Gateway, and the load-balancer controller's log",
        "load-balancer-does-not-follow",
        CRITICAL,
        "",
        "the load balancer does not follow",
    )
    BLOCKED = (
        "blocked",
        "the load-balancer controller cannot carry out any change now, so a mode change would move no request: {problem}. Correct what "
        "it names",
        "load-balancer-does-not-follow",
        WARNING,
        "",
        "the load-balancer controller is blocked",
    )
    FIGHTING = (
        "fighting",
        "the controller restored the routing action {times} times; {who} keeps changing it, and requests follow the last writer: exempt "
        "the annotation there (`failoverctl doctor --gitops`), or pause the controller",
        "somebody-else-writes",
        CRITICAL,
        "",
        "another writer changes the routing action",
    )
    RIVAL = (
        "rival",
        "the controller in namespace {other} wrote the routing action last, and this one is in {ours}: two of them move the same requests, "
        "each by its own memory. Remove the application file from one of them. If the other is gone, remove the annotation "
        "failoverctl.dev/written-by",
        "somebody-else-writes",
        WARNING,
        "",
        "another installation writes the routing action",
    )

    # The controller's own work.
    ACTION_FAILED = (
        "action-failed",
        "tried {times} times without success: {what}. Requests and replicas stay as they are: compare the Role with docs/permissions.md",
        "the-controller-cannot-write",
        CRITICAL,
        "",
        "a change cannot be written",
    )
    STATE_UNSAVED = (
        "state-unsaved",
        "a restart would lose history, hold and dwell, because the memory cannot be saved: {problem}. Compare the Role with "
        "docs/permissions.md",
        "the-controller-cannot-write",
        WARNING,
        "",
        "the memory cannot be saved",
    )
    LEASE_LOST = (
        "lease-lost",
        "no replica can renew the Lease, so the controller changes nothing and requests go where they go now: check the API server and "
        "the Role",
        "no-leader",
        CRITICAL,
        "",
        "no replica leads",
    )
    BUDGET_TOO_SMALL = (
        "budget-too-small",
        "{load}, so mode changes are verified late: {remedy}",
        "signals-are-missing",
        WARNING,
        "",
        "too few calls to verify in time",
    )
    NOTIFIER_DEAD = (
        "notifier-dead",
        "{problem}. Mode changes are not affected; every new message is tried again: check the sink's address and secret",
        "messages-do-not-arrive",
        WARNING,
        "sink",
        "{0} delivers no messages",
    )
    CONFIG_REFUSED = ("config-refused", "{problem}", "configuration-is-refused", WARNING, "", "applications are refused")
    LEFT_REMOVED = (
        "left-removed",
        "the application is not configured any more, so nothing lowers the minReplicaCount that the controller raised, and its pods cost "
        "money: {floors}",
        "replicas-do-not-follow",
        WARNING,
        "",
        "floors stay raised",
    )

    # What people did.
    CONFIG_RELOADED = ("config-reloaded", "{count} application(s)", "", INFO, "", "applications were changed")
    REMOVED = (
        "removed",
        "the application is not configured any more; its routing stays in capacity mode",
        "",
        INFO,
        "",
        "no longer configured",
    )
    OVERRIDE = ("override", "{why}", "failover-is-held", INFO, "", "an override changed")


ROWS: Final[Mapping[str, Row]] = {row.key: row for row in (*AlertKind, *Reason)}
"""The rows of both tables, by the beginning of the keys of their alerts."""


def of_key(key: str) -> tuple[Row, tuple[str, ...]] | None:
    """The row and the subject that make an alert's key; None where this version has no such row."""
    code, *subject = (key,) if key in ROWS else key.split("/")
    return (ROWS[code], tuple(subject)) if code in ROWS else None
