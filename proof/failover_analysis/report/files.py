"""Writes a report in the format that the file name asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from controller.errors import ConfigError
from failover_analysis.report.html import html
from failover_analysis.report.markdown import markdown
from failover_analysis.report.model import Report


def json_text(report: Report) -> str:
    """The report as JSON, by the schema of `failover_analysis.report.schema`."""
    return json.dumps(asdict(report), indent=1, sort_keys=True, allow_nan=False) + "\n"


_FORMS: Final[Mapping[str, Callable[[Report], str]]] = {".html": html, ".htm": html, ".md": markdown, ".json": json_text}


def check_names(paths: Sequence[Path]) -> None:
    """Checks early that the files can be written, because a report may take minutes.

    Raises:
        ConfigError: A name does not end with a known format, or the folder does not exist.
    """
    for path in paths:
        if path.suffix not in _FORMS:
            raise ConfigError(f"--report: found {path}; allowed: a name that ends with {', '.join(_FORMS)}")
        if not path.parent.is_dir():
            raise ConfigError(f"--report: found {path}; allowed: a file in a folder that exists")


def write(report: Report, paths: Sequence[Path]) -> None:
    """Writes every file.

    Raises:
        ConfigError: A file cannot be written.
    """
    for path in paths:
        try:
            path.write_text(_FORMS[path.suffix](report), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
