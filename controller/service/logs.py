"""Structured logs: dotted event names, flat keys, secrets redacted, UTC."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

import structlog

from controller.notifiers.redact import redacting_processor
from controller.settings import LogFormat, LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Sets up logging for the process. What libraries log at WARNING or above gets the same redaction.

    Args:
        settings: Level and format.
    """
    level = logging.getLevelNamesMapping()[settings.level.value.upper()]
    shared = _processors()
    renderer = structlog.processors.JSONRenderer() if settings.format is LogFormat.JSON else _for_people()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_plain, renderer]))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # A job is skipped by design while its last run goes on. Jobs log their own failures.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)


@contextmanager
def only_errors() -> Iterator[None]:
    """Within, a command logs what nobody expects, to standard error: what it prints is its output. structlog's default goes to that."""
    before = structlog.get_config()
    structlog.configure(
        processors=[*_processors(), _for_people()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


class _Unfailing:
    """A stream that loses what cannot be written: a full disk, or a reader that is gone, must not end the pass that logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redacting_processor,
    ]


def _for_people() -> Any:  # noqa: ANN401 - structlog's renderers have no common type
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())


def _plain(logger: Any, method: str, event: Any) -> Any:  # noqa: ANN401 - structlog's processor signature
    return structlog.stdlib.ProcessorFormatter.remove_processors_meta(logger, method, event)
