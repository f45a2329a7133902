"""The small words for people: durations, lists, numbers, prices."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.clock import LATEST, format_rfc3339
from controller.policy import text
from controller.policy.account import Figures, effect, spend_per_hour
from controller.policy.model import Mode, PolicySettings, Sample, Source, Verdict, Verification
from controller.policy.reasons import Reason, fill
from tests.policy.support import change, decide, proven
from tests.policy.support import shortage as proven_shortage
from tests.support.applications import NOW, application, memory, routing, snapshot


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


@given(at=st.floats(0, LATEST))
@example(at=951_782_400.0)
@example(at=4_107_542_400.0)
def test_a_date_is_that_of_the_calendar(at: float) -> None:
    """Leap days and centuries included; the policy computes it by itself."""
    assert text.date_time(at) == format_rfc3339(at)


def test_a_time_that_is_none() -> None:
    """AWS may say anything."""
    assert {text.date_time(at) for at in (math.inf, math.nan)} == {text.clock_time(math.inf)} == {"an unknown time"}


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("source", ["karpenter", "karpenter-metrics", "cloudwatch"])
def test_what_nobody_explained_ends_no_sentence_with_a_colon(verdict: Verdict, mode: Mode, source: str) -> None:
    """Neither a verification nor a source has to say what is wrong with it."""
    seen = Verification(verdict, NOW, action=routing(mode).action)
    made = replace(
        proven_shortage(snapshot(routing=routing(mode, verification=seen, bound=None, standby=()))),
        sources=(Source(source, True, NOW, 180.0, absent=True), Source("state", True, None, 0.0)),
    )
    remembered = replace(memory(mode, units=proven()), changed_at=NOW - 900, unverified_since=NOW - 900, verified_at=None)
    for policy in (PolicySettings(), PolicySettings(rollback_s=60.0), PolicySettings(allow_unsafe_switch=True)):
        decision = decide(remembered, replace(made, application=application(policy=policy)))[1]
        said = (decision.sentence, *(one.text for one in decision.alerts), *(one.text for one in decision.guards), *decision.degraded)
        for sentence in said:
            assert not sentence.rstrip().endswith(":"), sentence
            assert "()" not in sentence, sentence
            assert ": ;" not in sentence, sentence


def test_lists_and_numbers() -> None:
    """As people and Kubernetes metadata want them."""
    assert (text.listing(["a", "b"]), text.listing([])) == ("a, b", "nothing")
    names = [str(number) for number in range(15)]
    assert text.listing(names[:12]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    assert text.listing(names) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 3 more"
    assert [text.number(value) for value in (105.0, 89.2, 999_999.0, 1_234_567.0)] == ["105", "89.2", "999999", "1234567"]
    assert [text.number(value) for value in (1e6, 1e12, 999_999_999_999.0)] == ["1000000", "1000000000000", "999999999999"]
    assert [text.number(value) for value in (999_999.7, 1 / 15, 0.001, 0.0, 100.0)] == ["1000000", "0.066667", "0.001", "0", "100"]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (Mode.CAPACITY, "$2.09/h → $2.35/h (+12 %)"),
        (Mode.COST, "$2.35/h → $2.09/h (-11 %)"),
    ],
)
def test_the_effect_of_a_mode_change_is_that_of_the_evaluation(to: Mode, words: str) -> None:
    """What a mode change does to the price of 200 requests a period, at the prices of the AWS sample: by the hour, before and after."""
    made = change(snapshot(), demand=Sample(200.0, NOW - 30))
    assert effect(made, Figures.of(made), to) == words


def test_without_measured_demand_the_ready_replicas_count_as_fully_used() -> None:
    """And the words say so; without a ready replica there are no words, which is better than wrong ones."""
    made = snapshot()
    assert effect(made, Figures.of(made), Mode.CAPACITY).endswith("(+12 %), at full use of the ready replicas")
    empty = replace(made, units={name: replace(one, ready=0) for name, one in made.units.items()})
    assert effect(empty, Figures.of(empty), Mode.CAPACITY) == ""


def test_spend_is_the_ready_replicas_at_the_files_prices() -> None:
    """Two replicas of each; a unit without evidence adds nothing."""
    evidence = decide(memory(), snapshot())[1].evidence
    assert spend_per_hour(application(), evidence) == pytest.approx(2 * (0.7582 + 1.3438 + 1.0060 + 0.8048 + 1.0060))
    assert spend_per_hour(application(), {}) == 0


def test_a_missing_detail_stays_visible() -> None:
    """A wrong sentence must not stop a mode change, and braces in a person's reason are only text."""
    assert fill(Reason.PAUSED, {"until": "noon", "why": "{x}"}) == "paused by an operator until noon: {x}"
    assert fill(Reason.PAUSED, {"until": "noon"}) == "paused by an operator until noon: <why?>"
    assert all(
        sentence[:1] == sentence[:1].lower() or sentence.startswith(("Ingress", "AWS"))
        for sentence in (reason.sentence for reason in Reason)
    )


def test_a_sentence_about_units_is_right_for_one_and_for_several() -> None:
    """No verb whose subject is `{units}` fits only one of the two. `WaitingForReady` names a single unit."""
    numbered = re.compile(r"(?<!for )(?<!of )\{units\} (is|are|was|were|has|have|needs?|gets?|does|do)\b")
    assert [reason for reason in Reason if numbered.search(reason.sentence)] == [Reason.WAITING_FOR_READY]
    several = fill(Reason.SHORTAGE_ABSORBED, {"units": text.listing(["sd21-inf2", "sd21-trn1"]), "cause": "capacity", "instead": "x"})
    assert several == "sd21-inf2, sd21-trn1 cannot get capacity (cause capacity), but x"
