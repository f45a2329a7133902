"""The state of one unit in a word or two, the same in `status`, `plan` and on the page."""

from __future__ import annotations

from controller.policy import text
from controller.policy.account import latency_breach, total_demand
from controller.policy.model import Shortage, Snapshot, UnitEvidence
from controller.policy.routing import healthy_targets


def unit_state(snapshot: Snapshot, judged: UnitEvidence) -> tuple[str, str]:
    """Style and text for the state of one unit. It is good only where nothing that is known of it is bad.

    Args:
        snapshot: What is observed.
        judged: What is proven of the unit.
    """
    if judged.shortage is Shortage.PROVEN:
        return "bad", f"gets no nodes ({judged.cause}), proven: {judged.proof}"
    if judged.shortage is Shortage.SUSPECTED:
        if not judged.attempts:
            return "warn", "NodePool at its limit"
        missing = f"; not refused yet: {text.listing(judged.missing)}" if judged.missing else ""
        return "warn", f"partly refused ({judged.cause}){missing}" if judged.demand else f"refused ({judged.cause}), no pod waits"
    if judged.last_refusal_at is not None:
        return "warn", f"was short; return: {judged.returned}"
    if judged.demand:
        return "warn", "waiting for a node"
    observed = snapshot.units[judged.unit]
    if observed.ready is None or observed.desired is None:
        return "unknown", "replicas not known"
    if slow := latency_breach(snapshot, [judged.unit]):
        return "warn", slow
    if judged.ready < observed.desired:
        return "warn", f"{judged.ready} of {observed.desired} replicas ready"
    if judged.ready < judged.needed:
        return "warn", f"{judged.ready} of {judged.needed} needed replicas ready"
    targets = healthy_targets(snapshot).get(snapshot.application.unit(judged.unit).backend.service, judged.ready)
    if targets < judged.ready:
        return "warn", f"{targets} of {judged.ready} targets healthy"
    return "good", "demand met" if total_demand(snapshot) is not None else "no pod waits"
