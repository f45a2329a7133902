"""Actions that failed wait before they are sent again, however often something else asks for a pass.

A webhook that hangs keeps the request, and the worker with it, until the deadline. Without a pause every event of the application would
send the request again at once. `Backoff` does the same for the application's stored memory, and for a pass that ends in a bug.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from controller.errors import Conflict
from controller.policy import text
from controller.policy.alert_kinds import AlertKind
from controller.policy.model import Action, ActionKind, Alert, Mode, Plan
from controller.policy.plan import describe
from controller.service.executor import Failure, Outcome

RETRY_BASE_S: Final = 1.0
"""Wait after the first failure of an action, seconds; doubled with every further failure in a row."""
RETRY_MAX_S: Final = 60.0
"""The longest wait after a failed action, seconds. A Retry-After of the API server may ask for more, up to `RETRY_AFTER_MAX_S`."""
RETRY_AFTER_MAX_S: Final = 120.0
"""The longest Retry-After that is honoured, seconds."""

STATE_RETRY_MAX_S: Final = 15.0
"""The longest wait after stored memory could not be read or written, seconds: until it can be read, everything holds."""

_OBSERVE_S: Final = 0.1  # until the next pass after a conflict: as long as a watch usually takes to deliver what the other wrote
_ALERT_AFTER: Final = 3  # failures in a row: a conflict or a lost connection heals by itself

_Request = tuple[ActionKind, str, str, str, str, Mode | None]


class Backoff:
    """When one thing that failed may be tried again: after pauses that double, or when the other side says. It is gone with a success.

    Args:
        most_s: The longest pause, seconds, without a Retry-After.
    """

    def __init__(self, most_s: float = RETRY_MAX_S) -> None:
        self._most_s = most_s
        self.times = 0
        """Failures in a row."""
        self._due = -math.inf

    @property
    def lasts(self) -> bool:
        """Whether people must hear of it: it failed three times in a row, and passing trouble ends sooner."""
        return self.times >= _ALERT_AFTER

    def failed(self, now: float, retry_after_s: float | None = None) -> None:
        """Notes a failure.

        Args:
            now: Seconds of a clock that is never set.
            retry_after_s: What the other side asked for, seconds.
        """
        self.times += 1
        doubled = min(self._most_s, RETRY_BASE_S * 2.0 ** min(self.times - 1, 10))
        self._due = now + max(doubled, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))

    def succeeded(self) -> None:
        """Notes a success."""
        self.times, self._due = 0, -math.inf

    def left(self, now: float) -> float:
        """Seconds until the next try; 0 if it may be made now."""
        return max(0.0, self._due - now)


class _Failed(Backoff):
    """A request that failed, and the last error in words."""

    words, body = "", ""
    passing = False
    """It was refused because somebody else wrote first, and not often enough to be more than that."""
    overtaken = False
    """It was refused because somebody else wrote first."""

    def note(self, failure: Failure, now: float) -> None:
        """Notes a failure."""
        self.failed(now, failure.error.retry_after_s)
        self.overtaken = isinstance(failure.error, Conflict)
        self.passing = self.overtaken and not self.lasts
        self.words, self.body = _words(failure), failure.action.body

    def wait_s(self, action: Action, now: float) -> float:
        """Seconds until the request may be sent again. One that was made anew from what the other wrote need not wait.

        The same bytes would only be refused again: the watch has not delivered the other's write yet.
        """
        return 0.0 if self.passing and action.body != self.body else self.left(now)


class Retries:
    """The failed actions of one application. It starts anew with every process. All times are seconds of a clock that is never set."""

    def __init__(self) -> None:
        self.failed: dict[_Request, _Failed] = {}
        """The requests that failed when they were sent last."""

    def deferring(self, plan: Plan, now: float) -> Plan:
        """The plan without the actions that failed and are not due again yet: these say so.

        A request for something else, such as another mode, is due at once. While the routing action waits, nothing is lowered: traffic
        has not moved yet.

        Args:
            plan: What would be sent.
            now: Seconds of a clock that is never set.
        """
        planned = {_request(action) for action in plan.actions}
        self.failed = {request: known for request, known in self.failed.items() if request in planned or known.left(now)}
        actions = [self._deferred(action, now) for action in plan.actions]
        route_due, sent = (any(action.kind is ActionKind.ROUTE for action in some) for some in (plan.due, _due(actions)))
        return replace(plan, actions=tuple(_behind(action) if route_due and not sent else action for action in actions))

    def count(self, outcome: Outcome, now: float) -> None:
        """Notes what was sent and became of it.

        Args:
            outcome: The result of carrying out a plan.
            now: Seconds of a clock that is never set.
        """
        for action in outcome.applied:
            self.failed.pop(_request(action), None)
        for failure in outcome.failures:
            self.failed.setdefault(_request(failure.action), _Failed()).note(failure, now)

    def again_s(self, plan: Plan, now: float) -> float:
        """Seconds until another pass may send a failed action of the plan; infinite where none failed.

        One that is due again, and that the plan defers for another reason, waits for that: another pass at once would defer it as well.
        """
        waiting = ((action, self.failed.get(_request(action))) for action in plan.actions)
        left = ((known.left(now), known.passing) for action, known in waiting if known and (known.left(now) or not action.deferred))
        return min((min(one, _OBSERVE_S) if passing else one for one, passing in left), default=math.inf)

    def alerts(self, rival: str = "") -> Iterator[Alert]:
        """One alert about the action that has failed most often in a row, where that is no passing trouble.

        Args:
            rival: See `Snapshot.rival`: that one writes first is said by an alert of its own.
        """
        worst = max(
            (known for known in self.failed.values() if not (rival and known.overtaken)), key=lambda known: known.times, default=None
        )
        if worst is not None and worst.lasts:
            yield Alert.of(AlertKind.ACTION_FAILED, {"times": str(worst.times), "what": worst.words})

    def _deferred(self, action: Action, now: float) -> Action:
        known = self.failed.get(_request(action))
        left = known.wait_s(action, now) if known is not None and not action.deferred else 0.0
        if known is None or not left:
            return action
        return replace(action, deferred=f"failed {known.times} time(s) in a row: sent again in {text.duration(left)}")


def _request(action: Action) -> _Request:
    """What makes two actions the same request; the resourceVersion in the body does not."""
    return action.kind, action.resource, action.namespace, action.name, action.after, action.mode


def _due(actions: Iterable[Action]) -> Iterator[Action]:
    return (action for action in actions if not action.deferred)


def _behind(action: Action) -> Action:
    if action.kind is not ActionKind.LOWER_FLOOR or action.deferred:
        return action
    return replace(action, deferred="waits for the routing action")


def _words(failure: Failure) -> str:
    """The action and its error. A time-out is explained: the error names a webhook that refuses, but not one that hangs."""
    said = f"{describe(failure.action)}: {failure.error}"
    if failure.action.kind is not ActionKind.ROUTE or not failure.in_doubt or "webhook" in said:
        return said
    hint = "if it answers everything else, a webhook hangs: the load-balancer controller's is called before every change of what routes"
    return f"{said} ({hint})"
