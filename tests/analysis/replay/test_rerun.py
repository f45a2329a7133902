"""Recorded moments are decided again: each by itself, or each as the replayed ones before it left it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.errors import ConfigError
from controller.policy.model import ActionKind, Application, Memory, Mode, PolicySettings, Snapshot, Verb
from controller.recording.lines import Recorded, Request, decided
from controller.routing.conclusion import conclude
from failover_analysis.replay.change import changed_to
from failover_analysis.replay.rerun import Moment, same_inputs, what_if
from failover_analysis.replay.tally import ModeChange, Tally
from tests.policy.support import INF2, World, launched, pods, refused, with_scalers
from tests.support.applications import NOW, application, healthy_units, memory, snapshot

POLICY = PolicySettings(patience_s=30, dwell_capacity_s=60, quiet_s=120, hold_min_s=60, hold_max_s=60)


class Recording(World):
    """A world of which every decision is recorded."""

    def __init__(self, made: Snapshot, remembered: Memory, *, dry_run: bool = False) -> None:
        super().__init__(made, remembered)
        self.dry_run = dry_run
        self.recorded: list[Recorded] = []

    def record(self, seconds: float) -> None:
        """Lets time pass, decides, does what is due (unless it is a dry run), and records that."""
        before = self.memory
        if self.dry_run:
            now = self.snapshot.now + seconds
            sources = tuple(replace(source, last_ok=now) for source in self.snapshot.sources)
            self.seen = self.snapshot = replace(self.snapshot, now=now, sources=sources)
            concluded = conclude(before, self.seen)
            self.memory, made = concluded.memory, concluded.plan
        else:
            _, made = self.tick(seconds)
        self.recorded.append(Recorded(before, self.seen, decided(made, () if self.dry_run else made.due), self.seen.now))


def shortage_and_return(*, dry_run: bool = False) -> list[Recorded]:
    """inf2 is refused, and back ten minutes later; a line every ten seconds."""
    app = application(policy=POLICY)
    world = Recording(with_scalers(snapshot(app, units=healthy_units(app, ready=20))), memory(), dry_run=dry_run)
    for _ in range(3):
        world.record(10)
    now = world.snapshot.now
    world.unit(INF2, pool_failures=(refused(now),), pool_blocked_at=now, pending=pods(since=now - 20), desired=22, ready=20)
    for _ in range(60):
        world.record(10)
    now = world.snapshot.now
    world.unit(INF2, pool_failures=(), pool_launches=(launched(now - 40, now),), pending=(), desired=20, ready=20)
    for _ in range(60):
        world.record(10)
    return world.recorded


def with_policy(**changes: Any) -> Callable[[Application], Application]:
    """Another policy."""
    return changed_to({"shop/sd21": application(policy=replace(POLICY, **changes))}, whole=False)


def tally(moments: Sequence[Moment]) -> Tally:
    """What they add up to."""
    made = Tally(moments[0])
    for moment in moments:
        made.add(moment)
    return made


def _modes(changes: list[ModeChange]) -> list[tuple[float, Mode | None, str]]:
    return [(round(one.at - NOW), one.to, one.reason) for one in changes]


FAILOVER, FALLBACK = (70, Mode.CAPACITY, "ShortageProven"), (690, Mode.COST, "ReturnProven")


def test_the_same_version_decides_every_moment_the_same() -> None:
    """Exit code 0: nothing in a decision depends on anything that was not recorded."""
    recorded = shortage_and_return()
    assert {one.decided.verb for one in recorded} >= {"hold", "failover", "fallback"}
    assert [moment.differences for moment in same_inputs(recorded)] == [()] * len(recorded)


def test_carried_from_decision_to_decision_the_same_policy_ends_up_the_same() -> None:
    """What is carried is exactly what the service remembered and wrote."""
    recorded = shortage_and_return()
    moments = list(what_if(recorded))
    assert [moment.differences for moment in moments] == [()] * len(recorded)
    made = tally(moments)
    assert _modes(made.recorded.changes) == _modes(made.replayed.changes) == [FAILOVER, FALLBACK]
    assert made.recorded.ledger.seconds == made.replayed.ledger.seconds == {Mode.COST: 600.0, Mode.CAPACITY: 620.0}


def test_with_less_patience_it_fails_over_earlier_although_nothing_was_recorded_then() -> None:
    """Time alone opens the guard: the moment lies between two lines."""
    recorded = [one for one in shortage_and_return() if round(one.snapshot.now - NOW) not in {50, 60}]
    moments = list(what_if(recorded, with_policy(patience_s=13)))
    first = next(moment for moment in moments if moment.differences)
    assert (first.snapshot.now - NOW, first.replayed.verb, first.between) == (53, Verb.FAILOVER, True)
    made = tally(moments)
    assert _modes(made.replayed.changes)[0] == (53, Mode.CAPACITY, "ShortageProven")
    assert _modes(made.recorded.changes)[:1] == [FAILOVER]
    assert made.decisions == len(recorded)


def test_with_more_patience_the_ingress_is_left_as_it_was_until_then() -> None:
    """The recorded Ingress shows capacity mode from the recorded failover on; the imagined one does not, nor do the ScaledObjects."""
    moments = list(what_if(shortage_and_return(), with_policy(patience_s=300)))
    made = tally(moments)
    assert _modes(made.replayed.changes) == [(340, Mode.CAPACITY, "ShortageProven"), FALLBACK]
    waiting = next(moment for moment in moments if moment.snapshot.now == NOW + 200)
    routing, recorded = waiting.snapshot.routing, waiting.recorded.snapshot.routing
    assert (routing.marker, len(routing.targets), recorded.marker, len(recorded.targets)) == ("cost", 5, "capacity", 1)
    ours, theirs = (one.units[INF2].scaler for one in (waiting.snapshot, waiting.recorded.snapshot))
    assert ours is not None
    assert theirs is not None
    assert (ours.target, theirs.target) == ("105", "89.2")
    after = next(moment for moment in moments if moment.snapshot.now == NOW + 400)
    assert (after.snapshot.routing, after.snapshot.units) == (after.recorded.snapshot.routing, after.recorded.snapshot.units), "they agree"


def test_without_a_failover_there_is_no_fallback() -> None:
    """Memory is carried: what was never switched is not switched back, whatever the recording remembers."""
    moments = list(what_if(shortage_and_return(), with_policy(patience_s=3600)))
    made = tally(moments)
    assert made.replayed.changes == []
    assert made.replayed.ledger.seconds == {Mode.COST: 1220.0}
    assert made.recorded.ledger.seconds == {Mode.COST: 600.0, Mode.CAPACITY: 620.0}
    fallback = next(moment for moment in moments if moment.recorded.decided.verb == "fallback")
    assert (fallback.replayed.verb, fallback.modes) == (Verb.HOLD, (Mode.COST, Mode.COST))


def test_each_moment_by_itself_is_decided_with_the_memory_of_the_recording() -> None:
    """Asked what another policy says of each moment, the recorded failover counts as made."""
    moments = list(same_inputs(shortage_and_return(), with_policy(patience_s=3600)))
    different = [(round(moment.snapshot.now - NOW), moment.replayed.reason) for moment in moments if moment.differences]
    assert different == [(70, "Patience")]


def test_what_the_api_server_refused_is_refused_again() -> None:
    """The world of the recording is kept: a patch that failed then did not move traffic."""
    world = Recording(with_scalers(snapshot(application(policy=replace(POLICY, patience_s=0)))), memory())
    world.record(10)
    now = world.snapshot.now
    world.unit(INF2, pool_failures=(refused(now - 10),), pool_blocked_at=now - 9, pending=pods(since=now - 20), desired=4, ready=2)
    failed = replace(world.snapshot, now=now + 10)
    made = conclude(world.memory, failed)
    lost = Recorded(world.memory, failed, decided(made.plan), now + 12, failed="Ingress sd21 routing action: timed out")
    world.memory, world.snapshot = made.memory, failed
    world.record(5)
    moments = list(what_if([world.recorded[0], lost, world.recorded[1]]))
    assert [moment.differences for moment in moments] == [(), (), ()]
    assert [moment.modes for moment in moments] == [(Mode.COST, Mode.COST)] * 2 + [(Mode.CAPACITY, Mode.CAPACITY)]


def test_what_is_carried_is_dated_as_the_service_dated_it() -> None:
    """The API server took seven seconds; dwell and verification count from then."""
    recorded = shortage_and_return()
    index = next(i for i, one in enumerate(recorded) if one.decided.verb == "failover")
    slow = replace(recorded[index], done=recorded[index].snapshot.now + 7)
    after = list(what_if([slow, recorded[index + 1]]))[1].memory
    assert (after.mode_since, after.changed_at) == (slow.done, slow.done)


def test_of_a_dry_run_it_says_what_would_have_become_of_it() -> None:
    """Nobody carried anything out then; here it is, once, and everything after is seen accordingly."""
    recorded = shortage_and_return(dry_run=True)
    assert sum(one.decided.verb == "failover" for one in recorded) > 10
    made = tally(list(what_if(recorded)))
    assert made.recorded.changes == []
    assert _modes(made.replayed.changes) == [FAILOVER, FALLBACK]


def test_a_replay_may_begin_in_the_middle() -> None:
    """The memory of the first line is where it begins."""
    recorded = shortage_and_return()
    assert all(not moment.differences for moment in what_if(recorded[20:]))


def test_a_gap_in_the_recording_is_not_filled() -> None:
    """Nobody knows what was while the controller was down: time alone decides for five minutes, no longer."""
    recorded = shortage_and_return()
    proven = next(index for index, one in enumerate(recorded) if one.decided.reason == "Patience")
    gap = [*recorded[: proven + 1], *recorded[55:]]
    moments = list(what_if(gap, with_policy(patience_s=400)))
    assert not any(moment.between and moment.modes[1] is Mode.CAPACITY for moment in moments)


def test_two_replicas_are_one_course() -> None:
    """Lines of a standby are left out; the new leader continues with the memory of the old one."""
    recorded = shortage_and_return()
    standby = [replace(one, memory=Memory(), snapshot=replace(one.snapshot, leader=False)) for one in recorded]
    mixed = [one for pair in zip(recorded, standby, strict=True) for one in pair]
    assert [moment.differences for moment in what_if(mixed)] == [()] * len(recorded)


def test_two_applications_do_not_mix() -> None:
    """Each has a course of its own."""
    one = shortage_and_return()
    other = [replace(r, snapshot=replace(r.snapshot, application=replace(r.snapshot.application, namespace="else"))) for r in one]
    mixed = [recorded for pair in zip(one, other, strict=True) for recorded in pair]
    found = list(what_if(mixed, with_policy(patience_s=300)))
    assert {moment.snapshot.application.key for moment in found if moment.differences and not moment.between} >= {"shop/sd21"}
    changed = [m for m in found if m.snapshot.application.key == "else/sd21" and any(d.what == "verb" for d in m.differences)]
    assert changed == [], "the file does not name it, so that its policy stays"


def test_the_whole_application_can_be_another_one() -> None:
    """Other weights; a unit that nobody observed is refused, one that is left out is not missed."""
    there = application(policy=POLICY)
    units = tuple(replace(unit, weight=50) if unit.name == INF2 else unit for unit in there.units)
    moments = list(same_inputs(shortage_and_return(), changed_to({there.key: replace(there, units=units)}, whole=True)))
    assert {difference.what for difference in moments[0].differences} >= {"targets"}
    fewer = changed_to({there.key: replace(there, units=there.units[:-1])}, whole=True)
    assert len(list(same_inputs(shortage_and_return(), fewer))) == len(moments)
    more = changed_to({there.key: replace(there, units=(*there.units, replace(there.units[0], name="sd21-new")))}, whole=True)
    with pytest.raises(ConfigError, match="found unit sd21-new, which was not recorded"):
        list(what_if(shortage_and_return(), more))


def test_what_was_lost_between_two_lines_is_a_difference_and_no_error() -> None:
    """Somebody switched by hand while nothing was recorded."""
    recorded = shortage_and_return()
    moments = list(what_if([recorded[0], recorded[30]]))
    assert moments[1].memory.mode is Mode.COST
    assert moments[1].modes == (Mode.CAPACITY, Mode.CAPACITY)


def test_routing_actions_are_compared_byte_for_byte() -> None:
    """A body that one byte was added to is a difference, and is shown."""
    recorded = shortage_and_return()
    index = next(i for i, one in enumerate(recorded) if one.decided.verb == "failover")
    requests = tuple(replace(one, body=one.body + " ") if one.kind == ActionKind.ROUTE else one for one in recorded[index].decided.requests)
    other = replace(recorded[index], decided=replace(recorded[index].decided, requests=requests))
    (moment,) = same_inputs([other])
    (difference,) = moment.differences
    assert difference.what == "actions"
    assert difference.before == difference.after + " "


def _as_applied(request: Request) -> Request:
    """A floor as it was written before floors and targets went out together: a server-side apply."""
    if request.kind != ActionKind.RAISE_FLOOR:
        return request
    operations = json.loads(request.body)
    observed = {one["path"].removeprefix("/metadata/"): one["value"] for one in operations if one["op"] == "test"}
    body = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": request.name, "namespace": request.namespace, **observed},
        "spec": {"minReplicaCount": operations[-1]["value"]},
    }
    return replace(request, body=json.dumps(body, separators=(",", ":")))


def test_a_floor_that_was_applied_is_the_same_request() -> None:
    """A recording of an earlier version differs in nothing; with another floor it does. All floors went out before all targets then."""
    recorded = shortage_and_return()
    index = next(i for i, one in enumerate(recorded) if any(request.kind == ActionKind.RAISE_FLOOR for request in one.decided.requests))
    decided = recorded[index].decided
    before = tuple(sorted(map(_as_applied, decided.requests), key=lambda one: one.kind == ActionKind.ROUTE))
    assert before != decided.requests
    (moment,) = same_inputs([replace(recorded[index], decided=replace(decided, requests=before))])
    assert moment.differences == ()
    other = tuple(replace(one, body=one.body.replace('"minReplicaCount":', '"minReplicaCount":1')) for one in before)
    (moment,) = same_inputs([replace(recorded[index], decided=replace(decided, requests=other))])
    assert [difference.what for difference in moment.differences] == ["actions"]
