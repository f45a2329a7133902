"""The report of a drill: its timeline, what its requests got, what it cost, and whether it kept its limits."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from controller.clock import format_rfc3339
from controller.policy import text
from controller.policy.model import Mode, ModeChange
from failover_setup.drill.plan import Plan
from failover_setup.drill.run import Outcome

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Check:
    """One limit, what was found, and whether it holds."""

    limit: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        application: Key of the application.
        timeline: Moments, seconds since the Unix epoch, with what happened.
        checks: The limits.
        requests: What came of the requests, in words.
        cost: What it cost, in words.
        interrupted: What cut the drill short, in words; "" where nothing did.
    """

    application: str
    timeline: tuple[tuple[float, str], ...]
    checks: tuple[Check, ...]
    requests: str
    cost: str
    interrupted: str = ""

    @property
    def verdict(self) -> str:
        """Passed where every limit holds, failed where one does not, and interrupted where the drill did not come to its end."""
        return "interrupted" if self.interrupted else "passed" if all(one.passed for one in self.checks) else "failed"

    @property
    def title(self) -> str:
        """Its first line."""
        return f"Drill of {self.application}: {self.verdict}"

    def text(self) -> str:
        """For a terminal."""
        lines = [self.title, "", *(f"{format_rfc3339(at)}  {what}" for at, what in self.timeline), ""]
        lines += [f"{'✔' if one.passed else '✖'} {one.limit}: {one.found}" for one in self.checks]
        return "\n".join([*lines, "", f"requests: {self.requests}", f"cost: {self.cost}"])

    def html(self) -> str:
        """One page without scripts."""
        moments = "".join(f"<tr><td>{format_rfc3339(at)}<td>{html.escape(what)}" for at, what in self.timeline)
        checks = "".join(
            f"<tr><td>{'✔ passed' if one.passed else '✖ failed'}<td>{html.escape(one.limit)}<td>{html.escape(one.found)}"
            for one in self.checks
        )
        ends = "".join(f"<p>{html.escape(one)}</p>" for one in (f"Requests: {self.requests}", f"Cost: {self.cost}"))
        title = html.escape(self.title)
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        return f"{head}<h2>Limits</h2><table>{checks}</table><h2>Timeline</h2><table>{moments}</table>{ends}</html>\n"

    def document(self) -> dict[str, Any]:
        """For machines."""
        moments = [{"at": format_rfc3339(at), "what": what} for at, what in self.timeline]
        return {**asdict(self), "timeline": moments, "verdict": self.verdict}


def report(plan: Plan, outcome: Outcome) -> Report:
    """Judges a drill."""
    counts = outcome.counts
    requests = f"{counts.sent} sent, {counts.good} good, {counts.late} late, {counts.failed} failed"
    moments = tuple(sorted(_moments(outcome)))
    return Report(plan.application, moments, tuple(_checks(plan, outcome)), requests, _cost(plan, outcome), _interrupted(outcome))


def _moments(outcome: Outcome) -> Iterator[tuple[float, str]]:
    yield outcome.begun_at, "the experiment begins"
    if outcome.seen.refused_at is not None:
        yield outcome.seen.refused_at, f"EC2 first refuses Karpenter an instance: {outcome.seen.refusal}"
    for change in outcome.seen.changes:
        yield change.at, f"the controller writes {change.to} mode: {change.reason}: {change.detail}"
        if change.verified_at is not None:
            yield change.verified_at, f"the load balancer shows {change.to} mode: its rule is changed, and targets of it are healthy"
    if outcome.ended_at is not None:
        yield outcome.ended_at, f"the experiment has ended: {outcome.state}"
    if outcome.cut is not None:
        yield outcome.until, f"the drill was interrupted: {_interrupted(outcome)}"


def _interrupted(outcome: Outcome) -> str:
    """What cut it short, in words; "" where nothing did."""
    return "" if outcome.cut is None else str(outcome.cut) or "by a signal"


def _checks(plan: Plan, outcome: Outcome) -> Iterator[Check]:
    seen, limits = outcome.seen, plan.limits
    refused = "at no time: Karpenter requested no node in the zones, or FIS did not reach its requests"
    yield Check("EC2 refuses Karpenter an instance", refused if seen.refused_at is None else "yes", seen.refused_at is not None)
    away, back = (_verified(seen.changes, mode) for mode in (Mode.CAPACITY, Mode.COST))
    yield _within("capacity mode at the load balancer", seen.refused_at, away, limits.failover_s)
    yield _within("cost mode again after the shortage", outcome.ended_at if away is not None else None, back, limits.return_s)
    found = f"{outcome.counts.bad:.2%}" if outcome.counts.sent else "no request was sent"
    good = outcome.counts.sent > 0 and outcome.counts.bad <= limits.failed
    yield Check(f"at most {limits.failed:.2%} of the requests fail or take longer than {limits.latency_s:g} s", found, good)


def _verified(changes: tuple[ModeChange, ...], mode: Mode) -> float | None:
    """When the load balancer first showed capacity mode, or last showed cost mode; None where the application has not come back to it."""
    found = [one.verified_at for one in changes if one.to is mode]
    if not found or (mode is Mode.COST and changes[-1].to is not mode):
        return None
    return found[0] if mode is Mode.CAPACITY else found[-1]


def _within(what: str, begin: float | None, end: float | None, limit_s: float) -> Check:
    took = None if begin is None or end is None else max(0.0, end - begin)
    found = "not seen" if took is None else f"after {text.duration(took)}"
    return Check(f"{what} within {text.duration(limit_s)}", found, took is not None and took <= limit_s)


def _cost(plan: Plan, outcome: Outcome) -> str:
    """What FIS and capacity mode cost."""
    fis = f"FIS at most {plan.dollars:.2f} USD"
    changes = outcome.seen.changes
    if not changes or changes[0].to is not Mode.CAPACITY:
        return f"{fis}; there was no capacity mode"
    away = changes[0]
    until = next((one.at for one in changes if one.to is Mode.COST), None)
    if away.dollars_before is None or away.dollars_after is None or until is None:
        return f"{fis}; what capacity mode cost more is not known"
    more = (away.dollars_after - away.dollars_before) * (until - away.at) / _HOUR_S
    return f"{fis}; capacity mode {more:+.2f} USD by the prices of the application"
