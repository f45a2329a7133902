"""The status of the running controller: one document for ``/status``, the status ConfigMap and `failoverctl status`."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from controller import __version__
from controller.clients.kube import CONFIG_MAPS, KubeSession, Object
from controller.clock import Clock, format_rfc3339
from controller.errors import NotFound, RemoteError
from controller.notifiers.dispatcher import SinkHealth
from controller.policy.ledger import Ledger
from controller.policy.model import PlannedFleet, Price, Snapshot, Target, Verification
from controller.policy.plan import FIELD_MANAGER

if TYPE_CHECKING:
    from controller.service.controller import View

NAME: Final = "failoverctl-status"
PUBLISH_S: Final = 3.0
"""Deadline of one publication, seconds."""

HEARTBEAT_S: Final = 60.0
"""Longest time between two writes of the status while the controller runs, seconds."""

_READ_BY_CLI: Final = frozenset({"verification"})
_TIMELY: Final = frozenset({"at", "why", "ledger", "prices"})

log = structlog.get_logger(__name__)


def document(
    views: Iterable[View],
    sinks: Iterable[SinkHealth],
    *,
    now: float,
    epoch: int,
    leader: str,
    dry_run: bool,
    config_error: str,
    calls: Mapping[str, int],
) -> Object:
    """The status as plain JSON values.

    Args:
        views: The results of the last passes.
        sinks: The health of the notifiers.
        now: Seconds since the Unix epoch.
        epoch: The leadership term.
        leader: The identity of the leader; "" if unknown.
        dry_run: Whether nothing is applied.
        config_error: Why a changed application file is refused; "" if none is.
        calls: API calls of this process since its start, by service.
    """
    return {
        "version": __version__,
        "at": format_rfc3339(now),
        "epoch": epoch,
        "leader": leader,
        "dryRun": dry_run,
        "configError": config_error,
        "calls": dict(calls),
        "notifiers": [_sink(one) for one in sinks],
        "applications": {view.application.key: _application(view) for view in views},
    }


def _sink(health: SinkHealth) -> dict[str, Any]:
    return {
        "name": health.name,
        "ok": health.ok,
        "lastOk": None if health.last_ok_at is None else format_rfc3339(health.last_ok_at),
        "lastError": health.last_error,
        "queued": health.queued,
        "sent": health.sent,
        "failed": health.failed,
        "dropped": health.dropped,
    }


def _application(view: View) -> dict[str, Any]:
    decision, seen = view.decision, view.snapshot.routing.verification
    return {
        "mode": str(decision.mode) if decision.mode else None,
        "verb": str(decision.verb),
        "reason": str(decision.reason),
        "why": decision.sentence,
        "at": format_rfc3339(view.snapshot.now),
        "verification": None if seen is None else _verification(seen, view.snapshot.routing.targets),
        "alerts": [alert.text for alert in decision.alerts],
        "degraded": list(decision.degraded),
        "ledger": _account(view.ledger),
        **_prices(view.snapshot),
        **planned_document(decision.planned),
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


def planned_document(shown: PlannedFleet | None) -> dict[str, Any]:
    """What strategy `planned` runs, or would run, as a part of a JSON document: the key ``planned``; nothing with another strategy."""
    if shown is None:
        return {}
    fleet = shown.fleet
    return {
        "planned": {
            "live": shown.live,
            "heldBecause": shown.held,
            "expectedDemand": round(shown.expected, 1),
            "forecastShortfall": None if shown.shortfall is None else round(shown.shortfall, 4),
            "replicas": dict(fleet.replicas),
            "dollarsPerHour": round(fleet.price, 4),
            "presentDollarsPerHour": round(shown.present, 4),
            "carried": round(fleet.carried, 1),
            "carriedWithout": {name: round(left, 1) for name, left in fleet.left.items()},
            "needed": round(shown.needs.demand, 1),
            "neededWithout": round(shown.needs.without_any, 1),
        }
    }


def _verification(seen: Verification, wanted: Iterable[Target]) -> dict[str, Any]:
    """Whether the load balancer shows the routing action, as far as known. The keys are those of `failoverctl status --json`."""
    return {
        "verified": str(seen.verdict),
        "at": format_rfc3339(seen.at),
        "problem": seen.problem,
        "weights": {target.service: target.weight for target in wanted},
        "actualWeights": dict(seen.weights),
        "healthyTargets": dict(seen.healthy),
    }


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


class StatusPublisher:
    """Writes the status to a ConfigMap when it has changed, so that the command line can show it without reaching the pod.

    Args:
        session: Connection to the API server.
        namespace: The namespace of the ConfigMap.
        clock: The clock, for the heartbeat: an old status means that no controller runs.
    """

    def __init__(self, session: KubeSession, namespace: str, clock: Clock) -> None:
        self._session, self._namespace, self._clock = session, namespace, clock
        self._written, self._written_at = "", -HEARTBEAT_S

    def publish(self, status: Object) -> None:
        """Writes the status if more than its time has changed, and once a minute. A failure is logged and does not fail the pass.

        Values that `failoverctl status` reads itself are left out: a thousand applications must fit into one ConfigMap.
        """
        status = {**status, "applications": {key: _without(one, _READ_BY_CLI) for key, one in status["applications"].items()}}
        essence = json.dumps({**status, "at": "", "calls": {}, "applications": _timeless(status)}, sort_keys=True)
        if essence == self._written and self._clock.monotonic() - self._written_at < HEARTBEAT_S:
            return
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": self._namespace, "labels": {"app.kubernetes.io/name": "failoverctl"}},
            "data": {"status": json.dumps(status, sort_keys=True)},
        }
        try:
            try:
                self._session.replace(CONFIG_MAPS, self._namespace, NAME, body, field_manager=FIELD_MANAGER, deadline_s=PUBLISH_S / 2)
            except NotFound:
                self._session.create(CONFIG_MAPS, self._namespace, body, field_manager=FIELD_MANAGER, deadline_s=PUBLISH_S / 2)
        except RemoteError as error:
            log.warning("status.unsaved", error=str(error))
            return
        self._written, self._written_at = essence, self._clock.monotonic()


def _timeless(status: Object) -> dict[str, Any]:
    return {key: _without(one, _TIMELY) for key, one in status["applications"].items()}


def _without(one: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in names}


def read_status(session: KubeSession, namespace: str) -> Object | None:
    """The published status; None if there is none or it cannot be read."""
    try:
        found = json.loads((session.get(CONFIG_MAPS, namespace, NAME).get("data") or {}).get("status", "null"))
    except (RemoteError, ValueError):
        return None
    return found if isinstance(found, dict) else None
