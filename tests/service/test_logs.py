"""What a command logs, and where."""

from __future__ import annotations

import pytest
import structlog

from controller.service.logs import only_errors

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
