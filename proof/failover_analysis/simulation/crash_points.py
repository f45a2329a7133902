"""Every place at which a process may die: before and after each of its external calls.

A run without a crash numbers the calls of its processes. Repeated with the same seed, it is the same run up to the call at which the
process is killed. So the list of crash points is made by the code itself and grows with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from controller.policy.model import Action, Memory
from controller.ports import EMPTY, Applier, Leadership, StateStore, StoredMemory

T = TypeVar("T")

SIDES: Final = ("before", "after")


class Crash(Exception):
    """The process dies here."""


@dataclass(frozen=True, slots=True)
class Call:
    """One external call.

    Attributes:
        name: ``apply route``, ``save``, ``load``, ``confirm``.
        process: The number of the process that makes it.
        at: When, simulated seconds since the Unix epoch.
    """

    name: str
    process: int
    at: float


@dataclass(slots=True)
class Calls:
    """The external calls of all processes of a run, in order.

    Attributes:
        now: The simulated time.
        made: The calls so far.
        dies_at: Number of the call at which the process dies, from 0; None if at none.
        side: ``before`` or ``after`` it took effect.
    """

    now: Callable[[], float]
    made: list[Call] = field(default_factory=list)
    dies_at: int | None = None
    side: str = SIDES[0]

    def make(self, name: str, process: int, call: Callable[[], T]) -> T:
        """Makes a call of a process.

        Raises:
            Crash: The process dies, before or after the call took effect.
        """
        dies = len(self.made) == self.dies_at
        self.made.append(Call(name, process, self.now()))
        if dies and self.side == SIDES[0]:
            raise Crash
        answer = call()
        if dies:
            raise Crash
        return answer


class MortalApplier:
    """An applier whose process may die at a request.

    Args:
        applier: Applies the actions.
        calls: The calls of the run.
        process: Its number.
    """

    def __init__(self, applier: Applier, calls: Calls, process: int) -> None:
        self._applier, self._calls, self._process = applier, calls, process

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """See `controller.ports.Applier.apply`."""
        kinds = " and ".join(action.kind for action in actions)
        self._calls.make(f"apply {kinds}", self._process, lambda: self._applier.apply(actions, deadline_s=deadline_s))


class MortalStore:
    """A store whose process may die at a read or a write.

    Args:
        store: Holds the memory.
        calls: The calls of the run.
        process: Its number.
    """

    def __init__(self, store: StateStore, calls: Calls, process: int) -> None:
        self._store, self._calls, self._process = store, calls, process

    def load(self, application: str) -> StoredMemory:
        """See `controller.ports.StateStore.load`."""
        return self._calls.make("load", self._process, lambda: self._store.load(application))

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """See `controller.ports.StateStore.save`."""
        saved = partial(self._store.save, application, memory, over=over, epoch=epoch, beside=beside)
        return self._calls.make("save", self._process, saved)


class MortalLeadership:
    """A leadership whose process may die while it reads or writes the Lease.

    Args:
        leadership: Knows who leads.
        calls: The calls of the run.
        process: Its number.
    """

    def __init__(self, leadership: Leadership, calls: Calls, process: int) -> None:
        self._leadership, self._calls, self._process = leadership, calls, process

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        return self._leadership.epoch()

    def leads(self) -> bool:
        """See `controller.ports.Leadership.leads`."""
        return self._leadership.leads()

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership.confirm`."""
        return self._calls.make("confirm", self._process, lambda: self._leadership.confirm(epoch, needed_s))

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership.outrank`."""
        self._calls.make("outrank", self._process, lambda: self._leadership.outrank(epoch))
