"""What `explain`, `status`, messages and the page say of what comes next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.cli.explain import explanation_document, explanation_lines
from controller.cli.explanation import explain
from controller.cli.observe import judge
from controller.policy.model import Cause, Memory, Mode, Override, PolicySettings, RoutingObservation, Snapshot, Source, UnitMemory
from controller.service.explanation import next_step
from tests.policy.support import INF2, change, pods, refused
from tests.support.applications import NOW, application, memory, snapshot

PATIENT = application(policy=PolicySettings(patience_s=30))


def _suspected() -> Snapshot:
    failure = refused(NOW - 60, named_type="inf2.xlarge", named_zone="us-west-2a")
    zones = ("us-west-2a", "us-west-2b", "us-west-2c")
    return change(snapshot(PATIENT), pool_failures=(failure,), pool_zones=zones, pending=pods(), desired=4)


def _paused() -> Snapshot:
    made = snapshot()
    return replace(made, routing=replace(made.routing, override=Override(paused_until=NOW + 900, paused_why="drill")))


def _unprepared() -> Snapshot:
    made = _suspected()
    return replace(made, routing=replace(made.routing, standby=()))


RETURNING = replace(memory(Mode.CAPACITY), units={INF2: UnitMemory(NOW - 5000, Cause.CAPACITY)})


@pytest.mark.parametrize(
    ("made", "kept", "says"),
    [
        pytest.param(snapshot(), memory(), "stays in cost mode: no pod of any deployment unit waits for a node", id="healthy"),
        pytest.param(
            _suspected(),
            memory(),
            "would fail over to capacity mode in 3 min, if nothing changes: the demand is then older than a cycle of Karpenter's cache for "
            "sd21-inf2, and the patience is over",
            id="suspected",
        ),
        pytest.param(_paused(), memory(), "changes nothing: paused by an operator until 15 min from now: drill", id="paused"),
        pytest.param(
            snapshot(mode=Mode.CAPACITY),
            RETURNING,
            "would fall back to cost mode in 22 min 42 s, if nothing changes: back to cost mode with sd21-inf2: the replicas that the "
            "present demand needs are ready",
            id="returning",
        ),
        pytest.param(replace(snapshot(), routing=RoutingObservation(exists=False)), memory(), "changes nothing: ", id="no Ingress"),
    ],
)
def test_the_next_step_is_one_sentence(made: Snapshot, kept: Memory, says: str) -> None:
    """With the time, and with what it waits for."""
    assert next_step(kept, made).startswith(says)


def test_a_suspicion_says_what_would_prove_it_at_once() -> None:
    """And after which time."""
    assert explain(memory(), _suspected()).sooner == "in 30 s if AWS also refuses us-west-2b, us-west-2c for sd21-inf2"


def test_why_not_is_said_before_it_comes_to_it() -> None:
    """Each unit is asked about, and a command that would be refused says so."""
    explained = explain(memory(), _unprepared())
    (one,) = explained.what_if
    assert "no standby rule keeps sd21-all registered" in one.answer
    assert "no standby rule keeps sd21-all registered" in explained.forced


def test_what_time_does_not_change_is_said_first() -> None:
    """The patience is over in half a minute, and then nothing comes all the same."""
    short = change(snapshot(PATIENT), pool_failures=(refused(NOW - 60),), pool_blocked_at=NOW - 5, pending=pods(), desired=4)
    held = replace(short, routing=replace(short.routing, standby=()))
    guards = [one.guard for one in judge(held, memory()).decision.guards if not one.passed]
    assert guards[0] == "patience", guards
    assert next_step(memory(), short).startswith("would fail over to capacity mode in 30 s")
    assert next_step(memory(), held).startswith(
        "would fail over to capacity mode, but the mode change would drop requests: no standby rule"
    )


@pytest.mark.parametrize("override", [Override(paused_until=NOW + 900), Override(problem="x: found 'y'")], ids=["paused", "unreadable"])
def test_a_pin_does_nothing_during_a_pause(override: Override) -> None:
    """`failoverctl pin` leaves a pause as it is."""
    made = snapshot()
    forced = explain(memory(), replace(made, routing=replace(made.routing, override=override))).forced
    assert forced == "does nothing while paused; without the pause it would fail over to capacity mode at once"


def test_units_whose_answers_differ_in_the_name_alone_are_one_line() -> None:
    """Five paragraphs that say the same of five units hide the one that differs."""
    made = snapshot(application(policy=PolicySettings(trip_causes=frozenset({Cause.QUOTA}))))
    (one,) = explain(memory(), made).what_if
    assert one.units == tuple(unit.name for unit in made.application.units)
    assert one.answer.startswith("would not change the mode: it cannot get capacity, but cause capacity may not lead to a failover")


@pytest.mark.parametrize(("required", "blind"), [(True, True), (False, False)])
def test_what_cannot_be_observed_promises_no_failover(*, required: bool, blind: bool) -> None:
    """On a quiet day somebody asks what would come at night: nothing, where Karpenter's refusals may not be read."""
    made = snapshot()
    made = replace(made, sources=(*made.sources, Source("claims", required, None, 180.0, absent=True, problem="403 Forbidden")))
    explained = explain(memory(), made)
    sentence = "claims cannot be observed, so no shortage is seen: 403 Forbidden"
    assert explained.blind == ((sentence,) if blind else ())
    answers = [one.answer for one in explained.what_if]
    assert (answers == ["would not be noticed, because claims cannot be observed"]) is blind
    lines = [line for _, line in explanation_lines(judge(made, memory()), explained, 200)]
    assert (f"Blind   ✖ {sentence}" in lines) is blind
    assert explanation_document(judge(made, memory()), explained)["blind"] == list(explained.blind)


def test_the_commands_fit_the_state() -> None:
    """Force asks for the other mode; what is paused is resumed."""
    assert explain(memory(), snapshot()).force == 'failoverctl pin capacity shop/sd21 --for 1h --why "…"'
    assert explain(memory(), snapshot()).stop == 'failoverctl pause shop/sd21 --for 1h --why "…"'
    assert explain(RETURNING, snapshot(mode=Mode.CAPACITY)).force.startswith("failoverctl pin cost ")
    assert explain(memory(), _paused()).stop == "failoverctl resume shop/sd21"
    over = replace(
        snapshot(), routing=replace(snapshot().routing, override=Override(paused_until=NOW - 1, pinned_mode=Mode.COST, pinned_until=NOW))
    )
    assert explain(memory(), over).stop.startswith("failoverctl pause"), "what has ended is not resumed"
    unreadable = replace(snapshot(), routing=replace(snapshot().routing, override=Override(problem="x: found 'y'")))
    assert explain(memory(), unreadable).stop == "failoverctl resume shop/sd21", "it counts as a pause"
    deleted = replace(snapshot(), routing=RoutingObservation(exists=True, problem="no action"))
    assert explain(memory(Mode.CAPACITY), deleted).mode is Mode.CAPACITY, "the mode that is remembered is the one to write again"


@pytest.mark.parametrize("made", [snapshot(), _suspected(), _paused(), _unprepared()], ids=["healthy", "suspected", "paused", "unprepared"])
def test_people_and_machines_read_the_same(made: Snapshot) -> None:
    """At 80 columns."""
    seen = judge(made, memory())
    explained = explain(seen.memory, seen.snapshot)
    lines = [line for _, line in explanation_lines(seen, explained, 80)]
    assert max(map(len, lines)) <= 80
    document = explanation_document(seen, explained)
    shown = " ".join(" ".join(lines).split())
    assert document["next"] in shown
    assert all(one["answer"] in shown for one in document["whatIf"])
    assert all(sentence in shown for sentence in document["holding"])
