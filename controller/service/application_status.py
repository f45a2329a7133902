"""The status of one application as plain JSON values: part of what its object and the HTTP endpoint show."""

from __future__ import annotations

from typing import Any

from controller.clock import format_rfc3339
from controller.foreign import decode
from controller.policy.account import Ledger
from controller.policy.model import Claim, Decision, Mode, Price, Snapshot
from controller.policy.reasons import CLAIMS
from controller.policy.strategies import part_of


def status_of(snapshot: Snapshot, decision: Decision, mode: Mode | None, ledger: Ledger) -> dict[str, Any]:
    """The status of one application as plain JSON values, without what `failoverctl status` observes itself.

    Args:
        snapshot: What was observed.
        decision: What was decided.
        mode: The mode that stands after it; None where it is not known.
        ledger: The account.
    """
    return {
        "mode": str(mode) if mode else None,
        "verb": str(decision.verb),
        "reason": str(decision.reason),
        "why": decision.sentence,
        "at": format_rfc3339(snapshot.now),
        "alerts": [alert.text for alert in decision.alerts],
        "degraded": list(decision.degraded),
        "ledger": _account(ledger),
        **_prices(snapshot),
        **part_of(snapshot.application.policy).document(decision),
    }


def _prices(snapshot: Snapshot) -> dict[str, Any]:
    """The prices that do not come from the application file, or that were not plausible: the key ``prices``; nothing without any."""
    found = {name: one.price for name, one in snapshot.units.items()}
    said = {name: price_document(one) for name, one in found.items() if one is not None and (one.at is not None or one.problem)}
    return {"prices": said} if said else {}


def price_document(price: Price | None) -> dict[str, Any] | None:
    """What a replica of a unit costs and who says so, as a part of a JSON document; None where it is not known."""
    if price is None:
        return None
    read_at = None if price.at is None else format_rfc3339(price.at)
    return {"dollarsPerHour": price.dollars, "source": str(price.source), "readAt": read_at, "problem": price.problem}


def floor_document(claim: Claim | None) -> dict[str, Any] | None:
    """The floor of a unit and who claims it, as a part of a JSON document; None where no floor is decided."""
    if claim is None:
        return None
    until = None if claim.until is None else format_rfc3339(claim.until)
    return {"replicas": claim.replicas, "claim": claim.reason, "why": CLAIMS[claim.reason], "until": until}


def _comparison(ledger: Ledger) -> dict[str, Any]:
    """What the replicas cost beside other fleets; nothing without strategy `planned`."""
    if not ledger.compared_s:
        return {}
    return {
        "compared": {
            "seconds": round(ledger.compared_s),
            "spendDollars": round(ledger.compared_spend, 2),
            "weightsDollars": round(ledger.weights_spend, 2),
            "optimumDollars": round(ledger.least_spend, 2),
        }
    }


def _account(ledger: Ledger) -> dict[str, Any]:
    """What the modes cost and saved since this replica began to lead, in US dollars and seconds."""
    return {
        "seconds": {str(mode): round(value) for mode, value in ledger.seconds.items()},
        "requests": {str(mode): round(value) for mode, value in ledger.requests.items()},
        "spendDollars": round(ledger.spend, 2),
        "savedDollars": round(ledger.saved, 2),
        "premiumDollars": round(ledger.premium, 2),
        "exposedMinutes": round(ledger.exposed_minutes, 1),
        "probingMinutes": round(ledger.probing_s / 60, 1),
        "probeDollars": round(ledger.probe_dollars, 2),
        **_comparison(ledger),
        "switches": ledger.mode_changes,
        "calls": {service: round(count, 1) for service, count in sorted(ledger.calls.items())},
    }


def json_object(stored: str) -> dict[str, Any] | None:
    """The object that is stored as JSON in a ConfigMap; None where it is none.

    Anyone may have edited it: it is bounded like an object of the API server, and its fields may be of any type.
    """
    try:
        found = decode((stored or "null").encode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
