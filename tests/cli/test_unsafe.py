"""A mode change that only `allowUnsafeSwitch` lets pass: what people read before it is made, and after."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from controller.cli.consequence import consequences
from controller.cli.explain import explanation_lines
from controller.cli.explanation import explain
from controller.cli.observe import judge
from controller.cli.plan import plan_lines
from controller.cli.status import Running, status_lines
from controller.cli.words import Line
from controller.policy.account import Ledger
from controller.policy.model import Mode, Override, PolicySettings, Snapshot
from controller.service.controller import View
from controller.service.messages import routed
from controller.service.page import Process, page
from tests.policy.support import decide, proven, shortage
from tests.support.applications import NOW, application, memory, routing, snapshot

UNSAFE = "no standby rule keeps sd21-all registered with the load balancer: 503s for 5 to 30 s, allowed by allowUnsafeSwitch"
SHORT = memory(units=proven())


def _cold(*, allows: bool) -> Snapshot:
    """No standby rule, and a policy that allows a mode change all the same or does not."""
    return snapshot(application(policy=PolicySettings(allow_unsafe_switch=allows)), routing=routing(standby=()))


def _words(lines: Iterable[Line]) -> str:
    return " ".join(" ".join(line for _, line in lines).split())


def test_plan_says_what_an_edited_file_would_let_pass_and_at_which_price() -> None:
    """The runbook advises to read it before the file is applied. What only the policy lets pass is not among the guards that pass."""
    lines = list(plan_lines(judge(shortage(_cold(allows=True)), SHORT), 200, exact=False))
    assert "COST → CAPACITY" in _words(lines)
    assert f"  ⚠ safe: {UNSAFE}" in [line for _, line in lines]
    (passed,) = [line for _, line in lines if line.startswith("  ✔ leader")]
    assert "safe" not in passed.split(", ")


def test_without_it_the_same_change_is_held() -> None:
    """Else the words above would say nothing about the file."""
    words = _words(plan_lines(judge(shortage(_cold(allows=False)), SHORT), 200, exact=False))
    assert "✖ safe: the mode change would drop requests" in words
    assert "allowed by" not in words


@pytest.mark.parametrize("allows", [True, False])
def test_it_is_said_on_a_quiet_day(*, allows: bool) -> None:
    """While nothing is short: of what a shortage or a pin would lead to."""
    explained = explain(memory(), _cold(allows=allows))
    assert {one.answer.endswith(f"; {UNSAFE}") for one in explained.what_if} == {allows}
    assert explained.forced.endswith(f"; {UNSAFE}") is allows
    lines = list(consequences(judge(_cold(allows=allows), memory()), Override(pinned_mode=Mode.CAPACITY)))
    assert (f"Unsafe      {UNSAFE}" in lines) is allows


def test_status_explain_and_the_page_say_it_beside_the_change_that_comes() -> None:
    """The page also shows it among the guards, with a warning sign."""
    seen = judge(shortage(_cold(allows=True)), SHORT)
    html = page(
        [View(seen.snapshot, seen.decision, seen.made, seen.memory, Ledger())],
        Process(NOW, "pod-a", True, 3, 1.0, False, "", (), {"kubernetes": 12}),
    )
    explained = explain(SHORT, seen.snapshot)
    for words in (_words(status_lines(seen, Running(), 80)), _words(explanation_lines(seen, explained, 80)), html):
        assert "would fail over to capacity mode now: " in words
        assert f"; {UNSAFE}" in words
    assert f"<li class=warn>⚠ safe: {UNSAFE}</li>" in html


def test_the_message_about_the_mode_change_says_it() -> None:
    """People learn why requests get 503s just now."""
    made = shortage(_cold(allows=True))
    message = routed(made, decide(SHORT, made)[1])
    assert message is not None
    assert message.why.endswith(f"; {UNSAFE}")
