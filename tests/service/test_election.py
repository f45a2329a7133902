"""The election, one step at a time, on a clock that the test moves."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from controller.service.election import (
    EPOCH_LIMIT,
    LONGEST_LEASE_S,
    Answer,
    Election,
    Failed,
    Found,
    Holding,
    Missing,
    Refused,
    Request,
    Timing,
    Verb,
    holding,
)

TIMING = Timing()
METADATA = {"name": "failoverctl", "namespace": "failover-system"}


class Bench:
    """One candidate and what a test lets the server answer."""

    def __init__(self, identity: str = "a") -> None:
        numbers = itertools.count()
        self.election = Election(identity, METADATA, TIMING, random.Random(1), lambda: f"t{next(numbers)}")
        self.now = 100.0

    def due(self) -> Request:
        """The request that is due, after waiting for it."""
        for _ in range(100):
            due = self.election.next(self.now)
            if isinstance(due, Request):
                return due
            self.now += due
        raise AssertionError("no request within a hundred waits")

    def answer(self, request: Request, answer: Answer, *, took: float = 0.01) -> None:
        """The answer arrives."""
        sent, self.now = self.now, self.now + took
        self.election.answered(request, sent, self.now, answer)

    def accept(self, request: Request, version: str = "1") -> dict[str, Any]:
        """The server takes a write as it is."""
        assert request.body is not None
        lease = {**request.body, "metadata": {**request.body["metadata"], "resourceVersion": version}}
        self.answer(request, Found(lease))
        return lease

    def lead(self) -> dict[str, Any]:
        """Gets the Lease that nobody holds."""
        self.answer(self.due(), Found(lease("", epoch=4)))
        return self.accept(self.due())


def lease(holder: str, *, epoch: int = 0, version: str = "7", renewed: str = "r", duration: int = 15) -> dict[str, Any]:
    """A Lease as the server shows it."""
    spec = {"holderIdentity": holder, "leaseTransitions": epoch, "leaseDurationSeconds": duration, "renewTime": renewed}
    return {"metadata": {**METADATA, "resourceVersion": version, "labels": {"team": "x"}}, "spec": spec}


def test_a_lease_that_nobody_holds_is_taken_at_once_in_the_next_epoch() -> None:
    """Under the version that was read, keeping what others wrote beside the spec."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("", epoch=4)))
    request = bench.due()
    assert request.verb is Verb.UPDATE
    assert request.body is not None
    assert request.body["metadata"] == {**METADATA, "resourceVersion": "7", "labels": {"team": "x"}}
    assert holding(request.body).holder == "a"
    assert holding(request.body).epoch == 5
    assert request.body["spec"]["leaseDurationSeconds"] == 15
    assert not bench.election.leads(bench.now), "asking is not getting"
    bench.accept(request)
    assert bench.election.leads(bench.now)
    assert bench.election.epoch == 5


def test_before_the_first_answer_nobody_is_known_to_hold_it() -> None:
    """The status page asks at once."""
    bench = Bench()
    assert (bench.election.holder(), bench.election.leader(bench.now)) == ("", "")


def test_a_holder_renews_less_often_than_a_candidate_reads() -> None:
    """Each within a fifth more than its own time; a replica that has released the Lease reads again as a candidate."""
    bench = Bench()
    bench.lead()
    wait = bench.election.next(bench.now - 0.01)
    assert isinstance(wait, float)
    assert TIMING.renew_s <= wait <= 1.2 * TIMING.renew_s
    request = bench.election.release()
    assert request is not None
    bench.accept(request)
    wait = bench.election.next(bench.now - 0.01)
    assert isinstance(wait, float)
    assert TIMING.poll_s <= wait <= 1.2 * TIMING.poll_s


def test_a_held_lease_is_taken_only_after_a_whole_unchanged_duration() -> None:
    """Measured from when it was first seen as it is."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("b", epoch=4)))
    seen_at = bench.now
    for _ in range(40):
        request = bench.due()
        if request.verb is Verb.UPDATE:
            break
        bench.answer(request, Found(lease("b", epoch=4)))
    else:
        raise AssertionError("never taken")
    assert bench.now - seen_at >= TIMING.lease_s
    assert bench.now - seen_at < TIMING.lease_s + TIMING.poll_s
    assert request.body is not None
    assert holding(request.body).epoch == 5


def test_every_sign_of_life_starts_the_wait_anew() -> None:
    bench = Bench()
    for count in range(60):
        request = bench.due()
        assert request.verb is Verb.GET, f"taken over after {count} reads although the holder renews"
        bench.answer(request, Found(lease("b", renewed=f"r{count // 10}")))


def test_a_longer_duration_of_the_holders_is_honoured() -> None:
    """A foreign holder, or one with other settings, says itself how long it may be silent."""
    bench = Bench()
    start = bench.now
    while bench.now < start + 59:
        request = bench.due()
        assert request.verb is Verb.GET
        bench.answer(request, Found(lease("b", duration=60)))


def test_a_duration_that_no_setting_allows_keeps_nobody_from_leading() -> None:
    """Somebody edited the Lease of a holder that is gone: a number that was mistyped was waited for, for years."""
    bench = Bench()
    start = bench.now
    while bench.now < start + 400:
        request = bench.due()
        if request.verb is Verb.UPDATE:
            break
        bench.answer(request, Found(lease("b", duration=2**31 - 1)))
    else:
        raise AssertionError("never taken")
    assert bench.now >= start + LONGEST_LEASE_S


def test_the_holder_trusts_itself_for_a_quarter_of_the_duration_from_sending() -> None:
    """However long the answer took."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("")))
    request = bench.due()
    assert request.body is not None
    bench.answer(request, Found({**request.body, "metadata": {**METADATA, "resourceVersion": "8"}}), took=1.5)
    assert bench.election.trusted_s(bench.now) == pytest.approx(TIMING.trust_s - 1.5)
    assert bench.election.trusted_s(bench.now + TIMING.trust_s) == 0
    assert bench.election.leads(bench.now + TIMING.trust_s), "it still calls itself the leader, but acts no more"
    assert not bench.election.leads(bench.now + TIMING.give_up_s)
    assert not bench.election.leads(bench.now - 1.5 + TIMING.give_up_s), "a third of the duration is left for the next holder"


def test_renewals_keep_the_epoch_and_come_in_time() -> None:
    bench = Bench()
    bench.lead()
    for version in range(2, 30):
        before = bench.now
        request = bench.due()
        assert request.verb is Verb.UPDATE
        assert bench.now - before <= TIMING.renew_s * 1.2
        assert bench.election.trusted_s(bench.now) > 0
        assert holding(bench.accept(request, str(version))).epoch == 5


def test_what_another_took_is_lost_at_once() -> None:
    bench = Bench()
    bench.lead()
    bench.answer(bench.due(), Refused())
    bench.answer(bench.due(), Found(lease("b", epoch=6)))
    assert not bench.election.leads(bench.now)
    assert bench.election.trusted_s(bench.now) == 0


def test_a_renewal_whose_answer_was_lost_is_read_back_and_made_again_in_the_same_epoch() -> None:
    bench = Bench()
    held = bench.lead()
    bench.answer(bench.due(), Failed(), took=2.0)
    read = bench.due()
    assert read.verb is Verb.GET
    bench.answer(read, Found({**held, "metadata": {**held["metadata"], "resourceVersion": "9"}}))
    renewal = bench.due()
    assert renewal.verb is Verb.UPDATE
    assert renewal.body is not None
    assert renewal.body["metadata"]["resourceVersion"] == "9"
    assert holding(bench.accept(renewal, "10")).epoch == 5


def test_a_failed_request_extends_nothing() -> None:
    bench = Bench()
    bench.lead()
    trusted = bench.election.trusted_s(bench.now)
    bench.answer(bench.due(), Failed(), took=2.0)
    assert bench.election.trusted_s(bench.now) < trusted


def test_a_deleted_lease_is_made_again_by_its_holder_while_it_may_act() -> None:
    """In a later epoch, so that whatever happened meanwhile is fenced off."""
    bench = Bench()
    bench.lead()
    bench.answer(bench.due(), Missing())
    request = bench.due()
    assert request.verb is Verb.CREATE
    assert request.body is not None
    assert holding(request.body).epoch == 6
    assert "resourceVersion" not in request.body["metadata"]


def test_a_lease_that_is_absent_counts_as_just_renewed() -> None:
    """Its holder may not know yet that it is gone."""
    bench = Bench()
    start = bench.now
    while True:
        request = bench.due()
        if request.verb is Verb.CREATE:
            break
        bench.answer(request, Missing())
    assert bench.now - start >= TIMING.lease_s
    assert request.body is not None
    assert holding(request.body).epoch == 1


def test_a_holder_that_slept_waits_like_everybody_else_when_the_lease_is_gone() -> None:
    """Another may have held it meanwhile."""
    bench = Bench()
    bench.lead()
    bench.now += 60
    request = bench.due()
    bench.answer(request, Missing())
    assert bench.due().verb is Verb.GET


def test_who_loses_the_race_for_creation_reads_again() -> None:
    bench = Bench()
    start = bench.now
    while bench.now - start < TIMING.lease_s + 1 or bench.due().verb is not Verb.CREATE:
        bench.answer(bench.due(), Missing())
    bench.answer(bench.due(), Refused())
    refused_at = bench.now
    assert bench.due().verb is Verb.GET
    assert bench.now - refused_at <= TIMING.poll_s * 0.1 * 1.2, "soon: nothing is known of the Lease"
    assert not bench.election.leads(bench.now)


def test_release_names_nobody_and_keeps_the_epoch() -> None:
    """So that the next holder's is a later one."""
    bench = Bench()
    bench.lead()
    request = bench.election.release()
    assert request is not None
    assert request.body is not None
    assert request.verb is Verb.UPDATE
    assert holding(request.body).holder == ""
    assert holding(request.body).epoch == 5
    assert holding(request.body).duration_s == 1, "an elector that waits for it all the same waits no longer than that"
    assert bench.election.trusted_s(bench.now) == 0, "nothing is done any more from here on, whatever the answer"
    assert not bench.election.leads(bench.now)


def test_who_holds_nothing_releases_nothing() -> None:
    bench = Bench()
    assert bench.election.release() is None
    bench.answer(bench.due(), Found(lease("b")))
    assert bench.election.release() is None
    assert bench.election.renewal() is None


def test_an_epoch_that_state_was_written_in_is_outranked() -> None:
    """A Lease that was deleted and made anew starts at 1 while state is of epoch 41."""
    bench = Bench()
    bench.lead()
    bench.election.outrank(41)
    renewal = bench.election.renewal()
    assert renewal is not None
    assert holding(bench.accept(renewal)).epoch == 42
    assert bench.election.epoch == 42
    again = bench.election.renewal()
    assert again is not None
    assert holding(bench.accept(again, "2")).epoch == 42, "once is enough"


def test_taking_over_outranks_every_epoch_that_was_seen() -> None:
    """Somebody set the Lease's own count back."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("b", epoch=30)))
    bench.now += 1
    bench.answer(bench.due(), Found(lease("", epoch=2)))
    request = bench.due()
    assert request.body is not None
    assert holding(request.body).epoch == 31


@pytest.mark.parametrize("written", [2**31 - 1, EPOCH_LIMIT + 1, -1])
def test_an_epoch_that_no_election_led_to_is_not_taken_over(written: int) -> None:
    """Somebody edited the Lease. After the largest int32 no term could begin any more, in any application, for good."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("b", epoch=30)))
    bench.now += 1
    bench.answer(bench.due(), Found(lease("", epoch=written)))
    assert holding(bench.accept(bench.due())).epoch == 31, "the next one after the last that it knows"


def test_the_holder_replaces_an_epoch_that_no_election_led_to() -> None:
    """In its next renewal, in a term after its own: other candidates never count from what was written."""
    bench = Bench()
    mine = bench.lead()
    edited = {**mine, "spec": {**mine["spec"], "leaseTransitions": 2**31 - 1}}
    bench.now += TIMING.renew_s * 2
    bench.answer(bench.due(), Refused())
    bench.answer(bench.due(), Found(edited))
    assert holding(bench.accept(bench.due(), "3")).epoch == bench.election.epoch == 6
    again = bench.election.renewal()
    assert again is not None
    assert holding(bench.accept(again, "4")).epoch == 6


def test_an_epoch_that_no_election_led_to_is_not_outranked() -> None:
    """The state of one application must not use up the count for all."""
    bench = Bench()
    bench.lead()
    bench.election.outrank(2**31 - 1)
    renewal = bench.election.renewal()
    assert renewal is not None
    assert holding(bench.accept(renewal)).epoch == 5


def test_no_answer_makes_it_ask_without_end_or_pause() -> None:
    """Whatever the server says, requests come at a bounded rate."""
    answers: list[Answer] = [Missing(), Refused(), Failed(), Found(lease("b")), Found(lease("")), Found({})]
    for answer in answers:
        bench = Bench()
        start, count = bench.now, 0
        while bench.now < start + 60:
            bench.answer(bench.due(), answer)
            count += 1
        assert count <= 60 * 2 / (TIMING.poll_s * 0.1), answer


@pytest.mark.parametrize(
    "spec",
    [
        None,
        "text",
        {},
        {"holderIdentity": 7, "leaseTransitions": "3", "leaseDurationSeconds": -1},
        {"holderIdentity": None, "leaseTransitions": True, "leaseDurationSeconds": 1.5},
        {"leaseTransitions": 2**40},
    ],
)
def test_a_lease_that_makes_no_sense_names_nobody(spec: object) -> None:
    """Impossible on a server with schemas; it must not end the elector."""
    assert holding({"spec": spec} if spec is not None else {}) == Holding("", 0, 0.0)


def test_no_request_is_due_before_its_time_and_waits_are_finite() -> None:
    bench = Bench()
    bench.lead()
    due = bench.election.next(bench.now)
    assert isinstance(due, float)
    assert 0 < due <= TIMING.renew_s * 1.2


def test_who_holds_a_lease_that_has_run_out_leads_no_more() -> None:
    """Where the API server stops answering, a page would name a leader that has stopped acting long ago."""
    bench = Bench("b")
    bench.answer(bench.due(), Found(lease("a", epoch=4)))
    assert (bench.election.leader(bench.now + 14), bench.election.leader(bench.now + 16)) == ("a", "")
    bench.answer(bench.due(), Failed())
    assert (bench.election.holder(), bench.election.leader(bench.now + 16)) == ("a", "")


def test_nobody_leads_before_the_lease_was_read() -> None:
    assert Bench().election.leader(100.0) == ""


def test_a_renewal_waits_for_a_read_where_the_last_write_may_have_taken_place() -> None:
    """A version that is known to be old would only be refused, in the time that an effect has."""
    bench = Bench()
    held = bench.lead()
    renewal = bench.election.renewal()
    assert renewal is not None
    assert renewal.verb is Verb.UPDATE
    bench.answer(bench.due(), Failed())
    assert bench.election.renewal() is None
    bench.answer(bench.due(), Found(held))
    assert bench.election.renewal() is not None


@pytest.mark.parametrize("left_s", [0.5, 1.5])
def test_a_holder_makes_a_deleted_lease_again_without_a_polls_wait_while_it_is_certain(left_s: float) -> None:
    """Its certainty ends within seconds; a poll later somebody would have to take over."""
    bench = Bench()
    bench.lead()
    while bench.election.trusted_s(bench.now) > left_s + 0.2:
        bench.now += 0.01
    asked = bench.now
    bench.answer(Request(Verb.GET), Missing(), took=0.0)
    wait = bench.election.next(bench.now)
    assert isinstance(wait, float)
    assert 0 < wait <= TIMING.poll_s * 0.1 * 1.2
    assert bench.due().verb is Verb.CREATE
    assert bench.now - asked < TIMING.poll_s / 2


@pytest.mark.parametrize("slept_s", [TIMING.trust_s, 60.0])
def test_a_holder_that_is_not_certain_any_more_waits_a_whole_duration_for_a_deleted_lease(slept_s: float) -> None:
    """From when it is first missing, asking once a poll: another may have led meanwhile, and deleted it."""
    bench = Bench()
    bench.lead()
    bench.now = (bench.election._renewed_at or 0.0) + slept_s
    missing_at = bench.now
    while (request := bench.due()).verb is not Verb.CREATE:
        before = bench.now
        bench.answer(request, Missing(), took=0.0)
        wait = bench.election.next(bench.now)
        if isinstance(wait, float):
            assert TIMING.poll_s <= bench.now - before + wait <= TIMING.poll_s * 1.2
    assert TIMING.lease_s <= bench.now - missing_at <= TIMING.lease_s + 2 * TIMING.poll_s * 1.2


def test_a_lease_is_made_exactly_when_a_whole_duration_has_passed() -> None:
    """Not a poll later: nobody leads meanwhile."""
    bench = Bench()
    bench.answer(bench.due(), Missing(), took=0.0)
    bench.now += TIMING.lease_s
    assert bench.due().verb is Verb.CREATE


def test_a_first_term_is_1_whatever_state_somebody_wrote() -> None:
    """What no election led to counts as nothing."""
    bench = Bench()
    bench.election.outrank(2**31 - 1)
    bench.answer(bench.due(), Found(lease("", epoch=0)))
    assert holding(bench.accept(bench.due())).epoch == 1


def test_state_of_its_own_term_that_another_wrote_is_outranked() -> None:
    """Two terms with one number: the Lease was reset, and both counted to it."""
    bench = Bench()
    bench.lead()
    bench.election.outrank(5)
    renewal = bench.election.renewal()
    assert renewal is not None
    assert holding(bench.accept(renewal)).epoch == 6


def test_people_see_since_when_it_leads() -> None:
    """A renewal keeps when the Lease was acquired; a takeover does not keep that of the one before."""
    bench = Bench()
    bench.answer(bench.due(), Found({**lease(""), "spec": {**lease("")["spec"], "acquireTime": "long ago"}}))
    first = bench.accept(bench.due())
    assert first["spec"]["acquireTime"] == first["spec"]["renewTime"] != "long ago"
    again = bench.accept(bench.due(), "2")
    assert again["spec"]["acquireTime"] == first["spec"]["acquireTime"]
    assert again["spec"]["renewTime"] != first["spec"]["renewTime"]


def test_a_lease_is_taken_over_exactly_when_a_whole_duration_has_passed() -> None:
    """Not a poll later: nobody leads meanwhile."""
    bench = Bench()
    bench.answer(bench.due(), Found(lease("b")), took=0.0)
    bench.now += TIMING.lease_s
    assert bench.due().verb is Verb.UPDATE
