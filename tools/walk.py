"""Lists the functions that one `InsufficientCapacityError` event goes through, from the watch to the patch: ``python -m tools.walk``.

The production service runs on the emulated API of its tests, and one event is written there. A function is on the walk if it is on the
call stack at the moment when

- a value is made that the event turns into: a refusal, an observation, the snapshot, evidence, the decision, the plan,
  the routing action,
- the refusal is stored, the loop is woken or takes what has changed, or the patch of the Ingress is sent.

Of the functions that were running before the event, the innermost one counts: the watch that reads it, and the loop and the worker that
were waiting for it. Helpers that read a field, guards that open, and actions other than the patch are not on the walk.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from inspect import CO_GENERATOR
from pathlib import Path
from types import FrameType
from typing import Any, Final

from controller.clock import SystemClock
from controller.policy.decision import Conclusion
from controller.policy.model import ActionKind
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from tests.support.cluster import Cluster, running, settings_for, write_application

ROOT: Final = Path(__file__).parents[1]

MADE: Final = frozenset(
    {
        "RefusalMessage",
        "Refusal",
        "PoolObservation",
        "UnitObservation",
        "Snapshot",
        "UnitEvidence",
        "Triggered",
        "Decision",
        "Plan",
        "Conclusion",
        "Decided",
    }
)
"""Names of the types that the event is turned into on its way."""

HANDED_ON: Final = frozenset({"KarpenterView._refuse", "Dirty.mark"})
"""Functions that keep it for others, or hand it to another thread."""

_CHANGED, _TAKE, _PASS, _REQUEST = "ClusterView.changed", "Dirty.take", "Controller._pass", "KubeSession.request"

Step = tuple[str, str]
"""A file and a function."""


@dataclass(frozen=True, slots=True)
class Walked:
    """One event's way.

    Attributes:
        steps: The walk, in the order of the first time that each function is on it.
        conclusion: The failover that the event led to.
    """

    steps: tuple[Step, ...]
    conclusion: Conclusion


class Tracer:
    """Collects the walk of the first event that is followed by a patch of the Ingress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed = False
        self._local = threading.local()
        self._delivered: list[Step] = []
        self._chosen: list[Step] = []
        self._passed: list[Step] = []
        self.walk: list[Step] = []
        """Empty until the Ingress was patched."""
        self.conclusion: Conclusion | None = None
        """That of the pass that patched it."""

    def arm(self) -> None:
        """From now on everything is traced."""
        self._armed = True

    def profile(self, frame: FrameType, event: str, value: Any) -> None:  # noqa: ANN401 - the interpreter's signature
        """For `threading.setprofile`."""
        if not self._armed or self.walk or event not in {"call", "return"} or not ours(frame):
            return
        name = frame.f_code.co_qualname
        if event == "call":
            self._entered().add(frame)
            self._called(frame, name)
            return
        if name == _TAKE:
            self._choose(frame, value)
        elif isinstance(value, Conclusion) and value.decision.verb.changes_mode:
            self.conclusion = value
            self._keep(frame)
        elif type(value).__name__ in MADE or getattr(value, "kind", None) is ActionKind.ROUTE or name in HANDED_ON:
            self._keep(frame)
        if not frame.f_code.co_flags & CO_GENERATOR:
            self._entered().discard(frame)

    def _entered(self) -> set[FrameType]:
        """The frames of this thread that began after the event was written."""
        if not hasattr(self._local, "entered"):
            self._local.entered = set()
        return self._local.entered  # type: ignore[no-any-return]

    def _called(self, frame: FrameType, name: str) -> None:
        if name == _CHANGED:
            self._local.watching = frame.f_locals["resource"].plural == "events"
        elif name == _PASS:
            with self._lock:
                self._passed = []  # only the pass that leads to the patch counts
        elif name == _REQUEST and frame.f_locals["method"] == "PATCH" and "/ingresses/" in frame.f_locals["path"]:
            self._keep(frame)
            with self._lock:
                self.walk = list(dict.fromkeys([*self._delivered, *self._chosen, *self._passed]))

    def _choose(self, frame: FrameType, touched: Any) -> None:  # noqa: ANN401 - the value of a frame
        """Keeps the round that took the application. The pass over it follows in another thread."""
        if touched:
            with self._lock:
                self._chosen = self._stack(frame)

    def _keep(self, frame: FrameType) -> None:
        stack = self._stack(frame)
        names = {name for _, name in stack}
        if _CHANGED in names:
            if getattr(self._local, "watching", False):
                with self._lock:
                    self._delivered += stack
        else:
            with self._lock:
                self._passed += stack

    def _stack(self, frame: FrameType | None) -> list[Step]:
        """The functions of the controller that run, the outermost first, as far as they count."""
        found: list[Step] = []
        while frame is not None:
            if ours(frame):
                found.append((str(Path(frame.f_code.co_filename).relative_to(ROOT)), frame.f_code.co_qualname))
                if frame not in self._entered():
                    break
            frame = frame.f_back
        return found[::-1]


def ours(frame: FrameType) -> bool:
    """Whether a function of the controller runs in a frame, other than a comprehension or a lambda."""
    return frame.f_code.co_filename.startswith(f"{ROOT}/controller/") and not frame.f_code.co_name.startswith("<")


def walk() -> Walked:
    """Lets one event lead to a failover, and says which way it took.

    Raises:
        RuntimeError: The Ingress was patched for another reason.
    """
    tracer, clock = Tracer(), SystemClock()
    cluster = Cluster(clock)
    threading.setprofile(tracer.profile)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_for(write_application(Path(folder)))
            with running(Service(settings, cluster.session(Path(folder)), clock)) as service:
                wait_for("the first decision", lambda: bool(service.controller.views()))
                cluster.pend("sd21-inf2", 2)
                wait_for("the demand", lambda: any(unit.pending for unit in service.controller.views()[0].snapshot.units.values()))
                tracer.arm()
                cluster.refuse("inf2", "inf2.xlarge")
                wait_for("the patch", lambda: bool(tracer.walk))
    finally:
        threading.setprofile(None)
        cluster.close()
    if tracer.conclusion is None:
        raise RuntimeError("the Ingress was patched without a failover")
    return Walked(tuple(tracer.walk), tracer.conclusion)


def main() -> None:
    """Prints the walk."""
    steps = walk().steps
    for number, (path, name) in enumerate(steps, 1):
        print(f"{number:3} {path}: {name}")
    print(f"{len(steps)} functions in {len({path for path, _ in steps})} files")


if __name__ == "__main__":
    main()
