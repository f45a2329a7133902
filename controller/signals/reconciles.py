"""What the load-balancer controller says about Ingresses: whether it could last make rules of them.

It reports each attempt as an event on every Ingress of a group. One broken Ingress stops every change on the group's load balancer; the old
rules stay, and nothing else tells so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clock import parse_rfc3339
from controller.signals.objects import Object, event_time, text

BELIEVED_S: Final = 1200.0
"""How long a failure counts at most without being repeated, seconds: it tries again after 16 min 40 s at the latest."""
OVERDUE_S: Final = 120.0
"""By how much a repetition may be late, seconds.

It waits twice as long after each failure, so about as long as it has been failing. A failure that is not repeated by then is over, and the
event that would say so is lost: of its successes only 25 at once and 12 an hour are told of one Ingress (client-go's spam filter, which
counts failures apart), and an application whose weights follow its replicas has more.
"""

_UNREADABLE: Final = "FailedBuildModel"  # nothing was written: no change can be carried out until somebody mends an Ingress
_UNDONE: Final = "FailedDeployModel"  # AWS refused a call, throttling included: tried again, and by the next change at once
_SUCCEEDED: Final = "SuccessfullyReconciled"
_KEPT: Final = 4096
_MAX_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The last attempt that is known, by when it ended and, within the same second, by the event's version.

    Attributes:
        since: When it began to end so, as far as known: of a failure the first of those without a success in between.
    """

    at: float
    since: float
    version: int
    uid: str
    reason: str
    message: str


class ReconcileView:
    """The last attempt by Ingress."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], _Attempt] = {}

    def event(self, obj: Object) -> tuple[str, str] | None:
        """Takes an event about an Ingress.

        Returns:
            Namespace and name of the Ingress if it says something new, else None.
        """
        reason, at = text(obj, "reason"), event_time(obj)
        if reason not in {_UNREADABLE, _UNDONE, _SUCCEEDED} or at is None:
            return None
        key = (text(obj, "involvedObject", "namespace"), text(obj, "involvedObject", "name"))
        version = text(obj, "metadata", "resourceVersion")
        known = self._last.get(key)
        attempt = _Attempt(
            at,
            _since(obj, at, reason, known),
            int(version) if version.isascii() and version.isdigit() else 0,
            text(obj, "involvedObject", "uid"),
            reason,
            text(obj, "message")[:_MAX_MESSAGE],
        )
        if known is not None and (known.at, known.version) >= (attempt.at, attempt.version):
            return None
        self._last.pop(key, None)
        self._last[key] = attempt
        while len(self._last) > _KEPT:
            del self._last[next(iter(self._last))]
        return key

    def blocked(self, namespace: str, name: str, uid: str, now: float) -> str:
        """Why the load-balancer controller could not make rules of an Ingress or one of its group.

        Args:
            namespace: Of the Ingress.
            name: Its name.
            uid: Its uid: what was said of a namesake that is gone does not count.
            now: Seconds since the Unix epoch.

        Returns:
            Its message; "" where that is not how its last attempt ended, where that was too long ago, or where none is known.
        """
        return self._message(_UNREADABLE, namespace, name, uid, now)

    def undone(self, namespace: str, name: str, uid: str, now: float) -> str:
        """Why it made rules but could not bring them to AWS; arguments and result as of `blocked`."""
        return self._message(_UNDONE, namespace, name, uid, now)

    def _message(self, reason: str, namespace: str, name: str, uid: str, now: float) -> str:
        known = self._last.get((namespace, name))
        if known is None or known.reason != reason or (known.uid and uid and known.uid != uid):
            return ""
        believed_s = min(BELIEVED_S, OVERDUE_S + 2 * (known.at - known.since))
        return known.message if now - known.at <= believed_s else ""


def _since(obj: Object, at: float, reason: str, known: _Attempt | None) -> float:
    """See `_Attempt`. An event that is repeated in the same words says when it was first said, whatever was between."""
    first = parse_rfc3339(text(obj, "firstTimestamp"))
    begun = at if first is None else min(first, at)
    if known is None or known.uid != text(obj, "involvedObject", "uid"):
        return begun
    return known.since if known.reason == reason else max(begun, known.at)
