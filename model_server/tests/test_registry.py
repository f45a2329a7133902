"""Backends and tasks are found by entry points."""

from importlib.metadata import EntryPoint

import pytest
from failover_model_server import registry
from failover_model_server.backends.echo import EchoBackend
from failover_model_server.errors import LoadError
from failover_model_server.tasks.echo import EchoTask


def test_the_echo_pair_is_found() -> None:
    """A name of each group gives its class."""
    assert registry.backend("echo") is EchoBackend
    assert registry.task("echo") is EchoTask


def test_an_unknown_name_tells_what_there_is() -> None:
    """A misspelt backend fails with the names that would do."""
    with pytest.raises(LoadError, match=r"backend 'tpu'.*installed: .*echo"):
        registry.backend("tpu")


def test_missing_libraries_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose libraries are not installed says which extra to install."""
    point = EntryPoint("cuda", "a_library_that_is_not_there:Backend", registry.BACKENDS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: (point,))
    with pytest.raises(LoadError, match=r"failover-model-server\[cuda\]"):
        registry.backend("cuda")


def test_an_entry_point_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that is not a backend is not run as one."""
    point = EntryPoint("odd", "failover_model_server.tasks.echo:EchoTask", registry.BACKENDS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: (point,))
    with pytest.raises(LoadError, match="not a Backend"):
        registry.backend("odd")
