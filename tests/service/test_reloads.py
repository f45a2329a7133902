"""What fails in a reload of the application files is done by the next one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from controller.catalog.reload import CatalogWatcher
from controller.clock import ManualClock
from controller.service.telemetry import Telemetry
from controller.service.wiring import Service
from tests.service.test_terms import Leader
from tests.support.applications import NOW
from tests.support.cluster import application_document


class Parts:
    """The parts of a service that a reload needs. One of them may fail once."""

    def __init__(self, folder: Path, failing: str) -> None:
        self.failing, self.configured, self.watched, self.reasons = failing, list[list[str]](), list[list[str]](), list[str]()
        self.folder, clock = folder, ManualClock(NOW)
        self.write("sd21")
        catalog = CatalogWatcher(folder, clock)
        catalog.start()
        controller = SimpleNamespace(configure=self._configure, publish=lambda found: self.reasons.extend(one.reason for one in found))
        self.service = SimpleNamespace(
            _catalog=catalog,
            _clock=clock,
            _leadership=Leader(1),
            _telemetry=Telemetry(),
            _watches=SimpleNamespace(ensure=self._ensure),
            controller=controller,
        )
        self.service._take_over = lambda change: Service._take_over(cast("Service", self.service), change)

    def write(self, name: str) -> None:
        document = application_document()
        document["metadata"]["name"] = name
        document["spec"]["ingress"] = name
        for unit in document["spec"]["units"]:
            unit.pop("scaledObject", None)
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(document))

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
def test_a_reload_that_fails_half_way_is_done_again(tmp_path: Path, failing: str) -> None:
    """An application without watches would hold for ever, and one that is not taken over at all is not even shown."""
    parts = Parts(tmp_path, failing)
    parts.write("sd22")
    with pytest.raises(RuntimeError):
        parts.reload()
    parts.reload()
    assert parts.configured == [["sd21", "sd22"]]
    assert parts.watched == [["sd21", "sd22"]]
    parts.reload()
    assert parts.configured == [["sd21", "sd22"]], "once is enough"
    assert parts.reasons == ["ConfigReloaded"]


def test_files_that_are_refused_leave_the_watches_as_they_are(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "")
    (tmp_path / "sd22.yaml").write_text("broken")
    parts.reload()
    parts.reload()
    assert parts.reasons == ["ConfigRefused"]
    assert parts.watched == [["sd21"], ["sd21"]]
    assert not parts.configured
