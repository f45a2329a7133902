"""How long the AWS sample's checker takes to detect a refusal: computed from its script, not measured.

The script is an endless loop: query the logs of the last five minutes, wait five seconds before fetching the answer, apply another Ingress
if there was a hit, sleep for five minutes. A refusal is logged at any moment of that loop with equal probability.

All delays that the script does not fix count as zero: until a log line can be queried, the start of the interpreter, a query that finishes
within the first wait, the download and the apply. The result is therefore a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_analysis.simulation.aws_sample import QUERY_WAIT_S, SLEEP_S, WINDOW_S


@dataclass(frozen=True, slots=True)
class CheckerLatency:
    """The checker's latency, for refusals at any moment of its loop.

    Attributes:
        p50_s: Median for detected refusals, seconds.
        p99_s: 99th percentile for detected refusals, seconds.
        missed: Share of refusals that no query covers, because the loop is longer than the window.
    """

    p50_s: float
    p99_s: float
    missed: float

    @staticmethod
    def computed() -> CheckerLatency:
        """Assumes a uniform phase: a query covers the 300 s before it starts; the next starts 305 s later."""
        period = SLEEP_S + QUERY_WAIT_S
        seen = min(WINDOW_S, period)
        return CheckerLatency(
            p50_s=0.50 * seen + QUERY_WAIT_S,
            p99_s=0.99 * seen + QUERY_WAIT_S,
            missed=1.0 - seen / period,
        )
