"""Fixtures of the tests on the real control plane."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.election.group import Group
from tests.cluster.manifests import KUSTOMIZE, apply_folder
from tests.cluster.stack import Stack
from tests.support.constants import set_constant


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the state of the cluster to a failed test's report, because most fail by a timeout on another component."""
    report = yield
    if report.failed and call.when == "call":
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Stack | Group | ControlPlane):
                report.sections.append((f"state of {name}", value.report()))
    return report


@pytest.fixture(autouse=True)
def quick_dwell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shortage may follow a fallback at once: these tests wait in real time."""
    set_constant(monkeypatch, "DWELL_COST_S", 0.0)


@pytest.fixture(scope="session")
def installed(plane: ControlPlane) -> ControlPlane:
    """The control plane with the controller's manifests applied as documented."""
    apply_folder(plane, KUSTOMIZE / "base")
    return plane


@pytest.fixture
def stack(installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    """An application with one ready replica of every unit."""
    with Stack(installed, namespace, tmp_path) as made:
        yield made
