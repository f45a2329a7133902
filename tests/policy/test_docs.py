"""The documentation says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.policy.modes import TRANSITIONS
from controller.policy.reasons import Reason
from tools import policy_docs as docs
from tools.policy_docs import CONFIGURATION, DECISION, REASONS, configuration, decision, reasons, states

HINT = "run: python -m tools.policy_docs"


def test_the_page_of_reasons_is_up_to_date() -> None:
    """An operator who looks up a reason must find the present sentence."""
    assert REASONS.read_text() == reasons(), HINT


def test_the_page_of_the_decision_is_up_to_date() -> None:
    """The diagram and the guards are the ones that decide."""
    present = DECISION.read_text()
    assert decision(present) == present, HINT


def test_the_default_times_are_up_to_date() -> None:
    """An operator who tunes a wait must find the present default."""
    present = CONFIGURATION.read_text()
    assert configuration(present) == present, HINT


def test_every_reason_and_every_transition_is_documented() -> None:
    """Also if somebody changes the generator."""
    assert all(f"`{reason}`" in reasons() for reason in Reason)
    assert all(f"{mode} --> {to}: {trigger} ({verb})" in states() for (mode, trigger), (to, verb) in TRANSITIONS.items())


def test_a_page_without_its_generated_part_is_refused() -> None:
    """Otherwise the diagram would silently not be there."""
    with pytest.raises(ValueError, match="no generated part states"):
        decision("# The decision\n")


def test_writing_gives_what_is_checked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that the hint names does what the tests ask for."""
    (tmp_path / "decision.md").write_text(DECISION.read_text().replace("stateDiagram-v2", "old"))
    (tmp_path / "configuration.md").write_text(
        CONFIGURATION.read_text().replace("| 3 min | how long Karpenter caches", "| 3 h | how long Karpenter caches")
    )
    monkeypatch.setattr(docs, "REASONS", tmp_path / "reasons.md")
    monkeypatch.setattr(docs, "DECISION", tmp_path / "decision.md")
    monkeypatch.setattr(docs, "CONFIGURATION", tmp_path / "configuration.md")
    docs.main()
    assert (tmp_path / "reasons.md").read_text() == REASONS.read_text()
    assert (tmp_path / "decision.md").read_text() == DECISION.read_text()
    assert (tmp_path / "configuration.md").read_text() == CONFIGURATION.read_text()
