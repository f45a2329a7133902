"""Settings come from the environment, in our names and the seed's."""

import pytest
from failover_model_server.settings import Settings
from pydantic import ValidationError


def test_the_seeds_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Deployment written for the seed's scripts keeps its variables; `xla` is Neuron."""
    variables = {"APP": "sd21", "DEVICE": "xla", "NODEPOOL": "inf2", "MODEL_ID": "org/model", "COMPILED_MODEL_ID": "org/neff"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.app, settings.backend, settings.node_pool, settings.model, settings.compiled_model) == (
        "sd21",
        "neuron",
        "inf2",
        "org/model",
        "org/neff",
    )


def test_our_variables_win_and_foreign_ones_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """MODEL_SERVER_APP beats APP; PORT, which platforms set for many reasons, is not read."""
    monkeypatch.setenv("APP", "seed")
    monkeypatch.setenv("MODEL_SERVER_APP", "ours")
    monkeypatch.setenv("PORT", "1")
    settings = Settings()
    assert (settings.app, settings.port) == ("ours", 8000)


@pytest.mark.parametrize("value", ["0,1", "2,1", "1,1", "a"])
def test_bad_buckets_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Buckets are positive, ascending, each once."""
    monkeypatch.setenv("MODEL_SERVER_BATCH_BUCKETS", value)
    with pytest.raises(ValidationError):
        Settings()


def test_buckets_are_read_from_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,2,4 is three buckets."""
    monkeypatch.setenv("MODEL_SERVER_BATCH_BUCKETS", "1,2, 4")
    assert Settings().batch_buckets == (1, 2, 4)
