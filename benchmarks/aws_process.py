"""Runs the AWS of the benchmark as a process, and sums up what it answered."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[1]
CALLS_PER_S: Final = 15.0
"""`polls.elbv2_calls_per_s` of the benchmark: what `failoverctl doctor` advises for 1,000 applications with a load balancer each."""
_START_S: Final = 60.0
_STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class AwsUse:
    """What the controller did with AWS in an interval.

    Attributes:
        calls_per_s: Calls a second by operation.
        verified: Applications that were verified.
        verified_gap_s: The longest time between two verifications of one application, its start and end counting as one each, seconds.
        measured: Metrics that were read.
        measured_gap_s: The longest time between two reads of one metric, likewise.
    """

    calls_per_s: dict[str, float]
    verified: int
    verified_gap_s: float
    measured: int
    measured_gap_s: float


class AwsProcess:
    """`benchmarks.aws_answers` as a process. Use it as a context manager.

    Args:
        kubeconfig: Of an identity that may read Ingresses.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [sys.executable, "-m", "benchmarks.aws_answers", "--kubeconfig", str(kubeconfig)]
        self.environment: dict[str, str] = {}
        self._report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.environment = json.loads(self._process.stdout.readline())
        self._began = time.time()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            output, _ = self._process.communicate(timeout=_STOP_S)  # the end of its input ends it
            self._report = json.loads(output)
        finally:
            self._process.kill()
            self._process.wait(timeout=_STOP_S)

    def use(self, start: float, end: float) -> AwsUse:
        """What was answered, after the process has ended.

        Args:
            start: Start of the interval for the gaps, seconds since the Unix epoch.
            end: Its end.
        """
        verified, measured = self._report["verified"], self._report["measured"]
        seconds = time.time() - self._began
        return AwsUse(
            calls_per_s={name: round(count / seconds, 3) for name, count in sorted(self._report["calls"].items())},
            verified=len(verified),
            verified_gap_s=_longest_gap(verified, start, end),
            measured=len(measured),
            measured_gap_s=_longest_gap(measured, start, end),
        )


def _longest_gap(times: Mapping[str, Sequence[float]], start: float, end: float) -> float:
    """The longest time without an entry of one name, seconds."""
    return max((_gap(one, start, end) for one in times.values()), default=end - start)


def _gap(times: Iterable[float], start: float, end: float) -> float:
    inside = [start, *(at for at in sorted(times) if start < at < end), end]
    return max(after - before for before, after in pairwise(inside))
