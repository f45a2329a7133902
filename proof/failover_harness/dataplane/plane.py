"""The data plane: keeps Envoy equal to ELBv2's state, and reports the targets' health."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

import structlog
import urllib3

from failover_harness.dataplane import config
from failover_harness.dataplane.config import Object
from failover_harness.dataplane.elb import State, Target
from failover_harness.dataplane.envoy import Envoy
from failover_harness.dataplane.places import Places

Health = tuple[str, str]
"""State and reason, as in DescribeTargetHealth."""

_POLL_S: Final = 0.03  # between two reads of ELBv2
_HEALTH_S: Final = 0.5  # between two reads of the targets' health
_HURRIED_S: Final = 0.2  # while targets wait for their first check
_MOST_WAITING: Final = 1000
_STOP_S: Final = 5.0

_INITIAL: Final = ("initial", "Elb.InitialHealthChecking")
_UNHEALTHY: Final = ("unhealthy", "Target.FailedHealthChecks")
_UNUSED: Final = ("unused", "Target.NotInUse")

log = structlog.get_logger(__name__)


class DataPlane:
    """Runs Envoy and keeps it equal to ELBv2's state. Use it as a context manager.

    Args:
        read: Returns the present state of ELBv2, such as `failover_harness.dataplane.elb.read`.
        delay_s: From a change in ELBv2 to its effect, seconds; AWS publishes no figure.
        first_check_s: Longest random wait before the first check of a new target, seconds.
        deleted: Called for each deleted target group. AWS cuts its requests and Envoy lets them finish, so the caller must cut them.
    """

    def __init__(
        self,
        read: Callable[[], State],
        *,
        delay_s: float = 0.0,
        first_check_s: float = 0.0,
        deleted: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._read, self._delay_s, self._first_check_s, self._deleted = read, delay_s, first_check_s, deleted
        self.places = Places()
        self.envoy = Envoy()
        self._lock = threading.Lock()
        self._health: dict[tuple[str, Target], Health] = {}
        self._coming: deque[tuple[float, State]] = deque(maxlen=_MOST_WAITING)
        self._seen = self._applied = State()
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="data-plane", daemon=True)

    def __enter__(self) -> Self:
        self.envoy.__enter__()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(_STOP_S)
        self.envoy.stop()
        self.places.close()

    def url(self, listener: str) -> str:
        """The URL of the listener with this ARN."""
        address, port = self.places.listener(listener)
        return f"http://{address}:{port}"

    def health(self, group: str, address: str, port: int) -> Health:
        """A registered target's health in Envoy, for DescribeTargetHealth."""
        with self._lock:
            if group not in self._applied.used():
                return _UNUSED
            return self._health.get((group, Target(address, port)), _INITIAL)

    def check(self) -> None:
        """Raises `RuntimeError` if it ever failed to follow ELBv2, or Envoy ended."""
        self.envoy.check()
        if self._problem:
            raise RuntimeError(f"the data plane could not follow ELBv2: {self._problem}")

    def state(self) -> State:
        """The state of ELBv2 that is in effect."""
        return self._applied

    def calm(self) -> bool:
        """Whether the present state of ELBv2 is in effect, and no target waits for its first check."""
        return not self._coming and self._read() == self._applied and not self._first_checks_pending()

    # --- the thread ---------------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due = 0.0
        while not self._stop.wait(_POLL_S):
            try:
                self._follow()
                if time.monotonic() >= due:
                    self._read_health()
                    due = time.monotonic() + (_HURRIED_S if self._first_checks_pending() else _HEALTH_S)
            except Exception as error:  # the error must be visible, and the next state may be supported
                if str(error) != self._problem:
                    log.exception("data_plane.failed")
                self._problem = str(error) or type(error).__name__

    def _follow(self) -> None:
        state, now = self._read(), time.monotonic()
        if state != self._seen:
            self._seen = state
            self._coming.append((now + self._delay_s, state))
        while self._coming and self._coming[0][0] <= now:
            self._apply(self._coming.popleft()[1])

    def _apply(self, state: State) -> None:
        gone = {group.arn for group in self._applied.groups} - {group.arn for group in state.groups}
        for listener in state.listeners:
            self.places.listener(listener.arn)
        known = {(group.arn, target) for group in state.groups for target in group.targets}
        with self._lock:
            self._applied = state
            # Targets that return start again, and so do all targets of a group that was not checked in the meantime.
            used = state.used()
            self._health = {key: seen for key, seen in self._health.items() if key in known and key[0] in used}
        self._write()
        for arn in gone:
            self._deleted(config.name(arn))

    def _write(self) -> None:
        checked = {arn for (arn, _), seen in self._health.items() if seen != _INITIAL}
        wanted = config.resources(
            self._applied,
            self.places.listeners(),
            self.places.pod,
            str(self.envoy.folder),
            checked=checked,
            first_check_s=self._first_check_s,
        )
        self.envoy.write(wanted)

    def _first_checks_pending(self) -> bool:
        used = self._applied.used()
        return any(
            self._health.get((group.arn, target), _INITIAL) == _INITIAL
            for group in self._applied.groups
            if group.arn in used
            for target in group.targets
        )

    def _read_health(self) -> None:
        """Reads the targets' health from Envoy."""
        self.envoy.check()
        try:
            seen = _hosts(self.envoy.clusters())
        except urllib3.exceptions.HTTPError as error:
            log.warning("data_plane.no_answer", error=str(error))
            return
        used = self._applied.used()
        found = {}
        for group in self._applied.groups:
            for target in group.targets if group.arn in used else ():
                key = (config.name(group.arn), self.places.pod(target.address), target.port)
                found[group.arn, target] = seen.get(key, _INITIAL)
        with self._lock:
            changed = found != self._health
            self._health = found
        if changed:
            self._write()


def _hosts(clusters: Iterable[Object]) -> dict[tuple[str, str, int], Health]:
    """Health by cluster, address and port."""
    found = {}
    for cluster in clusters:
        for host in cluster.get("host_statuses") or []:
            place: dict[str, Any] = host["address"]["socket_address"]
            found[str(cluster["name"]), str(place["address"]), int(place["port_value"])] = _health(host["health_status"])
    return found


def _health(flags: Object) -> Health:
    if flags.get("pending_active_hc"):
        return _INITIAL
    return _UNHEALTHY if flags.get("failed_active_health_check") else ("healthy", "")
