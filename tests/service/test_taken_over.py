"""What fails while a change of the applications is taken over is done by the next job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from controller.clients.kube import FAILOVER_APPLICATIONS
from controller.service.application_objects import ObjectCatalog
from controller.service.telemetry import Telemetry
from controller.service.wiring import Service
from failover_testbed.clocks import ManualClock
from tests.service.test_terms import Leader
from tests.support.applications import NOW
from tests.support.cluster import application_document


class Parts:
    """The parts of a service that a change of the applications needs. One of them may fail once."""

    def __init__(self, failing: str) -> None:
        self.failing, self.configured, self.watched, self.reasons = failing, list[list[str]](), list[list[str]](), list[str]()
        clock = ManualClock(NOW)
        self.catalog = ObjectCatalog(cast("Any", None), clock)
        self.apply("sd21")
        self.catalog.poll()
        controller = SimpleNamespace(configure=self._configure, publish=lambda found: self.reasons.extend(one.reason for one in found))
        self.service = SimpleNamespace(
            _catalog=self.catalog,
            _objects=self.catalog,
            _clock=clock,
            _leadership=Leader(1),
            _telemetry=Telemetry(),
            _watches=SimpleNamespace(ensure=self._ensure),
            controller=controller,
        )
        self.service._take_over = lambda change: Service._take_over(cast("Service", self.service), change)

    def apply(self, name: str, **spec: object) -> None:
        """The watch delivers an application that claims what no other does."""
        document = application_document()
        document["metadata"] |= {"name": name, "uid": name, "generation": 1}
        document["spec"]["ingress"] = name
        for unit in document["spec"]["units"]:
            unit.pop("scaledObject", None)
        document["spec"] |= spec
        self.catalog.changed(FAILOVER_APPLICATIONS, None, "MODIFIED", document)

    def reload(self) -> None:
        Service._reload(cast("Service", self.service))

    def _fail_once(self, part: str) -> None:
        if self.failing == part:
            self.failing = ""
            raise RuntimeError("can't start new thread")

    def _configure(self, applications: dict[str, Any]) -> None:
        self._fail_once("configure")
        self.configured.append(sorted(one.name for one in applications.values()))

    def _ensure(self, applications: Any) -> None:
        self._fail_once("ensure")
        self.watched.append(sorted(one.name for one in applications))


@pytest.mark.parametrize("failing", ["configure", "ensure"])
def test_a_change_that_fails_half_way_is_done_again(failing: str) -> None:
    """An application without watches would hold for ever, and one that is not taken over at all is not even shown."""
    parts = Parts(failing)
    parts.apply("sd22")
    with pytest.raises(RuntimeError):
        parts.reload()
    parts.reload()
    assert parts.configured == [["sd21", "sd22"]]
    assert parts.watched == [["sd21", "sd22"]]
    parts.reload()
    assert parts.configured == [["sd21", "sd22"]], "once is enough"
    assert parts.reasons == ["ConfigReloaded"]


def test_an_object_that_is_refused_leaves_the_watches_as_they_are() -> None:
    parts = Parts("")
    parts.apply("sd22", units=[])
    parts.reload()
    parts.reload()
    assert parts.reasons == ["ConfigRefused"]
    assert parts.watched == [["sd21"], ["sd21"]]
    assert not parts.configured
