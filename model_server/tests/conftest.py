"""Settings of the tests come from the tests alone."""

import os
from importlib.util import find_spec

import pytest

if find_spec("hypothesis"):  # the environment of vLLM has none
    from hypothesis import HealthCheck, settings

    # No test asserts a duration: a slow machine must not make a property false.
    settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("project")

SEEDS = {"APP", "DEVICE", "MODEL_ID", "COMPILED_MODEL_ID", "NODEPOOL", "POD_NAME", "MAX_NEW_TOKENS"}

TORCH = find_spec("torch") is not None
CLIENTS = find_spec("tritonclient") is not None
# A proxy of the machine must not stand before the servers that tests start. Python reads the second name first.
for excepted in ("NO_PROXY", "no_proxy"):
    os.environ[excepted] = ",".join(filter(None, (os.environ.get(excepted), "127.0.0.1,localhost")))

collect_ignore = [*([] if TORCH else ["pipelines"]), *([] if CLIENTS else ["clients"])]


def pytest_report_header() -> str:
    """Say what is left out."""
    pipelines = "torch is here" if TORCH else "LEFT OUT, torch is not installed; `make test-pipelines` runs them"
    clients = "here" if CLIENTS else "LEFT OUT, they are not installed; `make test-clients` runs them"
    return f"pipelines: {pipelines}; clients: {clients}"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in SEEDS or name.startswith(("MODEL_SERVER_", "ECHO_")):
            monkeypatch.delenv(name)
