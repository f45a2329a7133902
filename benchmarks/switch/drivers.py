"""Drivers of the benchmark: mode changes, pods that come and go, and pods that crash."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from benchmarks.switch.plan import REPLICAS, Lane, Plan
from controller.clients.kube import INGRESSES, JSON_PATCH, MERGE_PATCH, KubeSession, Object
from controller.clock import format_rfc3339
from controller.errors import RemoteError
from controller.policy.model import Application, Memory, Mode, Target
from controller.policy.routing import needed
from controller.recording.stored import decode
from controller.routing.annotations import PIN_REASON, PINNED_MODE, PINNED_UNTIL
from controller.routing.ingress.action import format_action
from controller.routing.ingress.standby import standby_patch
from controller.routing.names import action_key
from controller.service.store import record_name
from failover_harness.dataplane.cluster import STATE_NAMESPACE, Cluster
from failover_testbed.kube_api import ApiError

_STEP_S: Final = 0.1
_CHECK_S: Final = 0.25
_CHURN_S: Final = (10.0, 20.0)
_CRASH_S: Final = 25.0
_STOP_S: Final = 10.0
_PINNED_S: Final = 3600.0
_WITHOUT_RULES_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Order:
    """A requested mode change. `at` is seconds since the Unix epoch."""

    key: str
    mode: Mode
    at: float


@dataclass(frozen=True, slots=True)
class Death:
    """A pod that crashed. `at` is seconds since the Unix epoch."""

    key: str
    address: str
    at: float


@dataclass(slots=True)
class Log:
    """The drivers' actions and problems."""

    orders: list[Order] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Driver(Protocol):
    """Acts on a cluster at scheduled times."""

    def step(self, now: float) -> None:
        """Does everything that is due; `now` is monotonic seconds."""


class Pins:
    """An operator who pins an application to alternating modes, as `failoverctl pin` does.

    Args:
        cluster: The cluster.
        application: The application.
        lane: The application's lane.
        session: The operator's session.
        log: Receives the orders.
        chance: Draws the pauses.
    """

    def __init__(
        self, cluster: Cluster, application: Application, lane: Lane, session: KubeSession, log: Log, chance: random.Random
    ) -> None:
        self._cluster, self._application, self._lane, self._session, self._log = cluster, application, lane, session, log
        self._random = chance
        self._mode = Mode.COST
        self._asked: float | None = None  # Unix time of the order in progress, not verified yet
        self._due = time.monotonic() + chance.uniform(0.0, 3.0)

    def step(self, now: float) -> None:
        """See `Driver.step`."""
        if now < self._due:
            return
        if self._asked is None:
            self._pin()
            self._due = now + _CHECK_S
        elif self._verified():
            self._asked = None
            self._due = now + self._random.uniform(*self._lane.pause_s)
        else:
            self._due = now + _CHECK_S

    def _pin(self) -> None:
        if self._lane.lose:
            controller = self._cluster.load_balancer_controller(self._application.namespace)
            controller.faults = replace(self._lane.faults, lost_modify_rules=1)
        self._mode = Mode.CAPACITY if self._mode is Mode.COST else Mode.COST
        until = format_rfc3339(time.time() + _PINNED_S)
        self._asked = time.time()
        self._log.orders.append(Order(self._application.key, self._mode, self._asked))
        annotate(self._session, self._application, {PINNED_MODE: str(self._mode), PINNED_UNTIL: until, PIN_REASON: "the benchmark"})

    def _verified(self) -> bool:
        memory = remembered(self._cluster, self._application.key)
        changed = memory.changed_at if memory is not None else None
        if memory is None or changed is None or self._asked is None:
            return False
        return memory.mode is self._mode and changed >= self._asked - 1.0 and memory.verified_at is not None


class LateRules(Pins):
    """An operator who asks for a mode change on an Ingress without standby rules, and adds them while it waits, as `doctor` says.

    They are removed again before each failover.
    """

    _missing_until: float | None = None

    def step(self, now: float) -> None:
        """See `Driver.step`."""
        if self._missing_until is not None and now >= self._missing_until:
            self._missing_until = None
            self._rules(self._missing())
        super().step(now)

    def _pin(self) -> None:
        if self._mode is Mode.COST:
            if extra := len(self._ingress()["spec"]["rules"]) - 1:
                self._rules([{"op": "remove", "path": f"/spec/rules/{place}"} for place in range(extra, 0, -1)])
            self._missing_until = time.monotonic() + _WITHOUT_RULES_S
        super()._pin()

    def _ingress(self) -> Object:
        return self._session.get(INGRESSES, self._application.namespace, self._application.route.name)

    def _missing(self) -> list[dict[str, Any]]:
        """What the command that `doctor` prints sends."""
        rules = self._ingress()["spec"]["rules"]
        return standby_patch(self._application.route.part, rules, needed(self._application))

    def _rules(self, operations: list[dict[str, Any]]) -> None:
        path = INGRESSES.path(self._application.namespace, self._application.route.name)
        self._session.request("PATCH", path, body=json.dumps(operations), content_type=JSON_PATCH)


class Naive:
    """Patches the action from five Services to one and back, like the AWS sample, on an Ingress without standby rules.

    Args:
        application: The application.
        every_s: Seconds between two patches.
        session: The session that patches.
        log: Receives the orders.
    """

    def __init__(self, application: Application, every_s: float, session: KubeSession, log: Log) -> None:
        self._application, self._every_s, self._session, self._log = application, every_s, session, log
        self._mode = Mode.COST
        self._due = time.monotonic() + 5.0

    def step(self, now: float) -> None:
        """See `Driver.step`."""
        if now < self._due:
            return
        self._due = now + self._every_s
        self._mode = Mode.CAPACITY if self._mode is Mode.COST else Mode.COST
        application = self._application
        if self._mode is Mode.CAPACITY:
            targets = [Target(application.capacity.service, application.capacity.port, 1)]
        else:
            targets = [Target(unit.backend.service, unit.backend.port, unit.weight or 0) for unit in application.units]
        self._log.orders.append(Order(application.key, self._mode, time.time()))
        annotate(self._session, application, {action_key(application.route.part): format_action(targets, 0)})


class Churn:
    """Pods that come and go: one unit at a time gets a replica more, or loses it again within its grace period.

    Args:
        cluster: The cluster.
        application: The application.
        chance: Draws units and times.
    """

    def __init__(self, cluster: Cluster, application: Application, chance: random.Random) -> None:
        self._cluster, self._application, self._random = cluster, application, chance
        self._more: dict[str, int] = {unit.name: 0 for unit in application.units}
        self._due = time.monotonic() + chance.uniform(*_CHURN_S)

    def step(self, now: float) -> None:
        """See `Driver.step`."""
        if now < self._due:
            return
        self._due = now + self._random.uniform(*_CHURN_S)
        unit = self._random.choice(sorted(self._more))
        self._more[unit] = 1 - self._more[unit]
        self._cluster.scale(self._application.key, unit, REPLICAS + self._more[unit])


class Crashes:
    """Pods that crash with their requests in flight. The Deployment replaces them.

    Args:
        cluster: The cluster.
        application: The application.
        log: Receives the crashes.
        chance: Draws the units.
    """

    def __init__(self, cluster: Cluster, application: Application, log: Log, chance: random.Random) -> None:
        self._cluster, self._application, self._log, self._random = cluster, application, log, chance
        self._due = time.monotonic() + chance.uniform(5.0, _CRASH_S)

    def step(self, now: float) -> None:
        """See `Driver.step`."""
        if now < self._due:
            return
        self._due = now + _CRASH_S
        unit = self._random.choice([unit.name for unit in self._application.units])
        at = time.time()
        if address := self._cluster.crash(self._application.key, unit):
            self._log.deaths.append(Death(self._application.key, address, at))


def drivers(cluster: Cluster, plan: Plan, session: KubeSession, log: Log) -> list[Driver]:
    """All drivers of a run."""
    made: list[Driver] = []
    for lane in plan.lanes:
        for key in lane.keys:
            application, chance = cluster.members[key].application, random.Random(key)
            if lane.driver == "late-rules":
                made.append(LateRules(cluster, application, lane, session, log, chance))
            if lane.driver == "pins":
                made.append(Pins(cluster, application, lane, session, log, chance))
            if lane.driver == "patch":
                made.append(Naive(application, plan.naive_s, session, log))
            if lane.churn:
                made.append(Churn(cluster, application, chance))
            if lane.crashes:
                made.append(Crashes(cluster, application, log, chance))
    return made


class Driving:
    """Runs the drivers on a thread. Use it as a context manager.

    Args:
        drivers: The drivers.
        log: Receives problems.
    """

    def __init__(self, drivers: Sequence[Driver], log: Log) -> None:
        self._drivers, self._log = drivers, log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drivers", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stop.wait(_STEP_S):
            for driver in self._drivers:
                try:
                    driver.step(time.monotonic())
                except (RemoteError, RuntimeError, ValueError) as error:
                    self._log.problems.append(f"{type(driver).__name__}: {error}")


def annotate(session: KubeSession, application: Application, annotations: dict[str, str]) -> None:
    """Sets annotations of the Ingress.

    Raises:
        RemoteError: The request failed.
    """
    body = json.dumps({"metadata": {"annotations": annotations}})
    path = INGRESSES.path(application.namespace, application.route.name)
    session.request("PATCH", path, query=(("fieldManager", "operator"),), body=body, content_type=MERGE_PATCH)


def remembered(cluster: Cluster, key: str) -> Memory | None:
    """The controller's memory of an application, None if it has not written any yet."""
    try:
        found = cluster.api.store.get("ConfigMap", record_name(key), namespace=STATE_NAMESPACE)
    except ApiError:
        return None
    return decode(found["data"]["memory"])
