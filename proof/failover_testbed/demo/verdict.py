"""Compares a scenario's run with its expectations: mode changes, their reasons and times, alerts, failed requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.policy import text
from controller.policy.model import Alert, Cause, Mode
from controller.policy.reasons import Reason
from failover_testbed.demo.player import Facts
from failover_testbed.demo.scenario import AlertExpectation, Expectation, ModeChangeExpectation, Scenario


@dataclass(frozen=True, slots=True)
class ModeChange:
    """A mode change that the controller made.

    Attributes:
        at_s: Seconds since the scenario began.
        to: The new mode.
        reason: The reason of the decision.
        sentence: The reason in words.
        cause: Cause of the shortage; None for a fallback or a pin.
        units: The units that fell short or came back.
    """

    at_s: float
    to: Mode
    reason: Reason
    sentence: str
    cause: Cause | None
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation and whether it was met."""

    met: bool
    text: str


def judge(scenario: Scenario, mode_changes: Sequence[ModeChange], alerts: Sequence[Alert], facts: Facts, mode: Mode | None) -> list[Check]:
    """Compares a run with the scenario's expectations.

    Args:
        scenario: The scenario, with its expectations.
        mode_changes: All mode changes, in order of time.
        alerts: All alerts that were raised.
        facts: What happened in the environment.
        mode: The mode at the end.

    Returns:
        One check for each expectation, one for unexpected mode changes, and one for the player itself.
    """
    checks = [Check(not facts.problem, f"the scenario played to its end{': ' + facts.problem if facts.problem else ''}")]
    left = list(mode_changes)
    checks += [_check(expected, left, alerts, facts, mode) for expected in scenario.file.expect]
    wanted = sum(one.failover is not None or one.fallback is not None for one in scenario.file.expect)
    if left:
        extra = "; ".join(f"{_clock(one.at_s)} to {one.to} ({one.reason})" for one in left)
        checks.append(Check(met=False, text=f"no other mode changes, but: {extra}"))
    elif wanted:
        checks.append(Check(met=True, text="no other mode changes"))
    return checks


def _check(expected: Expectation, left: list[ModeChange], alerts: Sequence[Alert], facts: Facts, mode: Mode | None) -> Check:
    if expected.failover is not None:
        return _check_mode_change(Mode.CAPACITY, expected.failover, left)
    if expected.fallback is not None:
        return _check_mode_change(Mode.COST, expected.fallback, left)
    if expected.alert is not None:
        return _alerted(expected.alert, alerts)
    if expected.no_mode_change:
        return Check(not left, "no failover and no fallback")
    if expected.max_failed_requests is not None:
        share = facts.failed / max(1.0, facts.served + facts.failed) * 100
        words = f"at most {expected.max_failed_requests:g} failed requests: {facts.failed:.0f} of {facts.served + facts.failed:.0f}"
        return Check(facts.failed <= expected.max_failed_requests, f"{words} ({share:.2f} %)")
    return Check(mode is expected.final_mode, f"mode {expected.final_mode} at the end: {mode or 'unknown'}")


def _check_mode_change(to: Mode, expected: ModeChangeExpectation, left: list[ModeChange]) -> Check:
    name = "failover" if to is Mode.CAPACITY else "fallback"
    if not left or left[0].to is not to:
        return Check(met=False, text=f"the expected {name} did not happen")
    made = left.pop(0)
    wrong = []
    if expected.reasons and made.reason not in expected.reasons:
        wrong.append(f"reason {made.reason} instead of {text.listing(expected.reasons)}")
    if expected.cause is not None and made.cause is not expected.cause:
        wrong.append(f"cause {made.cause} instead of {expected.cause}")
    if expected.units and set(made.units) != set(expected.units):
        wrong.append(f"units {text.listing(made.units)} instead of {text.listing(expected.units)}")
    if not expected.not_before_s <= made.at_s <= expected.not_after_s:
        wrong.append(f"not between {_clock(expected.not_before_s)} and {_clock(expected.not_after_s)}")
    words = f"{name} at {_clock(made.at_s)}, {made.reason}: {made.sentence}"
    return Check(not wrong, words + (f" - wrong: {'; '.join(wrong)}" if wrong else ""))


def _alerted(expected: AlertExpectation, alerts: Sequence[Alert]) -> Check:
    found = next((one for one in alerts if expected.key in {"", one.key, one.row.key} and expected.text in one.text), None)
    wanted = expected.key or expected.text
    return Check(found is not None, f"alert: {found.text}" if found else f"the expected alert about {wanted!r} was not raised")


def _clock(seconds: float) -> str:
    """A time within the scenario, ``mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
