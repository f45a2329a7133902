"""CSV files that people export, read strictly: no line is left out unnoticed, and each fault names its place."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from controller.documents import describe_value
from controller.errors import ConfigError

MOST_BYTES: Final = 64 * 2**20
"""Longest file that is read."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file.

    Attributes:
        file: Its path, for messages.
        number: Which line it is, counted from 1.
        cells: What is between its commas.
    """

    file: Path
    number: int
    cells: tuple[str, ...]

    def count(self, place: int, what: str) -> float:
        """The number in a cell, which is not negative.

        Args:
            place: Which cell, counted from 0; -1 for the last one.
            what: What it is, for messages.

        Raises:
            ConfigError: There is none, or no such number in it.
        """
        if place >= len(self.cells):
            raise self.fault(f"{what}: found {len(self.cells)} column(s); allowed: at least {place + 1}")
        value = _number(self.cells[place])
        if value is None or value < 0:
            raise self.fault(f"{what}: found {describe_value(self.cells[place])}; allowed: a number that is not negative")
        return value

    def is_text(self, place: int) -> bool:
        """Whether a cell is a text and no number, as in a first line that names the columns."""
        return bool(self.cells[place:]) and bool(self.cells[place].strip()) and not _numeric(self.cells[place])

    def fault(self, text: str) -> ConfigError:
        """An error about the line."""
        return ConfigError(f"{self.file}:{self.number}: {text}")


def read_lines(path: Path) -> list[Line]:
    """The lines of a file that are not empty.

    Raises:
        ConfigError: It cannot be read, is too large, or is no CSV in UTF-8.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes; allowed: at most that")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            return [Line(path, rows.line_num, tuple(row)) for row in rows if any(cell.strip() for cell in row)]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: no CSV file in UTF-8: {error}") from error


def out_of_order(lines: Sequence[Line], times: Sequence[float]) -> Line | None:
    """The first line whose time is before that of the line above; None where there is none.

    Args:
        lines: Each with a time.
        times: Theirs, in any unit.
    """
    return next((line for line, (earlier, later) in zip(lines[1:], pairwise(times), strict=False) if later < earlier), None)


def _number(text: str) -> float | None:
    """A number as people and spreadsheets write it; None for any other text, and for one that is not finite."""
    value = float(text) if _numeric(text) else math.nan
    return value if math.isfinite(value) else None


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
