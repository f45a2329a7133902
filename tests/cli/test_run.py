"""What `failoverctl run` sets for its process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any, cast

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
    before = sys.getswitchinterval()
    for name in ("configure_logging", "open_session"):
        monkeypatch.setattr(module, name, lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("unchanged")
def test_threads_take_turns_sooner_than_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode change waits for its turn after each answer, beside a thread that reads ten thousand metrics."""
    monkeypatch.setattr(module, "Service", Idle)
    before = sys.getswitchinterval()
    module.run(cast("Any", Defaults()), dry_run=True)
    assert 0 < Idle.interval_s < before
