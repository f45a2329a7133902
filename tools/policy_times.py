"""The fixed times of the policy, and the causes of a shortage, as tables for docs/configuration.md and docs/decision.md."""

from __future__ import annotations

from typing import Final

from controller.policy import floors, karpenter_times, text
from controller.policy.account import hold, metric_times
from controller.policy.alerts import CLOCKS_APART_S, unit_alerts
from controller.policy.decision import steady
from controller.policy.evidence import offerings, proof
from controller.policy.model import CAUSE_PRECEDENCE, Cause, PolicySettings
from controller.policy.modes import guards
from controller.policy.routing import HEALTH_FRESH_S
from controller.service.election import Timing
from controller.signals import waits
from controller.signals.classify import CODE_CAUSES, CREATE_ERROR_CAUSES

_PERIOD_S: Final = 60  # the default of `metrics.periodSeconds`

_FIXED: Final[tuple[tuple[float, str], ...]] = (
    (karpenter_times.ICE_CACHE_S, "how long Karpenter caches a refused offering and does not request it again"),
    (karpenter_times.ICE_WINDOW_S, "how long a refusal counts as evidence: two such cycles"),
    (karpenter_times.HARD_DEMAND_S, "how long pods must have waited for a proof by age: a cycle, and a minute"),
    (karpenter_times.REPLACEMENT_HOLD_S, "how long a refusal waits before it counts, because it may be for a replacement node"),
    (karpenter_times.CREATE_ERROR_S, "how long a create error must stand before it counts"),
    (guards.DWELL_COST_S, "shortest stay in cost mode"),
    (hold.FLAP_WINDOW_S, "a failover within this time after the last fallback is a flap and doubles the hold"),
    (hold.reassert_pause_s(0), "pause before a foreign edit is undone again, doubled each time"),
    (hold.reassert_pause_s(16), "the longest such pause"),
    (steady.NUDGE_S, "how long the load balancer's rules may differ from the action before its controller is nudged; doubled each time"),
    (Timing().lease_s, "how long a replica waits without a renewal of the Lease before it takes over"),
    (steady.DRAIN_S, "from verification until the other side may scale down"),
    (proof.RETRY_S, "how long Karpenter may take to ask again for what has left its cache; a proof by age waits for that"),
    (offerings.ON_THE_WAY_S, "how long an instance that was launched counts as on its way"),
    (offerings.BINDS_S, "how long it still does once its node is usable"),
    (waits.BREAK_S, "how long nobody may wait before the demand is a new one"),
    (
        unit_alerts.JOINS_S,
        "how long an instance may take to join, and its node to become usable, before the alerts `unjoined/…`, `unusable/…`",
    ),
    (unit_alerts.UNPROVEN_S, "how long a return may be neither proven nor refused before the alert `unproven/…`"),
    (CLOCKS_APART_S, "by how much clocks may differ before the alert `clocks`"),
    (
        metric_times.fresh_s(_PERIOD_S),
        "how old a value of a request counter may be; longer by what the metric period is longer than a minute",
    ),
    (
        metric_times.shown_s(_PERIOD_S),
        "how long CloudWatch may take to show what a change did, and weight is not given back; longer by twice what the metric period is "
        "longer than a minute",
    ),
    (HEALTH_FRESH_S, "how old the load balancer's count of healthy targets may be"),
    (floors.HELD_S, "how long replicas are held while no counter has a value"),
    (metric_times.believed_s(_PERIOD_S), "how long the demand must be known again before that ends; likewise"),
)
"""Times that are no settings, and what they are for."""


def times() -> str:
    """Every time that a decision depends on and that is no setting."""
    rows = ["| time | what it is |", "|---|---|"]
    return "\n".join([*rows, *(f"| {text.duration(seconds)} | {words} |" for seconds, words in _FIXED)])


def causes() -> str:
    """The causes of a shortage, the codes that say so, and whether they lead to a failover by default."""
    rows = [
        "| cause | codes in the event of a refusal | create errors of a NodeClaim | failover by default |",
        "|---|---|---|---|",
    ]
    allowed = PolicySettings().trip_causes
    for cause in CAUSE_PRECEDENCE:
        codes = ", ".join(f"`{code}`" for code, of in CODE_CAUSES.items() if of is cause)
        errors = ", ".join(f"`{code}`" for code, of in CREATE_ERROR_CAUSES.items() if of is cause)
        other = "any other" if cause is Cause.UNKNOWN else ""
        says = "yes" if cause in allowed else "by age only"
        rows.append(f"| {cause} | {codes or other} | {', '.join(filter(None, (errors, other)))} | {says} |")
    passing = ", ".join(f"`{code}`" for code, of in CREATE_ERROR_CAUSES.items() if of is None)
    rows.append(f"| none of them | | {passing} | no: passing trouble, which Karpenter tries again |")
    return "\n".join(rows)
