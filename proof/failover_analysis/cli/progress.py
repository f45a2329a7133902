"""How far a long command is and when it will end, on standard error; and what Ctrl-C means to it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self, TextIO

from controller.cli.progress import RedrawnLine, bar
from controller.clock import Clock
from controller.policy.text import duration

STOPPED: Final = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as shells count it."""

_FIRST_S: Final = 2.0  # what ends sooner shows nothing
_REDRAW_S: Final = 0.2
_LINE_S: Final = 30.0  # between two lines where there is no terminal
_LEAST_SHARE: Final = 0.005  # from less than that no end can be estimated


class Progress:
    """Shows the share that is done and the time that is left: a bar on a terminal, elsewhere a line now and then.

    As a context manager it also takes Ctrl-C: the first one sets `stopped`, so that the command keeps what it has; the second ends it at
    once.

    Attributes:
        stopped: Whether the command is to end with what it has.

    Args:
        what: What is done, e.g. ``simulate``.
        clock: For the time that is left.
        stream: Where to write; None: standard error.
    """

    def __init__(self, what: str, clock: Clock, stream: TextIO | None = None) -> None:
        self._what, self._clock, self._stream = what, clock, stream or sys.stderr
        self._line = RedrawnLine(self._stream)
        self._begin = clock.monotonic()
        self._next = self._begin + (_FIRST_S if self._line.shown else _LINE_S)
        self._text = ""
        self.stopped = False

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
        self._line.erase()

    def update(self, share: float, detail: str = "") -> None:
        """Shows the progress if it is time to.

        Args:
            share: What is done, 0 to 1.
            detail: The same in the command's own words, e.g. ``3 of 20 runs``.
        """
        now = self._clock.monotonic()
        if now < self._next:
            return
        self._next = now + (_REDRAW_S if self._line.shown else _LINE_S)
        left = (now - self._begin) * (1 - share) / share if share > _LEAST_SHARE else None
        ahead = "" if left is None else f", about {duration(max(1.0, left))} left"
        words = f"{share:.0%}{f' ({detail})' if detail else ''}{ahead}"
        if self._line.shown:
            self._text = f"{self._what} {bar(share)} {words}"
            self._line.draw(self._text)
        else:
            self._stream.write(f"{self._what}: {words}\n")
            self._stream.flush()

    @contextmanager
    def above(self) -> Iterator[None]:
        """Prints the output of the block above the line."""
        self._line.erase()
        yield
        if self._text:
            self._line.draw(self._text)

    def _interrupted(self, number: int, frame: FrameType | None) -> Any:  # noqa: ANN401, ARG002 - the signature is the signal module's
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        self._line.erase()
        self._stream.write("stopping, and keeping what is computed; Ctrl-C once more ends at once\n")
        self._stream.flush()
