"""Runs the AWS of the benchmark as a process, and sums up what it answered."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
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
        verified_first_s: When the last application was verified for the first time, seconds after the start.
        verified_gap_s: The longest time between two verifications of one application, the end counting as one, seconds.
        measured: Metrics that were read.
        measured_first_s: When the last metric was read for the first time, likewise.
        measured_gap_s: The longest time between two reads of one metric, likewise.
    """

    calls_per_s: dict[str, float]
    verified: int
    verified_first_s: float
    verified_gap_s: float
    measured: int
    measured_first_s: float
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
            start: When the controller was started, seconds since the Unix epoch.
            end: The end of the interval for the gaps.
        """
        verified, measured = (_Times(self._report[name], start, end) for name in ("verified", "measured"))
        seconds = time.time() - self._began
        return AwsUse(
            calls_per_s={name: round(count / seconds, 3) for name, count in sorted(self._report["calls"].items())},
            verified=verified.names,
            verified_first_s=verified.first_s,
            verified_gap_s=verified.gap_s,
            measured=measured.names,
            measured_first_s=measured.first_s,
            measured_gap_s=measured.gap_s,
        )


class _Times:
    """When something was done, by name, between a start and an end.

    Args:
        times: All times by name, seconds since the Unix epoch.
        start: Those before it do not count.
        end: Nor do those after it.
    """

    def __init__(self, times: Mapping[str, Sequence[float]], start: float, end: float) -> None:
        inside = [sorted(at for at in one if start < at < end) for one in times.values()]
        self.names = len(inside)
        self.first_s = max(((one[0] if one else end) - start for one in inside), default=end - start)
        self.gap_s = max((after - before for one in inside for before, after in pairwise([*one, end])), default=end - start)
