"""The status of the running controller: one document for ``/status``, of which the part about the process is in a ConfigMap too.

The part about an application is beside its memory: see `controller.service.application_status`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from controller import __version__
from controller.clients.kube import CONFIG_MAPS, KubeSession, Object
from controller.clock import Clock, format_rfc3339
from controller.errors import NotFound, RemoteError
from controller.notifiers.dispatcher import SinkHealth
from controller.policy.model import Target, Verification
from controller.policy.plan import FIELD_MANAGER
from controller.service.application_status import status_of

if TYPE_CHECKING:
    from controller.service.controller import View

NAME: Final = "failoverctl-status"
PUBLISH_S: Final = 3.0
"""Deadline of one publication, seconds."""

HEARTBEAT_S: Final = 60.0
"""Longest time between two writes of the status while the controller runs, seconds."""

log = structlog.get_logger(__name__)


def process(
    sinks: Iterable[SinkHealth],
    *,
    now: float,
    epoch: int,
    leader: str,
    dry_run: bool,
    config_error: str,
    calls: Mapping[str, int],
) -> Object:
    """The status of the process, without its applications, as plain JSON values.

    Args:
        sinks: The health of the notifiers.
        now: Seconds since the Unix epoch.
        epoch: The leadership term.
        leader: The identity of the leader; "" if unknown.
        dry_run: Whether nothing is applied.
        config_error: Why an application file is refused; "" if none is.
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
    }


def document(views: Iterable[View], about: Object) -> Object:
    """The whole status as plain JSON values.

    Args:
        views: The results of the last passes.
        about: See `process`.
    """
    return {**about, "applications": {view.application.key: _application(view) for view in views}}


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
    seen, routing = view.snapshot.routing.present_verification, view.snapshot.routing
    shown = status_of(view.snapshot, view.decision, view.mode, view.ledger)
    return {**shown, "verification": None if seen is None else _verification(seen, routing.targets)}


def _verification(seen: Verification, wanted: Iterable[Target]) -> dict[str, Any]:
    """Whether the load balancer shows the routing action, as far as known. The keys are those of `failoverctl status --json`."""
    return {
        "verified": str(seen.verdict),
        "at": format_rfc3339(seen.at) if seen.at else None,  # 0: the load balancer was not asked at all
        "problem": seen.problem,
        "weights": {target.service: target.weight for target in wanted},
        "actualWeights": dict(seen.weights),
        "healthyTargets": dict(seen.healthy),
    }


class StatusPublisher:
    """Writes the status of the process to a ConfigMap when it has changed: the command line shows it without reaching the pod.

    Args:
        session: Connection to the API server.
        namespace: The namespace of the ConfigMap.
        clock: The clock, for the heartbeat: an old status means that no controller runs.
    """

    def __init__(self, session: KubeSession, namespace: str, clock: Clock) -> None:
        self._session, self._namespace, self._clock = session, namespace, clock
        self._written, self._written_at = "", -HEARTBEAT_S

    def publish(self, status: Object) -> None:
        """Writes the status if more than its time and the number of calls have changed, and once a minute.

        A failure is logged.

        Args:
            status: See `process`.
        """
        essence = json.dumps({**status, "at": "", "calls": {}}, sort_keys=True)
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
