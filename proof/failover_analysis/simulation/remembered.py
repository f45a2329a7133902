"""Whether mode changes whose answer was lost are remembered as they were made, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

from controller.policy.conclusion import Conclusion
from controller.policy.model import Action, Mode, ModeChange
from controller.policy.reasons import Reason

_Change = tuple[Mode, Reason, str]


@dataclass(frozen=True, slots=True)
class _Written:
    """A mode change that was carried out and not answered.

    Attributes:
        mode: The mode it led to.
        uid: The Ingress.
        version: Its resourceVersion before the change.
        action: The routing action.
    """

    mode: Mode
    uid: str
    version: str
    action: str


class Remembered:
    """What one process remembers, compared with what it wrote."""

    def __init__(self) -> None:
        self._unanswered: _Written | None = None
        self._known: set[_Change] | None = None  # None: its first pass is not over

    def lost(self, conclusion: Conclusion, action: Action) -> None:
        """The routing action of a mode change took effect, and its answer was lost."""
        routing, mode = conclusion.snapshot.routing, conclusion.decision.mode
        if mode is not None:
            self._unanswered = _Written(mode, routing.uid, routing.resource_version, action.after)

    def passed(self, changes: tuple[ModeChange, ...]) -> None:
        """A pass is over: what it remembers now is known."""
        self._known = _changes(changes)

    def problem(self, conclusion: Conclusion) -> str:
        """What is wrong with the memory of a pass that has decided, "" where nothing is."""
        snapshot, changes = conclusion.snapshot, conclusion.memory.mode_changes
        if not snapshot.leader or any(source.name == "state" for source in snapshot.sources):
            return ""  # what this process remembers will be loaded anew
        known = self._known
        found = [] if known is None else [one for one in _changes(changes) - known if one[1] is not Reason.ROUTING_DRIFTED]
        written, routing = self._unanswered, snapshot.routing
        for mode, reason, _ in found:
            if written is None or written.mode is not mode:
                return f"a change to {mode} ({reason}) that was never made is remembered"
        if written is None or written.version == routing.resource_version:
            return ""
        self._unanswered = None
        if (routing.uid, routing.action, routing.marker) != (written.uid, written.action, str(written.mode)):
            return ""  # somebody else has changed it since
        last = changes[-1] if changes else None
        if last is None or last.to is not written.mode or last.reason is Reason.ROUTING_DRIFTED:
            return f"an own change to {written.mode} whose answer was lost is remembered as {last.reason if last else 'nothing'}"
        return ""


def _changes(changes: tuple[ModeChange, ...]) -> set[_Change]:
    return {(change.to, change.reason, change.detail) for change in changes}
