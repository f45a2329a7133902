"""Fixtures of the notifiers' tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.notifiers.dispatcher import Dispatcher
from controller.ports import Notifier
from failover_testbed.clocks import ManualClock
from tests.notifiers.support import START
from tests.support.proxies import without_proxies


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the machine's proxy out of connections to loopback."""
    without_proxies(monkeypatch)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def dispatch(clock: ManualClock) -> Iterator[Callable[..., Dispatcher]]:
    """Makes dispatchers on the manual clock, without jitter, and closes them."""
    made: list[Dispatcher] = []

    def make(*sinks: Notifier, **changes: Any) -> Dispatcher:
        # Waits on the manual clock pass at once and in several threads: a maximum age of an hour leaves room for them.
        settings: dict[str, Any] = {"attempts": 3, "retry_base_s": 1.0, "retry_max_s": 8.0, "max_age_s": 3600.0, "stuck_after_s": 1e9}
        dispatcher = Dispatcher(sinks, clock, **(settings | {"jitter": lambda: 1.0} | changes))
        made.append(dispatcher)
        return dispatcher

    yield make
    for dispatcher in made:
        dispatcher.close(0.0)
