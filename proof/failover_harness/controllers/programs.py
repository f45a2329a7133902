"""Runs a cluster's programs as processes."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

_STOP_S: Final = 20.0
_LOG_LINES: Final = 30
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_LIBRARY: Final = ctypes.CDLL(None) if sys.platform == "linux" else None  # before any fork


@dataclass(slots=True)
class Program:
    """A running program.

    Attributes:
        name: Its name.
        log: File of its output.
        start: Starts it.
        process: Its process.
    """

    name: str
    log: Path
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes]

    def restart(self) -> None:
        """Kills it and starts it anew."""
        self.process.kill()
        self.process.wait(timeout=_STOP_S)
        self.process = self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Suspends it; on exit it continues."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def report(self) -> str:
        """Its state and last log lines, for the message of a failed test."""
        code = self.process.poll()
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        state = "runs" if code is None else f"ended with code {code}"
        return "\n".join([f"{self.name} {state}, and logged last:", *(f"    {one[:400]}" for one in lines)])

    def ready(self, port: int) -> bool:
        """Whether its readiness probe on a local port succeeds.

        Raises:
            AssertionError: The process ended.
        """
        assert self.process.poll() is None, self.report()
        try:
            return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", timeout=2, retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False


@contextmanager
def started(path: Path, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Program]:
    """Starts a program and ends it on exit. If the test process is killed, the kernel ends the program (on Linux).

    Args:
        path: The program.
        arguments: Its command-line arguments.
        environment: Its whole environment.
        log: File of its output.
    """

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                [str(path), *arguments],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - only calls the kernel
            )

    made = Program(path.name, log, start, start())
    try:
        yield made
    finally:
        made.process.terminate()
        try:
            made.process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait(timeout=_STOP_S)


def _die_with_parent() -> None:
    if _LIBRARY is not None:
        _LIBRARY.prctl(_DEATH_SIGNAL, signal.SIGKILL)
