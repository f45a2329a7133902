"""What the load-balancer controller reports on routing objects and Gateways: whether its last attempt to make rules succeeded.

It reports each attempt as an event on every routing object of a group, or on the Gateway. A broken object stops every change on the load
balancer. The old rules stay, and nothing else shows the problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from controller.clock import parse_rfc3339
from controller.foreign import shown
from controller.objects import Object, event_time, text, version_of
from controller.routing.kinds import KINDS

BELIEVED_S: Final = 1200.0
"""How long a failure counts without a repetition, seconds: the controller retries after 16 min 40 s at the latest."""
OVERDUE_S: Final = 120.0
"""How late a repetition may be, seconds.

The wait doubles after each failure, so it is about as long as the failure has lasted. A failure without a repetition by then is over, and
the event of the success was lost: client-go's spam filter passes only 25 successes of one object at once and 12 an hour (it counts
failures apart), and an application whose weights follow its replicas has more.
"""

_UNREADABLE: Final = "FailedBuildModel"  # nothing was written: no change is possible until somebody fixes an object
_UNDONE: Final = "FailedDeployModel"  # AWS refused a call, or throttled it: the controller retries, and at once with the next change
_PASSING: Final = re.compile(
    r"RequestError|request send failed|dial tcp|i/o timeout|deadline exceeded|handshake timeout|connection re(?:set|fused)|no such host"
    r"|Throttl|RequestLimitExceeded|Rate exceeded|TooManyRequests|maximum number of attempts|[Ss]tatus ?[Cc]ode: 5\d\d|InternalError"
    r"|InternalFailure|ServiceUnavailable|ExpiredToken|refresh cached credentials"
)
"""What AWS's SDK says where a call failed for a while. To build the rules the controller asks EC2 and ACM, too: such a failure is reported
as a build that failed, and nothing is wrong with an object (issues 2772, 4027 and 1414 of the load-balancer controller)."""
_ABOUT_TEXT: Final = "failed to parse"  # quotes what a stranger wrote
_SUCCEEDED: Final = "SuccessfullyReconciled"
_KEPT: Final = 4096
_MAX_MESSAGE: Final = 300
_SEARCHED: Final = 4096  # characters; Kubernetes allows an event's message 1024


About = tuple[str, str, str]
"""Kind, namespace and name of the object of an event."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The last known attempt, ordered by its end and, within one second, by the event's version.

    Attributes:
        since: Since when attempts have ended this way, as far as known: of a failure, the first one since the last success.
    """

    at: float
    since: float
    version: int
    kind: str
    uid: str
    reason: str
    message: str


class ReconcileView:
    """The last attempt for each routing object and Gateway."""

    def __init__(self) -> None:
        self._last: dict[About, _Attempt] = {}

    def event(self, obj: Object) -> About | None:
        """Processes an event about a routing object or a Gateway.

        Returns:
            What it is about if the event is new, else None.
        """
        reason, at = _ended(text(obj, "reason"), text(obj, "message")), event_time(obj)
        if reason not in {_UNREADABLE, _UNDONE, _SUCCEEDED} or at is None:
            return None
        kind, namespace, name = (text(obj, "involvedObject", field) for field in ("kind", "namespace", "name"))
        key = (kind, namespace, name)
        known = self._last.get(key)
        attempt = _Attempt(
            at,
            _since(obj, at, reason, known),
            version_of(obj) or 0,
            kind,
            text(obj, "involvedObject", "uid"),
            reason,
            shown(text(obj, "message"), _MAX_MESSAGE),
        )
        if known is not None and (known.at, known.version) >= (attempt.at, attempt.version):
            return None
        self._last.pop(key, None)
        self._last[key] = attempt
        while len(self._last) > _KEPT:
            del self._last[next(iter(self._last))]
        return key

    def blocked(self, about: Iterable[About], uid: str, now: float) -> str:
        """Why the load-balancer controller could not make rules of a routing object, or of another one on its load balancer.

        Args:
            about: The objects on whose events it reports that.
            uid: The uid of the routing object: events about a deleted one of the same name do not count.
            now: Seconds since the Unix epoch.

        Returns:
            The controller's message; "" if its last attempt ended otherwise, is too long ago, or is unknown.
        """
        return self._message(_UNREADABLE, about, uid, now)

    def undone(self, about: Iterable[About], uid: str, now: float) -> str:
        """Why AWS kept the controller from making or applying rules, for now; arguments and result as for `blocked`."""
        return self._message(_UNDONE, about, uid, now)

    def _message(self, reason: str, about: Iterable[About], uid: str, now: float) -> str:
        for known in (self._last.get(one) for one in about):
            if known is None or known.reason != reason or (known.kind in KINDS and known.uid and uid and known.uid != uid):
                continue
            if now - known.at <= min(BELIEVED_S, OVERDUE_S + 2 * (known.at - known.since)):
                return known.message
        return ""


def _ended(reason: str, message: str) -> str:
    """How an attempt ended. One that AWS did not answer while the rules were built ended as one that it did not while they were written."""
    passing = reason == _UNREADABLE and _ABOUT_TEXT not in message and _PASSING.search(message[:_SEARCHED])
    return _UNDONE if passing else reason


def _since(obj: Object, at: float, reason: str, known: _Attempt | None) -> float:
    """See `_Attempt`. An event repeated with the same text says when it first occurred, whatever came in between."""
    first = parse_rfc3339(text(obj, "firstTimestamp"))
    begun = at if first is None else min(first, at)
    if known is None or known.uid != text(obj, "involvedObject", "uid"):
        return begun
    return known.since if known.reason == reason else max(begun, known.at)
