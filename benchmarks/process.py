"""Runs the controller as a separate process and measures its resource usage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

_SAMPLE_S: Final = 0.2
_STOP_S: Final = 30.0
MIB: Final = 1024 * 1024
IMAGE: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Variables of the Dockerfile that affect resource usage."""
_RUN: Final = "import sys; sys.modules['rich'] = None; from controller.cli.main import main; main()"
"""`failoverctl`, as in the image, which has no rich: where it is installed, structlog loads it, 3.6 MiB that the controller never uses."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage in an interval.

    Attributes:
        start: Seconds since the Unix epoch.
        end: Seconds since the Unix epoch.
        cpu: Share of one core; may exceed 1.
        rss_mib: Largest resident set, MiB.
    """

    start: float
    end: float
    cpu: float
    rss_mib: float


class ControllerProcess:
    """`failoverctl run` with production code and settings. Use it as a context manager.

    Args:
        environment: Its settings, as environment variables.
        log: File of its log.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._peak = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVERCTL_", "AWS_"))}
        with self._log.open("wb") as out:
            command = [sys.executable, "-c", _RUN, "run"]
            self._process = subprocess.Popen(command, env={**kept, **IMAGE, **self._environment}, stdout=out, stderr=out)
        self._meter = psutil.Process(self._process.pid)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """Sends it SIGTERM, and waits for its end. Does nothing once it has ended."""
        self._stop.set()
        self._thread.join(timeout=5)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=_STOP_S)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raises `AssertionError` if it ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"failoverctl ended with code {self._process.returncode}:\n{self.log()}")

    def log(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-4000:]

    def usage(self, seconds: float) -> Usage:
        """Measures its usage in the next seconds."""
        return self.stretch().end(after_s=seconds)

    def stretch(self) -> Stretch:
        """Begins an interval."""
        with self._lock:
            self._peak = self._meter.memory_info().rss
        return Stretch(self)

    def cpu_s(self) -> float:
        """Processor seconds used so far."""
        times = self._meter.cpu_times()
        return float(times.user + times.system)

    def peak(self) -> int:
        """Largest resident set since the interval began, bytes."""
        with self._lock:
            self._peak = max(self._peak, self._meter.memory_info().rss)
            return self._peak

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            try:
                self.peak()
            except psutil.Error:
                return


def cpu_s(controller: ControllerProcess) -> dict[str, float]:
    """Processor seconds so far of the controller, the API server and etcd."""
    servers = [one for one in psutil.Process().children(recursive=True) if one.name() in {"kube-apiserver", "etcd"}]
    used = {one.name(): one.cpu_times() for one in servers}
    return {"controller": controller.cpu_s(), **{name: float(times.user + times.system) for name, times in used.items()}}


class Stretch:
    """An interval in progress.

    Args:
        process: The process to measure.
    """

    def __init__(self, process: ControllerProcess) -> None:
        self._process = process
        self._start, self._clock, self._cpu = time.time(), time.monotonic(), process.cpu_s()

    def end(self, *, after_s: float = 0.0) -> Usage:
        """Ends the interval, after `after_s` seconds."""
        time.sleep(max(0.0, self._clock + after_s - time.monotonic()))
        wall = max(1e-9, time.monotonic() - self._clock)
        cpu = (self._process.cpu_s() - self._cpu) / wall
        return Usage(self._start, time.time(), cpu, self._process.peak() / MIB)
