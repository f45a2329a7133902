"""How long the source's own checker takes to notice the same event: computed from its script, not run.

The script is an endless loop: query the logs of the last five minutes, wait five seconds before the answer is asked for, apply another
Ingress if there was a hit, sleep for five minutes. A refusal is written at any moment of that loop with equal probability.

Everything that the script does not fix counts as nothing: the delay until a log line can be queried, the start of its interpreter, the
query itself if it is done within the first wait, the download and the apply. So what is computed here is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLEEP_S: Final = 300.0
"""Between two rounds."""
LOOK_BACK_S: Final = 300.0
"""The window of the log query, which ends when the query starts."""
QUERY_WAIT_S: Final = 5.0
"""Before the answer is asked for, at least once."""


@dataclass(frozen=True, slots=True)
class SourceLatency:
    """The distribution over the moment of the event.

    Attributes:
        p50_s: Of those events that are noticed.
        p99_s: Of those events that are noticed.
        missed: Share of events that no query covers: the loop is longer than the window it looks back.
    """

    p50_s: float
    p99_s: float
    missed: float

    @staticmethod
    def computed() -> SourceLatency:
        """Uniform phase: a query sees what was written in the 300 s before it starts; the next starts 305 s later."""
        period = SLEEP_S + QUERY_WAIT_S
        seen = min(LOOK_BACK_S, period)
        return SourceLatency(
            p50_s=0.50 * seen + QUERY_WAIT_S,
            p99_s=0.99 * seen + QUERY_WAIT_S,
            missed=1.0 - seen / period,
        )
