"""Structured logs: dotted event names, flat keys, secrets redacted, UTC."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from controller.notifiers.redact import redacting_processor
from controller.settings import LogFormat, LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Sets up logging for the process. What libraries log at WARNING or above gets the same redaction.

    Args:
        settings: Level and format.
    """
    level = logging.getLevelNamesMapping()[settings.level.value.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redacting_processor,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_plain, renderer]))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # A job is skipped by design while its last run goes on. Jobs log their own failures.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


def _plain(logger: Any, method: str, event: Any) -> Any:  # noqa: ANN401 - structlog's processor signature
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)
