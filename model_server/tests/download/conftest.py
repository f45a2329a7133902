"""Downloads of the tests wait for nothing, and leave this process able to fetch."""

import os
from collections.abc import Iterator

import pytest

from failover_model_server.download import deadline, offline


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "BACKOFF", 0.01)


@pytest.fixture(autouse=True)
def _online_again() -> Iterator[None]:
    """`fetch` ends by forbidding this process to fetch: on purpose, but not for the next test."""
    before = dict(os.environ)
    yield
    for name in offline.VARIABLES:
        os.environ.pop(name, None)
        if name in before:
            os.environ[name] = before[name]
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = False
