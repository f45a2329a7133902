"""The status of one application, stored beside its memory: `failoverctl status` shows it without reaching the pod."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.clock import Clock, format_rfc3339
from controller.foreign import decode, shown
from controller.objects import text
from controller.policy.account import Ledger
from controller.policy.alert_kinds import of_key
from controller.policy.memory import standing_mode
from controller.policy.model import Alert, Claim, Decision, Memory, Mode, Price, Snapshot
from controller.policy.reasons import CLAIMS
from controller.policy.strategies import part_of
from controller.ports import Severity

SOONEST_S: Final = 60.0
"""Shortest time between two writes of an application that only its status needs, seconds."""
CHANGED_S: Final = 0.3
"""The same for each application of the fleet, seconds: where all differ, a thousand write 3 a second."""
ALERTS_SOONEST_S: Final = 5.0
"""As `SOONEST_S` where the alerts that people know of differ, seconds: a process that dies before cannot leave them to the next leader."""
ALERTS_S: Final = 0.1
"""As `CHANGED_S` then, seconds: where all differ, a thousand write 10 a second."""
ACCOUNT_S: Final = 3.6
"""Time for each application of the fleet between two writes that only its account needs, seconds: a thousand an hour over the fleet.
Each has a moment of its own in that period, so that they are as many at any time, however the applications began."""

STATUS: Final = "status"
"""The key of the status beside the memory."""
ALERTS: Final = "alerts"
"""The key of the alerts that people know of, so that the next leader can tell them of the end of one."""
_MAX_ALERTS: Final = 100
_MAX_ALERT: Final = 1000  # characters
_SEVERITIES: Final = frozenset(str(one) for one in Severity)


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


def alerts_text(alerts: Iterable[Alert]) -> str:
    """Alerts as JSON, for `stored_alerts`."""
    return json.dumps({one.key: {"severity": one.severity, "text": one.text} for one in alerts})


def json_object(stored: str) -> dict[str, Any] | None:
    """The object that is stored as JSON in a ConfigMap; None where it is none.

    Anyone may have edited it: it is bounded like an object of the API server, and its fields may be of any type.
    """
    try:
        found = decode((stored or "null").encode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def stored_alerts(stored: str) -> tuple[Alert, ...]:
    """The alerts that people knew of when the memory was stored. What is not understood is left out.

    Args:
        stored: See `alerts_text`; "" for none.
    """
    known = json_object(stored) or {}
    return tuple(
        Alert(*row, shown(text(one, "text"), _MAX_ALERT), severity)
        for key, one in list(known.items())[:_MAX_ALERTS]
        if isinstance(one, dict) and (severity := text(one, "severity")) in _SEVERITIES and (row := of_key(shown(key)))
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a status is made of, and by key the alerts that people know of."""

    snapshot: Snapshot
    decision: Decision
    ledger: Ledger
    alerts: Mapping[str, Alert]


class ApplicationStatus:
    """The latest status of an application, and when it is worth a write of its own. Every write of the memory carries it anyway.

    A status whose mode, verb, reason or missing sources differ from what is stored is due sooner than one that merely counts: its account,
    and the times within sentences. One whose alerts differ is due sooner still. All wait the longer the larger the fleet is, so that the
    writes stay few at any size.

    Args:
        application: The application's key.
        clock: The clock.
        fleet: The number of applications.
        elsewhere: Whether people read the status in the application's object. Then only the alerts are stored beside the memory.
    """

    def __init__(self, application: str, clock: Clock, fleet: Callable[[], int], *, elsewhere: bool = False) -> None:
        self._clock, self._fleet, self._elsewhere = clock, fleet, elsewhere
        self._moment = zlib.crc32(application.encode()) % 1024 / 1024  # its own, as a share of a period
        self._latest: _Shown | None = None
        self._stored: tuple[object, ...] = ()
        self._stored_alerts: tuple[str, ...] = ()
        self._tried_at = -math.inf  # monotonic

    def show(self, snapshot: Snapshot, decision: Decision, ledger: Ledger, known: Iterable[Alert] = ()) -> None:
        """Replaces the latest status.

        Args:
            snapshot: What was observed.
            decision: What was decided.
            ledger: The account.
            known: The alerts that people know of, beside those of the decision.
        """
        self._latest = _Shown(snapshot, decision, ledger, {alert.key: alert for alert in (*known, *decision.alerts)})

    def due(self, memory: Memory) -> bool:
        """Whether the latest status is worth a write although the memory has not changed.

        Args:
            memory: What is remembered after the pass.
        """
        if self._latest is None:
            return False
        now, fleet = self._clock.monotonic(), self._fleet()
        if self._alerts() != self._stored_alerts:
            return now - self._tried_at >= max(ALERTS_SOONEST_S, ALERTS_S * fleet * (0.75 + self._moment / 2))
        if self._elsewhere:
            return False
        least_s, period_s = max(SOONEST_S, CHANGED_S * fleet * (0.75 + self._moment / 2)), ACCOUNT_S * fleet
        if now - self._tried_at < least_s:
            return False
        if self._essence(memory) != self._stored or period_s <= least_s:
            return True
        earlier, later = (math.floor(at / period_s + self._moment) for at in (self._tried_at + least_s, now))
        return earlier < later

    def texts(self, memory: Memory) -> dict[str, str]:
        """What is stored beside the memory, by key: the latest status and the alerts, as JSON; nothing before the first.

        Args:
            memory: What is remembered after the pass, and stored with them.
        """
        if self._latest is None:
            return {}
        latest = self._latest
        alerts = {ALERTS: alerts_text(latest.alerts.values())}
        if self._elsewhere:
            return alerts
        status = status_of(latest.snapshot, latest.decision, standing_mode(memory, latest.decision), latest.ledger)
        return {STATUS: json.dumps(status, sort_keys=True), **alerts}

    def tried(self, memory: Memory, *, written: bool) -> None:
        """Notes that the latest status was sent.

        Args:
            memory: What was sent with it.
            written: Whether it is stored for certain.
        """
        self._tried_at = self._clock.monotonic()
        self._stored = self._essence(memory) if written else ()
        if written:
            self._stored_alerts = self._alerts()

    def _alerts(self) -> tuple[str, ...]:
        return tuple(sorted(self._latest.alerts)) if self._latest is not None else ()

    def _essence(self, memory: Memory) -> tuple[object, ...]:
        if self._latest is None:
            return ()
        decision = self._latest.decision
        missing = tuple(source.partition(":")[0] for source in decision.degraded)  # without its error, whose words may differ each time
        return (standing_mode(memory, decision), decision.verb, decision.reason, missing)
