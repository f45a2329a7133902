"""A thread that works in rounds, as controllers and kubelets do."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

_STOP_S = 10.0


class Rounds(ABC):
    """Runs rounds on a thread inside the context.

    Args:
        name: The thread's name.
        every_s: Seconds between two rounds.
    """

    def __init__(self, name: str, every_s: float) -> None:
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=_STOP_S)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @abstractmethod
    def round(self) -> None:
        """Does one round; must not raise."""

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.round()
