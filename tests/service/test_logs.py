"""What a command logs, and where."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from controller.service.logs import configure_logging, only_errors
from controller.settings import LogSettings

KEY = "AKIAIOSFODNN7EXAMPLE"


def test_a_command_logs_errors_alone_without_secrets_and_not_into_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    """With the traceback; once the command has ended, the configuration is that of before."""
    before, log = structlog.get_config(), structlog.get_logger()
    with only_errors():
        log.warning("prices.late")
        try:
            int(KEY)
        except ValueError:
            log.exception("verification.failed", application="shop/sd21")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "prices.late" not in printed.err
    assert all(text in printed.err for text in ("verification.failed", "shop/sd21", "Traceback", "ValueError: invalid literal"))
    assert KEY not in printed.err
    assert structlog.get_config() == before


class _Full:
    """Standard error on a disk that is full."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

    def write(self, _: str) -> int:
        """Refuses it."""
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = close = lambda self: self.write("")


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Logging as it was."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("unchanged")
def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass logs its decision: with standard error on a full disk none came to its failover."""
    monkeypatch.setattr(sys, "stderr", _Full())
    configure_logging(LogSettings())
    structlog.get_logger().info("decision.changed")
    logging.getLogger("library").warning("pool is full")
