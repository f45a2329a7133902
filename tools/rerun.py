"""A rerun of the tests that failed, by a target that starts pytest several times: where nothing is left to run is no failure."""

from __future__ import annotations

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Succeed where `--last-failed --last-failed-no-failures=none` selects nothing: pytest ends with 5 then, and make with it."""
    option = session.config.getoption
    left_out = option("--last-failed", default=False) and option("--last-failed-no-failures", default="all") == "none"
    if left_out and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
