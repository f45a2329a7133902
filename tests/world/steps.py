"""What a long test did, step by step, as a table for people."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from failover_harness.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what was done, what had to follow, what did, and how long it took, seconds."""

    done: str
    expected: str
    observed: str
    took_s: float


@dataclass
class Steps:
    """Records steps. Each waits for what must follow, so a step that is in the table has happened."""

    taken: list[Step] = field(default_factory=list)

    def take(
        self,
        done: str,
        expected: str,
        condition: Callable[[], bool],
        observed: Callable[[], str],
        *,
        deadline_s: float,
        since: float,
        state: Callable[[], str] | None = None,
    ) -> None:
        """Waits for what must follow a step, and records it.

        Args:
            done: What was done.
            expected: What must follow.
            condition: Whether it has.
            observed: What is seen then, in words.
            deadline_s: Longest wait, seconds.
            since: `time.monotonic()` at which the step was done.
            state: Describes the state for the message of a failed step.
        """
        wait_for(expected, condition, deadline_s, state)
        self.note(done, expected, observed(), since=since)

    def note(self, done: str, expected: str, observed: str, *, since: float) -> None:
        """Records a step that has happened; see `take`."""
        self.taken.append(Step(done, expected, observed, time.monotonic() - since))

    def table(self) -> str:
        """The steps as a Markdown table."""
        lines = ["| step | expected | observed | after |", "|---|---|---|---|"]
        lines += [f"| {one.done} | {one.expected} | {one.observed} | {one.took_s:.1f} s |" for one in self.taken]
        return "\n".join(lines)
