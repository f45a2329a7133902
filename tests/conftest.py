"""What holds for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A profile of whoever runs the tests must not get between them and the emulated AWS.
os.environ.pop("AWS_PROFILE", None)

# No test asserts a duration: a slow machine must not make a property false.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# Real servers, processes or long recordings: part of `make test`, left out of `make test-unit`.
_SLOW = (
    "tests/embedded/",
    "tests/service/",
    "tests/cli/",
    "tests/notifiers/",
    "tests/clients/",
    "tests/actuators/test_kube.py",
    "tests/actuators/test_verification_moto.py",
    "tests/signals/test_watch.py",
    "tests/signals/test_once.py",
    "tests/signals/test_cluster.py",
    "tests/signals/test_cloudwatch",
    "tests/signals/test_ec2",
    "tests/signals/test_recordings.py",
)
_ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs more than the process itself."""
    for item in items:
        if str(item.path.relative_to(_ROOT)).startswith(_SLOW):
            item.add_marker(pytest.mark.slow)
