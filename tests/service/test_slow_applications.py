"""One application's writes hang; the others do not notice."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.service.executor import SIDE_BY_SIDE
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import NAMESPACE, Cluster, running, settings_for, write_applications

SLOW = [f"a-slow-{number}" for number in range(3)]  # before `sd21` in every order
LAST = "z-last"
ALL = ("sd21", *SLOW, LAST)


class Hanging:
    """Requests whose path ends with one of some names hang until they are released."""

    def __init__(self, *ends: str) -> None:
        self._ends = ends
        self.released = threading.Event()
        self._lock = threading.Lock()
        self.hanging: dict[str, int] = {}
        self.most = 0

    def over(self, session: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """The session, from now on."""
        request = session.request

        def hang(method: str, path: str, **rest: Any) -> dict[str, Any]:
            if method in {"PATCH", "PUT"} and path.endswith(self._ends):
                with self._lock:
                    self.hanging[path] = self.hanging.get(path, 0) + 1
                    self.most = max(self.most, self.hanging[path])
                self.released.wait(60)
                with self._lock:
                    self.hanging[path] -= 1
            return request(method, path, **rest)  # type: ignore[no-any-return]

        monkeypatch.setattr(session, "request", hang)
        return session


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The application `sd21`, and others with the same units and Ingresses of their own."""
    made = Cluster(AcceleratedClock(20))
    made.add_ingresses((*SLOW, LAST))
    yield made
    made.close()


def service_of(cluster: Cluster, folder: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service over all of them."""
    files = write_applications(folder, ALL)
    session = hanging.over(cluster.session(folder), monkeypatch)
    return Service(settings_for(files), session, cluster.clock)


def test_a_webhook_that_hangs_for_some_applications_delays_no_other(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failover of the healthy one is complete while the others' first requests still hang; and none of those is sent twice at once."""
    hanging = Hanging(*(f"/ingresses/{name}" for name in SLOW))
    with running(service_of(cluster, tmp_path, hanging, monkeypatch)) as service:
        wait_for("the first decisions", lambda: len(service.controller.views()) == len(ALL))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        try:
            wait_for("the requests that hang", lambda: sum(hanging.hanging.values()) == len(SLOW))
            wait_for("capacity mode of the healthy one", lambda: cluster.mode() == "capacity")
            for _ in range(5):
                cluster.pend("sd21-inf2")  # something changes for all of them
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("a pass after it", lambda: _waiting(service, "shop/sd21") == 7)
            assert urllib.request.urlopen(f"http://127.0.0.1:{service.http_port}/healthz").read() == b"ok"
            assert hanging.most == 1
        finally:
            hanging.released.set()
        wait_for("the others", lambda: all(cluster.mode(name) == "capacity" for name in SLOW))


def _waiting(service: Service, key: str) -> int:
    (view,) = [one for one in service.controller.views() if one.application.key == key]
    return len(view.snapshot.units["sd21-inf2"].pending)


def test_floors_that_hang_for_one_application_leave_threads_for_the_others(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each plan has its own share of the threads that send actions."""
    hanging = Hanging("-hpa")
    assert len(cluster.store.list("ScaledObject", namespace=NAMESPACE)) >= SIDE_BY_SIDE
    with running(service_of(cluster, tmp_path, hanging, monkeypatch)) as service:
        wait_for("the first decisions", lambda: len(service.controller.views()) == len(ALL))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        try:
            wait_for("the others", lambda: all(cluster.mode(name) == "capacity" for name in ALL if name != "sd21"))
            assert cluster.mode() != "capacity", "its floors come before its routing action"
        finally:
            hanging.released.set()
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
