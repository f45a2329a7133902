"""One view of a message for all sinks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.notifiers.render import cut_bytes, one_line, plain, sentence, view
from controller.ports import MessageKind, Severity
from tests.notifiers.support import a_message


def test_a_mode_change_states_what_why_cost_and_next() -> None:
    assert plain(view(a_message())).splitlines() == [
        "⚠ Warning · sd21: failed over to capacity mode",
        "Why: inf2 cannot get capacity (capacity: InsufficientInstanceCapacity) while 3 pod(s) wait for it",
        "Cost: $3.10/h → $4.85/h (+56 %)",
        "Next: back to cost mode after 600 s without a refusal",
    ]


def test_facts_carry_application_mode_reason_time_and_further_fields() -> None:
    assert view(a_message(fields={"Epoch": "41", "Empty": ""})).facts == (
        ("Application", "default/sd21"),
        ("Mode", "capacity"),
        ("Reason", "ShortageProven"),
        ("At", "2026-09-21T14:13:20Z"),
        ("Epoch", "41"),
    )


def test_empty_parts_are_left_out() -> None:
    shown = view(a_message(cost="", next=" \n", application="", mode=""))
    assert sentence(shown).count("|") == 1
    assert ("Application", "the controller itself") in shown.facts
    assert "Mode" not in dict(shown.facts)


@pytest.mark.parametrize(
    ("kind", "severity", "mark"),
    [
        (MessageKind.FAILOVER, Severity.INFO, "• Info"),
        (MessageKind.ALERT, Severity.WARNING, "⚠ Warning"),
        (MessageKind.ALERT, Severity.CRITICAL, "✖ Critical"),
        (MessageKind.RESOLVED, Severity.CRITICAL, "✔ Resolved"),
    ],
)
def test_the_mark_is_an_icon_and_a_word(kind: MessageKind, severity: Severity, mark: str) -> None:
    assert view(a_message(kind, severity=severity)).headline == f"{mark} · sd21: failed over to capacity mode"


def test_a_message_without_a_title_still_has_a_headline() -> None:
    assert view(a_message(title="\n")).title == "failover"


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert one_line(one_line(text)) == one_line(text)


@given(st.text(), st.integers(3, 64))
def test_a_cut_text_fits_and_is_a_prefix(text: str, limit: int) -> None:
    cut = cut_bytes(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode()) <= limit:
        assert cut == text
    else:
        assert cut.endswith("…")
        assert text.startswith(cut[:-1])


def test_half_a_surrogate_pair_does_not_break_a_cut() -> None:
    assert cut_bytes("a\ud800b", 10) == "a?b"
