"""A line at the bottom of a terminal that shows the progress of a step, redrawn in place."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from controller.cli.common import redrawable
from controller.clock import Clock

_REDRAW_S: Final = 0.1  # at most ten times a second: a step reports every request
_BAR: Final = 25  # characters
_ERASE: Final = "\r\x1b[2K"


def bar(share: float) -> str:
    """A bar of which a share, 0 to 1, is full."""
    full = int(_BAR * min(share, 1.0))
    return f"[{'#' * full}{'.' * (_BAR - full)}]"


class RedrawnLine:
    """The last line of a terminal. Writes nothing where the output is none.

    Attributes:
        shown: Whether the output is a terminal.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.shown: Final = stream.isatty() and redrawable()

    def draw(self, text: str) -> None:
        """Replaces the line."""
        self._write(f"{_ERASE}{text[: shutil.get_terminal_size().columns - 1]}")  # a full line would wrap, and stay when it is erased

    def erase(self) -> None:
        """Erases the line."""
        self._write(_ERASE)

    def _write(self, text: str) -> None:
        if self.shown:
            self._stream.write(text)
            self._stream.flush()


class ProgressLine:
    """A description, a bar and the elapsed time of a step whose length is known.

    Args:
        clock: Limits how often the line is redrawn.
        stream: Where to write; None: standard output.
    """

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock, self._line = clock, RedrawnLine(stream or sys.stdout)
        self._what, self._done_s, self._total_s = "", 0.0, 0.0
        self._drawn_at = 0.0

    def begin(self, what: str, total_s: float = 0.0) -> None:
        """Starts a step that takes `total_s` seconds; 0 if that is unknown, and then there is no bar."""
        self._what, self._done_s, self._total_s = what, 0.0, total_s
        self._draw()

    def advance(self, done_s: float) -> None:
        """Moves the bar: `done_s` seconds have passed."""
        self._done_s = done_s
        if self._clock.monotonic() - self._drawn_at >= _REDRAW_S:
            self._draw()

    @contextmanager
    def above(self) -> Iterator[None]:
        """Prints the output of the block above the line."""
        self.erase()
        yield
        self._draw()

    def erase(self) -> None:
        """Erases the line."""
        self._line.erase()

    def _draw(self) -> None:
        self._drawn_at = self._clock.monotonic()
        self._line.draw(self._text())

    def _text(self) -> str:
        if not self._total_s:
            return self._what
        minutes, seconds = divmod(int(self._done_s), 60)
        return f"{self._what} {bar(self._done_s / self._total_s)} {minutes}:{seconds:02d}"
