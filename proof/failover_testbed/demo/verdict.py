"""Whether a scenario went as it should: for the right reasons, at the right times, without a lost request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.policy import text
from controller.policy.model import Alert, Cause, Mode
from controller.policy.reasons import Reason
from failover_testbed.demo.player import Facts
from failover_testbed.demo.scenario import AlertExpectation, Expectation, Scenario, SwitchExpectation


@dataclass(frozen=True, slots=True)
class Switch:
    """A mode change that the controller made.

    Attributes:
        at_s: Seconds since the scenario began.
        to: The mode after it.
        reason: Why.
        sentence: The same in words.
        cause: Cause of the shortage, None for a fallback or a pin.
        units: The units that were short, or came back.
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


def judge(scenario: Scenario, switches: Sequence[Switch], alerts: Sequence[Alert], facts: Facts, mode: Mode | None) -> list[Check]:
    """Compares what happened with what the scenario expects.

    Args:
        scenario: For its expectations.
        switches: Every mode change, in order.
        alerts: Every alert that was ever raised.
        facts: What the emulated world saw.
        mode: The mode at the end.

    Returns:
        One check for each expectation, one for unexpected mode changes, and one for the player itself.
    """
    checks = [Check(not facts.problem, f"the scenario was played to its end{': ' + facts.problem if facts.problem else ''}")]
    left = list(switches)
    checks += [_check(expected, left, alerts, facts, mode) for expected in scenario.file.expect]
    wanted = sum(one.failover is not None or one.fallback is not None for one in scenario.file.expect)
    if left:
        extra = "; ".join(f"{_clock(one.at_s)} to {one.to} ({one.reason})" for one in left)
        checks.append(Check(met=False, text=f"no other mode changes, but: {extra}"))
    elif wanted:
        checks.append(Check(met=True, text="no other mode changes"))
    return checks


def _check(expected: Expectation, left: list[Switch], alerts: Sequence[Alert], facts: Facts, mode: Mode | None) -> Check:
    if expected.failover is not None:
        return _switched(Mode.CAPACITY, expected.failover, left)
    if expected.fallback is not None:
        return _switched(Mode.COST, expected.fallback, left)
    if expected.alert is not None:
        return _alerted(expected.alert, alerts)
    if expected.no_mode_change:
        return Check(not left, "no failover and no fallback")
    if expected.max_failed_requests is not None:
        share = facts.failed / max(1.0, facts.served + facts.failed) * 100
        words = f"at most {expected.max_failed_requests:g} failed requests: {facts.failed:.0f} of {facts.served + facts.failed:.0f}"
        return Check(facts.failed <= expected.max_failed_requests, f"{words} ({share:.2f} %)")
    return Check(mode is expected.final_mode, f"mode {expected.final_mode} at the end: {mode or 'unknown'}")


def _switched(to: Mode, expected: SwitchExpectation, left: list[Switch]) -> Check:
    name = "failover" if to is Mode.CAPACITY else "fallback"
    if not left or left[0].to is not to:
        return Check(met=False, text=f"a {name} was expected and did not happen")
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
    found = next((one for one in alerts if one.key.startswith(expected.key) and expected.text in one.text), None)
    wanted = expected.key or expected.text
    return Check(found is not None, f"alert: {found.text}" if found else f"an alert about {wanted!r} was expected and not raised")


def _clock(seconds: float) -> str:
    """A time within the scenario, ``mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
