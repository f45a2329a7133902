"""Settings of the tests come from the tests alone."""

import os

import pytest

SEEDS = {"APP", "DEVICE", "MODEL_ID", "COMPILED_MODEL_ID", "NODEPOOL", "POD_NAME", "MAX_NEW_TOKENS"}


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in SEEDS or name.startswith(("MODEL_SERVER_", "ECHO_")):
            monkeypatch.delenv(name)
