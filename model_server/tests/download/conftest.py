"""Downloads of the tests wait for nothing, and leave this process able to fetch."""

from collections.abc import Iterator

import pytest
from failover_model_server.download import deadline

from tests.support.online import online


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "BACKOFF", 0.01)


@pytest.fixture(autouse=True)
def _online_again() -> Iterator[None]:
    online()
    yield
    online()
