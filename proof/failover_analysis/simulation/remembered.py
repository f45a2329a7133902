"""Checks that mode changes are remembered, also where an answer was lost, and that nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

from controller.policy.decision import Conclusion
from controller.policy.model import Action, Mode, ModeChange
from controller.policy.reasons import Reason

_Change = tuple[Mode, Reason, str]


@dataclass(frozen=True, slots=True)
class _Written:
    """A mode change that took effect although its answer was lost.

    Attributes:
        mode: The new mode.
        uid: The Ingress's uid.
        version: The Ingress's resourceVersion before the change.
        action: The routing action.
    """

    mode: Mode
    uid: str
    version: str
    action: str


class Remembered:
    """Compares what one process remembers with what it wrote."""

    def __init__(self) -> None:
        self._in_doubt: _Written | None = None
        self._known: tuple[ModeChange, ...] | None = None  # None until a pass that read the stored memory is over

    def lost(self, conclusion: Conclusion, action: Action) -> None:
        """Notes that the routing action of a mode change took effect and its answer was lost."""
        routing, mode = conclusion.snapshot.routing, conclusion.decision.mode
        if mode is not None:
            self._in_doubt = _Written(mode, routing.uid, routing.resource_version, action.after)

    def passed(self, conclusion: Conclusion, changes: tuple[ModeChange, ...]) -> None:
        """Notes what a pass remembers at its end."""
        self._known = None if _unreadable(conclusion) else changes

    def problem(self, conclusion: Conclusion) -> str:
        """What is wrong with the memory of a decision; "" if nothing is."""
        snapshot, changes = conclusion.snapshot, conclusion.memory.mode_changes
        if not snapshot.leader or _unreadable(conclusion):
            return ""  # this process loads its memory again
        known, present = self._known, _changes(changes)
        if known and _essence(known[-1]) not in present:
            return f"the change to {known[-1].to} ({known[-1].reason}) is forgotten"
        found = [] if known is None else [one for one in present - _changes(known) if one[1] is not Reason.ROUTING_DRIFTED]
        written, routing = self._in_doubt, snapshot.routing
        for mode, reason, _ in found:
            if written is None or written.mode is not mode:
                return f"a change to {mode} ({reason}) that was never made is remembered"
        if written is None or written.version == routing.resource_version:
            return ""
        self._in_doubt = None
        if (routing.uid, routing.action, routing.marker) != (written.uid, written.action, str(written.mode)):
            return ""  # somebody else has changed the Ingress since
        last = changes[-1] if changes else None
        if last is None or last.to is not written.mode or last.reason is Reason.ROUTING_DRIFTED:
            return f"an own change to {written.mode} whose answer was lost is remembered as {last.reason if last else 'nothing'}"
        return ""


def _unreadable(conclusion: Conclusion) -> bool:
    """Whether the pass could not read the stored memory: its own then lacks everything, and the next one may bring it back."""
    return any(source.name == "state" for source in conclusion.snapshot.sources)


def _changes(changes: tuple[ModeChange, ...]) -> set[_Change]:
    return set(map(_essence, changes))


def _essence(change: ModeChange) -> _Change:
    return (change.to, change.reason, change.detail)
