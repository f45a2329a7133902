"""What the controller does in each situation, through the production view, snapshot and pass; docs/decision.md shows it."""

from __future__ import annotations

from functools import cache

import pytest

from tests.situations.catalogue import SITUATIONS
from tests.situations.situation import Situation
from tests.situations.stage import Played, play
from tools.policy_docs import DECISION
from tools.situation_docs import page

_PLAYED = cache(lambda name: play(next(one for one in SITUATIONS if one.name == name)))


def played(situation: Situation) -> Played:
    """What the controller did, played once."""
    found: Played = _PLAYED(situation.name)
    return found


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
def test_the_controller_does_what_is_expected(situation: Situation) -> None:
    """Proofs, mode changes with their times, alerts, and the reason at the end: no more and no less."""
    found, expected = played(situation), situation.expected
    assert {unit: proof for unit, (proof, _) in found.proofs.items()} == dict(expected.proofs)
    assert [(verb, reason) for _, verb, _, reason in found.changes] == [(one.verb, one.reason) for one in expected.changes]
    for (at, *_), change in zip(found.changes, expected.changes, strict=True):
        assert change.earliest <= at <= change.latest, f"{change.verb} after {at:.0f} s"
    assert set(found.alerts) == expected.alerts
    assert found.decision.reason is expected.reason


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
def test_no_sentence_says_more_than_was_observed(situation: Situation) -> None:
    """Nor is one left with an open placeholder."""
    for sentence in played(situation).sentences:
        assert "?>" not in sentence
        assert "provabl" not in sentence


def test_the_names_are_unique() -> None:
    """A second one of a name would never be played."""
    names = [one.name for one in SITUATIONS]
    assert len(names) == len(set(names))


@pytest.mark.timeout(300)  # alone on a worker it plays all of them
def test_the_page_shows_what_the_controller_does() -> None:
    """The figures of the table come from playing."""
    present = DECISION.read_text()
    assert page(present, [(one, played(one)) for one in SITUATIONS]) == present, "run: python -m tools.situation_docs"
