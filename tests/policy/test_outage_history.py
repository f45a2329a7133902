"""What is remembered of past shortages, and the learned waits in the decision."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.policy.codec import CodecError, decode, encode
from controller.policy.decide import decide
from controller.policy.hold import break_even_s, hold_s, patience_s
from controller.policy.learning import KEPT, LEAST_SEEN
from controller.policy.memory import adopt
from controller.policy.model import Cause, HoldStrategy, Mode, OutageHistory, PolicySettings, Return, UnitMemory, Verb
from controller.policy.outage_history import noted
from tests.policy.support import INF2, World, launched, proven, shortage
from tests.support.applications import NOW, application, memory, snapshot

WEIGHTS = {"sd21-inf2": 40, "sd21-trn1": 20, "sd21-g5-triton": 15, "sd21-g6-triton": 10, "sd21-g5-cuda": 15}
SHORT = {INF2: UnitMemory(NOW, Cause.CAPACITY, proven_at=NOW)}
BACK = {INF2: replace(SHORT[INF2], returned=Return.REGISTERED, returned_at=NOW)}
LEARNED = PolicySettings(hold_strategy=HoldStrategy.LEARNED)


MANY = 5 * LEAST_SEEN  # a rule is judged by the rounds in which it gave advice, and the learned one gives none in the first


def seen(outage_s: float, uptime_s: float, count: int = MANY) -> OutageHistory:
    """This many outages and up-times, all of the same length."""
    return OutageHistory(outages_s=(outage_s,) * count, uptimes_s=(uptime_s,) * count)


def test_outages_are_timed_from_change_to_change() -> None:
    """The beginning of the first one is not known, so it does not count."""
    history = noted(OutageHistory(), {}, NOW)
    history = noted(history, SHORT, NOW)
    history = noted(history, SHORT, NOW + 50)
    history = noted(history, BACK, NOW + 90)
    history = noted(history, {}, NOW + 100)  # the fallback: nothing is remembered as short any more
    history = noted(history, SHORT, NOW + 190)
    assert history == OutageHistory(short=True, since=NOW + 190, outages_s=(90.0,), uptimes_s=(100.0,))


def test_only_the_newest_are_kept() -> None:
    """The ConfigMap has room for what is learned from, not for years."""
    history = OutageHistory(since=NOW)
    for number in range(3 * KEPT):
        history = noted(history, {} if number % 2 else SHORT, NOW + number)
    assert len(history.outages_s) == len(history.uptimes_s) == KEPT


def test_a_clock_that_was_set_back_makes_no_negative_outage() -> None:
    """Times in the future become now."""
    remembered = adopt(memory(outage_history=OutageHistory(short=True, since=NOW + 500)), Mode.COST, NOW)
    assert remembered.outage_history.since == NOW
    assert noted(OutageHistory(short=True, since=NOW + 500), {}, NOW).outages_s == (0.0,)


def test_the_outage_history_survives_restarts() -> None:
    """A shortage from its proof through the failover to its end counts as one outage."""
    world = World(shortage(), memory(outage_history=OutageHistory(since=NOW - 5_000)))
    world.tick(60)
    world.tick(60)
    assert world.memory.outage_history.uptimes_s == (5_060.0,)
    back = launched(world.snapshot.now + 30, world.snapshot.now + 60)
    world.unit(INF2, pool_launches=(back,), pool_failures=(), pending=(), ready=4, desired=4)
    world.tick(100)
    assert world.memory.outage_history == OutageHistory(since=world.snapshot.now, outages_s=(160.0,), uptimes_s=(5_060.0,))


@pytest.mark.parametrize("history", [{"since": "soon"}, {"outages_s": [-1]}, {"uptimes_s": [None]}, {"outages_s": 5}])
def test_an_impossible_history_is_refused(history: object) -> None:
    """Somebody edited the ConfigMap by hand."""
    stored = {**json.loads(encode(memory())), "spells": history}
    with pytest.raises(CodecError):
        decode(json.dumps(stored))


def test_break_even_ignores_it() -> None:
    """The default strategy does not depend on past shortages."""
    remembered = memory(outage_history=seen(60, 60, KEPT))
    made = application()
    assert hold_s(made, WEIGHTS, [INF2], remembered) == break_even_s(made, WEIGHTS, [INF2], 0)
    assert patience_s(made, WEIGHTS, [INF2], remembered) == made.policy.patience_s


def test_learned_is_break_even_until_enough_was_seen() -> None:
    """That includes its doubling."""
    made, remembered = application(policy=LEARNED), memory(outage_history=seen(60, 60, LEAST_SEEN - 1), hold_level=1)
    assert hold_s(made, WEIGHTS, [INF2], remembered) == break_even_s(made, WEIGHTS, [INF2], 1)
    assert patience_s(made, WEIGHTS, [INF2], remembered) == made.policy.patience_s


def test_learned_holds_longer_where_capacity_never_stays() -> None:
    """Up-times of half an hour are not worth two mode changes; the policy's bounds still apply."""
    remembered = memory(outage_history=seen(1_800, 1_800))
    made = application(policy=LEARNED)
    assert hold_s(made, WEIGHTS, [INF2], remembered) >= 1_800 > break_even_s(made, WEIGHTS, [INF2], 0)
    bounded = application(policy=replace(LEARNED, hold_max_s=600.0))
    assert hold_s(bounded, WEIGHTS, [INF2], remembered) <= 600


def test_learned_is_patient_where_shortages_are_brief() -> None:
    """Outages of twenty seconds beyond the patience are waited out where being exposed costs little."""
    made = application(policy=replace(LEARNED, exposed_cost=1.0))
    assert patience_s(made, WEIGHTS, [INF2], memory(outage_history=seen(50, 36_000))) >= 50


@pytest.mark.parametrize("exposed", [0.01, 0.1])
def test_learned_gives_way_where_a_failover_never_pays(exposed: float) -> None:
    """Being exposed is said to cost less than capacity mode: then nothing is learned, and prices alone decide."""
    made = application(policy=replace(LEARNED, exposed_cost=exposed))
    assert hold_s(made, WEIGHTS, [INF2], memory(outage_history=seen(60, 60))) == break_even_s(made, WEIGHTS, [INF2], 0)


def test_the_decision_waits_as_long_as_was_learned() -> None:
    """The guards of both legs use it: patience before the failover, and the hold before the fallback."""
    policy = replace(LEARNED, exposed_cost=1.0)
    short = shortage(replace(snapshot(), application=application(policy=policy)))
    brief = memory(outage_history=replace(seen(100, 36_000), since=NOW - 9_000), units=proven(NOW - 60))
    held = next(one for one in decide(brief, short)[1].guards if one.guard == "patience")
    assert not held.passed
    assert decide(replace(brief, outage_history=OutageHistory()), short)[1].verb is Verb.FAILOVER


def test_a_refusal_in_capacity_mode_is_an_outage_too() -> None:
    """Refusals in capacity mode count as well: they show how long capacity stays."""
    made = shortage(snapshot(mode=Mode.CAPACITY))
    remembered, _ = decide(memory(Mode.CAPACITY, outage_history=OutageHistory(since=NOW - 100)), made)
    assert remembered.outage_history == OutageHistory(short=True, since=NOW, uptimes_s=(100.0,))
