"""What `failoverctl run` sets for its process."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import Mock

import pytest

from controller.cli import run as module
from controller.settings import Settings


class Idle:
    """A service that notes how the process is set up when it runs, and ends."""

    interval_s = 0.0

    def __init__(self, *_: Any, **__: Any) -> None:
        """It needs nothing."""

    def run(self) -> None:
        """See `controller.service.wiring.Service.run`."""
        Idle.interval_s = sys.getswitchinterval()


class Defaults:
    """Options without any."""

    def settings(self) -> Settings:
        """The defaults."""
        return Settings()


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as it was."""
    before, files = sys.getswitchinterval(), resource.getrlimit(resource.RLIMIT_NOFILE)
    for name in ("configure_logging", "open_session"):
        monkeypatch.setattr(module, name, lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    yield
    sys.setswitchinterval(before)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)


@pytest.mark.usefixtures("unchanged")
def test_threads_take_turns_sooner_than_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode change waits for its turn after each answer, beside a thread that reads ten thousand metrics."""
    monkeypatch.setattr(module, "Service", Idle)
    before = sys.getswitchinterval()
    module.run(cast("Any", Defaults()), dry_run=True)
    assert 0 < Idle.interval_s < before


@pytest.mark.usefixtures("unchanged")
def test_it_has_as_many_connections_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes give 1,024 at first. Where each of a hundred namespaces is watched alone, none was left for the Lease."""
    monkeypatch.setattr(module, "Service", Idle)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    module.run(cast("Any", Defaults()), dry_run=True)
    soft, after = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert after == hard
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(65_536, hard))


@pytest.mark.usefixtures("unchanged")
def test_a_limit_that_the_system_does_not_give_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS, which names none and refuses more than its own."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", Mock(side_effect=ValueError("current limit exceeds maximum limit")))
    module.allow_files()
    monkeypatch.undo()
