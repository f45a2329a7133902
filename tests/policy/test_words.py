"""The small words for people: durations, lists, numbers, prices."""

from __future__ import annotations

import pytest

from controller.policy import text
from controller.policy.cost import effect, spend_per_hour
from controller.policy.decide import decide
from controller.policy.model import Mode
from controller.policy.reasons import SENTENCES, Reason, fill
from tests.support.applications import SERVICES, application, memory, snapshot

WEIGHTS = dict(zip(SERVICES, (40, 20, 15, 10, 15), strict=True))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7505, "2 h 5 min"),
        (90_000, "25 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, words: str) -> None:
    """More would be noise."""
    assert text.duration(seconds) == words


def test_lists_and_numbers() -> None:
    """As people and Kubernetes metadata want them."""
    assert (text.listing(["a", "b"]), text.listing([])) == ("a, b", "nothing")
    assert [text.number(value) for value in (105.0, 89.2, 999_999.0, 1_234_567.0)] == ["105", "89.2", "999999", "1234567"]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (Mode.CAPACITY, "+12.2 % per request (0.01047 to 0.01174 $/h per request a period)"),
        (Mode.COST, "-10.8 % per request (0.01174 to 0.01047 $/h per request a period)"),
    ],
)
def test_the_effect_of_a_mode_change_is_that_of_the_evaluation(to: Mode, words: str) -> None:
    """What a mode change costs, at the prices of the AWS sample."""
    assert effect(application(), WEIGHTS, to) == words


def test_weights_that_split_nothing_have_no_effect() -> None:
    """No words are better than wrong ones."""
    assert effect(application(), dict.fromkeys(WEIGHTS, 0), Mode.COST) == ""


def test_spend_is_the_ready_replicas_at_the_files_prices() -> None:
    """Two replicas of each; a unit without evidence adds nothing."""
    evidence = decide(memory(), snapshot())[1].evidence
    assert spend_per_hour(application(), evidence) == pytest.approx(2 * (0.7582 + 1.3438 + 1.0060 + 0.8048 + 1.0060))
    assert spend_per_hour(application(), {}) == 0


def test_a_missing_detail_stays_visible() -> None:
    """A wrong sentence must not stop a mode change, and braces in a person's reason are only text."""
    assert fill(Reason.PAUSED, {"until": "noon", "why": "{x}"}) == "paused by an operator until noon: {x}"
    assert fill(Reason.PAUSED, {"until": "noon"}) == "paused by an operator until noon: <why?>"
    assert all(sentence[:1] == sentence[:1].lower() or sentence.startswith(("Ingress", "AWS")) for sentence in SENTENCES.values())
