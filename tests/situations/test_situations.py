"""What the controller does in each situation, through the production view, snapshot and pass; docs/situations.md shows it."""

from __future__ import annotations

import pytest

from tests.situations.catalogue import SITUATIONS
from tests.situations.situation import Situation
from tests.situations.stage import Played, play
from tests.situations.table import row
from tools.situation_docs import PAGE, page

Outcome = tuple[Situation, Played]


@pytest.fixture(scope="module", params=SITUATIONS, ids=lambda one: one.name)
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """A situation and what the controller did in it: played once, because pytest runs its tests one after the other."""
    return request.param, play(request.param)


def _rows(present: str) -> list[str]:
    """The rows of the page's table of situations, without heads."""
    part = present.split("<!-- generated: situations -->\n")[1].split("\n<!-- end -->", maxsplit=1)[0]
    return [line for line in part.splitlines() if line.startswith("| ") and not line.startswith("| situation |")]


def test_the_controller_does_what_is_expected(outcome: Outcome) -> None:
    """Proofs, mode changes with their times, alerts, and the reason at the end: no more and no less."""
    found, expected = outcome[1], outcome[0].expected
    assert {unit: proof for unit, (proof, _) in found.proofs.items()} == dict(expected.proofs)
    assert [(verb, reason) for _, verb, _, reason in found.changes] == [(one.verb, one.reason) for one in expected.changes]
    for (at, *_), change in zip(found.changes, expected.changes, strict=True):
        assert change.earliest <= at <= change.latest, f"{change.verb} after {at:.0f} s"
    assert set(found.alerts) == expected.alerts
    assert found.decision.reason is expected.reason


def test_no_sentence_says_more_than_was_observed(outcome: Outcome) -> None:
    """Nor is one left with an open placeholder."""
    for sentence in outcome[1].sentences:
        assert "?>" not in sentence
        assert "provabl" not in sentence


def test_the_page_shows_what_the_controller_does(outcome: Outcome) -> None:
    """The figures of the table come from playing."""
    assert _rows(PAGE.read_text())[SITUATIONS.index(outcome[0])] == row(*outcome), "run: python -m tools.situation_docs"


def test_the_page_shows_every_situation_once_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own rows the page is what would be written: as many as the catalogue has, each under its topic."""
    present = PAGE.read_text()
    rows = iter(_rows(present))
    monkeypatch.setattr("tests.situations.table.row", lambda *_: next(rows, "a row that the page lacks"))
    assert page(present, [(one, Played()) for one in SITUATIONS]) == present, "run: python -m tools.situation_docs"


def test_the_names_are_unique() -> None:
    """A second one of a name would never be played."""
    names = [one.name for one in SITUATIONS]
    assert len(names) == len(set(names))
