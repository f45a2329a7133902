"""One refusal concerns many applications: all mode changes come before the rest of any plan."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from controller.clock import Clock
from controller.policy.model import Memory, Mode, Sample, Source
from controller.recording.stored import decode
from controller.service import controller as module
from controller.service.controller import WORKERS
from controller.service.store import record_name
from controller.service.wiring import Service
from controller.signals.external import Poll
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.applications import seed_units
from tests.support.cluster import NAMESPACE, Cluster, running, settings_for, write_applications

STATE_NAMESPACE = "failover-system"
FIRST = "sd21"
OTHERS = [f"z-{number:02d}" for number in range(2 * WORKERS)]  # after `sd21` in every order
ALL = (FIRST, *OTHERS)
FEW = 2
"""In place of `controller.service.controller.MANY`."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The application `sd21`, and others with the same units and Ingresses of their own."""
    made = Cluster(AcceleratedClock(20))
    made.add_ingresses(OTHERS)
    yield made
    made.close()


class Busy:
    """Metrics by which every unit has more requests than its replicas carry.

    Args:
        clock: Of the values.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def poll(self, *_: object) -> None:
        """There is nothing to poll."""

    def source(self, _: str) -> Source:
        """Fresh."""
        return Source("cloudwatch", required=False, last_ok=self._clock.now(), budget_s=180.0)

    def demand(self, *_: object) -> Sample:
        """See `controller.signals.snapshots.Metrics`."""
        return Sample(1000.0, self._clock.now())

    def latency(self, *_: object) -> None:
        """Not known."""

    def error_ratio(self, _: object) -> None:
        """Not known."""


class Writes:
    """The paths that were written, in the order in which the requests began."""

    def __init__(self, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        request, lock = session.request, threading.Lock()

        def noted(method: str, path: str, **rest: Any) -> dict[str, Any]:
            if method in {"PATCH", "PUT", "POST"}:
                with lock:
                    self.paths.append(path)
            return request(method, path, **rest)  # type: ignore[no-any-return]

        monkeypatch.setattr(session, "request", noted)

    def settle(self) -> None:
        """Forgets them once none has come for a while: what earlier changes led to is over."""
        for _ in range(50):
            before = len(self.paths)
            time.sleep(0.3)
            if len(self.paths) == before:
                break
        self.paths.clear()

    def moved(self, place: int) -> int:
        """The number of Ingresses that were written before a place."""
        return len({path for path in self.paths[:place] if "/ingresses/" in path})

    def first(self, *ends: str) -> int:
        """The place of the first write of any of these objects."""
        return next(place for place, path in enumerate(self.paths) if path.endswith(ends))

    def saved(self, name: str) -> int:
        """The place of the first write of an application's memory after that of its Ingress: an earlier one has nothing to do with it."""
        moved, record = self.first(f"/ingresses/{name}"), record_name(f"{NAMESPACE}/{name}")
        return next(place for place, path in enumerate(self.paths) if place > moved and path.endswith(f"/configmaps/{record}"))


def service_of(cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch, *, demand_known: bool) -> tuple[Service, Writes]:
    """The service over all of them, and what it writes."""
    files = write_applications(folder, ALL)
    session = cluster.session(folder)
    service = Service(settings_for(files), session, cluster.clock)
    if demand_known:
        busy, external = cast("Any", Busy(cluster.clock)), service._external
        external._signals = replace(external._signals, metrics=busy)
        external.polls["cloudwatch"] = Poll("cloudwatch", 60.0, lambda _: None, lambda one: busy.source(one.key))
    return service, Writes(session, monkeypatch)


def stored(cluster: Cluster, name: str) -> Memory:
    """An application's stored memory."""
    found = cluster.store.get("ConfigMap", record_name(f"{NAMESPACE}/{name}"), namespace=STATE_NAMESPACE)
    return decode(found["data"]["memory"])


def floors(cluster: Cluster) -> dict[str, int]:
    """The floor of each ScaledObject by its name."""
    return {one["metadata"]["name"]: one["spec"]["minReplicaCount"] for one in cluster.store.list("ScaledObject", namespace=NAMESPACE)}


@pytest.mark.parametrize("many", [pytest.param(FEW, id="mass event"), pytest.param(len(ALL), id="few at a time")])
def test_the_traffic_of_all_moves_before_the_floors_of_any(
    many: int, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few wait, each plan is carried out in its own order. Either way everything is written in the end, and remembered."""
    monkeypatch.setattr(module, "MANY", many)
    service, writes = service_of(cluster, tmp_path, monkeypatch, demand_known=True)
    with running(service):
        wait_for("the first decisions", lambda: len(service.controller.views()) == len(ALL))
        cluster.pend("sd21-inf2", 2)
        wait_for("stored memory of all", lambda: len(cluster.store.list("ConfigMap", namespace=STATE_NAMESPACE)) >= len(ALL))
        writes.settle()
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode of all", lambda: all(cluster.mode(name) == "capacity" for name in ALL))
        wait_for("the floors", lambda: any(path.endswith("-hpa") for path in writes.paths))
        wait_for("the memory of all", lambda: all(stored(cluster, name).mode is Mode.CAPACITY for name in ALL))
    raised, traffic = writes.first("-hpa"), writes.first(f"/ingresses/{FIRST}")
    if many != FEW:
        assert raised < traffic
        return
    assert traffic < raised
    assert writes.moved(raised) >= len(ALL) - WORKERS, "the others' passes had begun before"
    saved = min(writes.saved(name) for name in ALL)
    assert writes.moved(saved) >= len(ALL) - WORKERS - FEW, "a pass saves once few wait; the others' have begun"


def test_no_floor_is_lost_while_the_demand_is_not_known(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They rise once after the mode change: the pass that follows it raises them, and the memory says until then that they are due."""
    monkeypatch.setattr(module, "MANY", FEW)
    service, writes = service_of(cluster, tmp_path, monkeypatch, demand_known=False)
    with running(service):
        wait_for("the first decisions", lambda: len(service.controller.views()) == len(ALL))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode of all", lambda: all(cluster.mode(name) == "capacity" for name in ALL))
        wait_for("the memory of all", lambda: all(stored(cluster, name).mode is Mode.CAPACITY for name in ALL))
        wait_for("the floors", lambda: floors(cluster) == dict.fromkeys((f"{unit.name}-hpa" for unit in seed_units()), 3))
    assert writes.first(f"/ingresses/{FIRST}") < writes.first("-hpa")
    assert not any(one.due for one in stored(cluster, FIRST).floors.values())
