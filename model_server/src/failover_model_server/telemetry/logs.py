"""Structured logs on standard output: one JSON object a line, or coloured text for a person at a terminal."""

import logging
import sys
from typing import Literal

import structlog


def configure(form: Literal["json", "text"], level: str) -> None:
    """Send our logs and those of libraries the same way.

    Uvicorn's access log is off: `request` is logged once a request, with its id and outcome.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for quiet in ("httpx", "httpcore", "urllib3", "botocore"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    for telling in ("huggingface_hub.file_download", "huggingface_hub.utils._http"):
        logging.getLogger(telling).setLevel(logging.ERROR)  # warnings have URLs: a mirror's with its password, or signed ones
