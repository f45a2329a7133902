"""The status of a FailoverApplication: what people and tools read of an application with kubectl.

The leader writes it beside its passes, so that no mode change waits for it. Nothing is decided from it: the memory is elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from controller.clients.kube import FAILOVER_APPLICATIONS, JSON_PATCH, KubeSession, Object
from controller.clock import Clock, format_rfc3339
from controller.errors import RemoteError
from controller.foreign import shown
from controller.policy.account import spend_per_hour
from controller.policy.model import Override, Snapshot, Verdict
from controller.policy.plan import FIELD_MANAGER
from controller.service.application_objects import Acceptance
from controller.service.application_objects import Verdict as ObjectVerdict
from controller.service.application_status import status_of
from controller.service.explanation import next_step

if TYPE_CHECKING:
    from controller.service.controller import View

SOONEST_S: Final = 60.0
"""Shortest time between two writes of one object, seconds."""
CHANGED_S: Final = 0.3
"""The same for each application of the fleet, seconds: where all differ, a thousand write 3 a second."""
ACCOUNT_S: Final = 3.6
"""The same where only the account differs, seconds: a thousand write 1,000 an hour."""
_WRITE_S: Final = 2.0  # deadline of one write
_TURN_S: Final = 4.0  # of one turn over all objects: what is left is due in the next one
_MESSAGE: Final = 4000  # characters of a condition's message
_SENTENCE: Final = 1000  # characters of any other text
_WHEN: Final = frozenset({"details", "why", "next", "dollarsPerHour"})
"""Fields that differ in every pass, or say the same in other words: they alone are worth a write only as often as the account is."""

_NOTHING: Final = frozenset[str]()
_RAN: Final = ("mode", "since")

_Conditions = Iterator[tuple[str, bool | None, str, str]]

log = structlog.get_logger(__name__)


def object_status(verdict: ObjectVerdict, view: View | None, now: float) -> Object:
    """The status of one object.

    Args:
        verdict: What became of the object.
        view: The last pass over the application that runs; None: none runs, or it had no pass yet.
        now: For the times of conditions that change, seconds since the Unix epoch.
    """
    conditions = list(_accepted(verdict)) + (list(_conditions(view.snapshot, view)) if view is not None else [])
    earlier = _by_type(verdict.status)
    made = {"observedGeneration": verdict.generation, "conditions": [_condition(one, verdict, earlier, now) for one in conditions]}
    if view is not None:
        return made | {key: value for key, value in _figures(view).items() if value is not None}
    # The mode stays with an application that ran: a replica that lacks it is known to lack it.
    stays = _RAN if verdict.acceptance is Acceptance.INVALID else ()
    return made | {key: verdict.status[key] for key in stays if key in verdict.status}


def _figures(view: View) -> Object:
    snapshot, decision, memory = view.snapshot, view.decision, view.memory
    seen, targets = snapshot.routing.present_verification, snapshot.routing.targets
    prices = {unit.name: unit.price_per_hour for unit in snapshot.application.units}
    units = [
        {
            "name": name,
            "ready": one.ready,
            "needed": one.needed,
            "short": one.short,
            "dollarsPerHour": round(one.ready * prices.get(name, 0.0), 4),
        }
        for name, one in decision.evidence.items()
    ]
    return {
        "mode": None if view.mode is None else str(view.mode),
        "since": format_rfc3339(memory.mode_since) if memory.mode_since else None,
        "reason": str(decision.reason),
        "why": shown(decision.sentence, _SENTENCE),
        "next": shown(next_step(memory, snapshot), _SENTENCE),
        "weights": {
            "set": {target.service: target.weight for target in targets},
            "actual": {} if seen is None else dict(seen.weights),
        },
        "units": units,
        "short": ",".join(name for name, one in decision.evidence.items() if one.short),
        "dollarsPerHour": round(spend_per_hour(snapshot.application, decision.evidence), 4),
        "details": status_of(snapshot, decision, view.mode, view.ledger),
    }


def _accepted(verdict: ObjectVerdict) -> _Conditions:
    kept = "; the last accepted generation keeps running" if verdict.problem and verdict.key else ""
    yield "Accepted", verdict.acceptance is Acceptance.ACCEPTED, verdict.acceptance, verdict.problem + kept


def _conditions(snapshot: Snapshot, view: View) -> _Conditions:
    routing, evidence, now = snapshot.routing, view.decision.evidence, snapshot.now
    seen = routing.present_verification
    if seen is None or seen.verdict is Verdict.CANNOT_TELL:
        yield "Verified", None, "CannotTell", "the load balancer has not been asked yet" if seen is None else seen.why
    else:
        shows = seen.verdict is Verdict.YES
        yield "Verified", shows, "LoadBalancerFollows" if shows else "NotYet", "" if shows else seen.why
    short = [name for name, one in evidence.items() if one.short]
    causes = ", ".join(f"{name} gets no nodes ({evidence[name].cause})" for name in short)
    if evidence:
        yield "CapacityAvailable", not short, "ShortageProven" if short else "NoShortage", causes
    else:
        yield "CapacityAvailable", None, "NotKnown", view.decision.sentence
    yield from _overridden(routing.override, now)
    late = [one for one in snapshot.sources if one.required and (one.absent or one.stale(now))]
    yield "SignalsFresh", not late, "Stale" if late else "Fresh", "; ".join(f"{one.name}: {one.why}" for one in late)


def _overridden(override: Override, now: float) -> _Conditions:
    paused, pinned = override.pauses(now), override.pin(now)
    if override.problem:
        yield "Paused", True, "Unreadable", override.problem
    else:
        yield "Paused", paused, "ByOperator" if paused else "NotPaused", override.paused_why if paused else ""
    why = f"mode {pinned}{': ' if override.pinned_why else ''}{override.pinned_why}"
    yield "Pinned", pinned is not None, "ByOperator" if pinned is not None else "NotPinned", why if pinned is not None else ""


def _condition(made: tuple[str, bool | None, str, str], verdict: ObjectVerdict, earlier: Mapping[str, Object], now: float) -> Object:
    """A condition in the standard shape. Its time is that of the last change of its status."""
    kind, holds, reason, message = made
    status = "Unknown" if holds is None else str(holds)
    before = earlier.get(kind, {})
    since = before.get("lastTransitionTime")
    return {
        "type": kind,
        "status": status,
        "reason": str(reason),
        "message": shown(message, _MESSAGE),
        "lastTransitionTime": since if before.get("status") == status and isinstance(since, str) else format_rfc3339(now),
        "observedGeneration": verdict.generation,
    }


def _by_type(status: Mapping[str, Any]) -> Mapping[str, Object]:
    """The conditions that an object has. Anyone who may write its status may have written them."""
    found = status.get("conditions")
    return {str(one.get("type")): one for one in found if isinstance(one, dict)} if isinstance(found, list) else {}


def _said(status: Mapping[str, Any], without: frozenset[str]) -> str:
    """What a status says, to be compared; a field that is null counts as absent."""
    return json.dumps({key: one for key, one in status.items() if key not in without and one is not None}, sort_keys=True)


@dataclass(slots=True)
class _Sent:
    """When the status of one object was last sent (monotonic), and what it was last compared with."""

    uid: str
    at: float
    compared: tuple[ObjectVerdict, float | None] | None = None


class StatusWriter:
    """Writes the status of the objects: each at most once a minute, less often in a large fleet, and only if something differs.

    A write that fails is tried again when the object is due the next time.

    Args:
        session: Connection to the API server.
        clock: The clock.
    """

    def __init__(self, session: KubeSession, clock: Clock) -> None:
        self._session, self._clock = session, clock
        self._sent: dict[tuple[str, str], _Sent] = {}

    def write(self, verdicts: Iterable[ObjectVerdict], views: Iterable[View], *, may: Callable[[float], bool]) -> None:
        """Writes what is due, within bounds of time; those whose last write is longest ago come first.

        Args:
            verdicts: What became of every object.
            views: The last passes.
            may: Whether this replica leads for certain for that many seconds.
        """
        by_key = {view.application.key: view for view in views}
        found = {one.name: one for one in verdicts}
        self._sent = {name: sent for name, sent in self._sent.items() if name in found and found[name].uid == sent.uid}
        end = self._clock.monotonic() + _TURN_S
        for name in sorted(found, key=self._last):
            now = self._clock.monotonic()
            if now >= end or now - self._last(name) < max(SOONEST_S, CHANGED_S * len(found)):
                return  # all others were written later
            if not may(_WRITE_S):
                return
            self._write(found[name], by_key.get(found[name].key), max(SOONEST_S, ACCOUNT_S * len(found)))

    def _last(self, name: tuple[str, str]) -> float:
        sent = self._sent.get(name)
        return -math.inf if sent is None else sent.at

    def _write(self, verdict: ObjectVerdict, view: View | None, period_s: float) -> None:
        if view is None and verdict.key:
            return  # its first pass is under way
        compared = (verdict, None if view is None else view.snapshot.now)
        sent = self._sent.get(verdict.name)
        if sent is not None and sent.compared == compared:
            return  # no pass since
        status, now = object_status(verdict, view, self._clock.now()), self._clock.monotonic()
        # Without a time of ours an earlier leader wrote the same.
        without = _WHEN if sent is None or now - sent.at < period_s else _NOTHING
        if _said(status, without) == _said(verdict.status, without):
            self._sent[verdict.name] = _Sent(verdict.uid, now if sent is None else sent.at, compared)
            return
        self._sent[verdict.name] = _Sent(verdict.uid, now)
        namespace, name = verdict.name
        # A whole new status: a merge would keep the weights of Services that get none any more. Of another object of that name it is none.
        patch = [{"op": "test", "path": "/metadata/uid", "value": verdict.uid}, {"op": "add", "path": "/status", "value": status}]
        path = f"{FAILOVER_APPLICATIONS.path(namespace, name)}/status"
        query = (("fieldManager", FIELD_MANAGER),)
        try:
            self._session.request("PATCH", path, query=query, body=json.dumps(patch), content_type=JSON_PATCH, deadline_s=_WRITE_S)
        except RemoteError as error:
            log.warning("object_status.unwritten", application=f"{namespace}/{name}", error=str(error))
