"""Faults of the load-balancer controller, each from a setting that changes while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.policy.model import Mode, Target
from controller.routing.ingress.action import format_action
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from failover_testbed.lbc.faults import Faults, Throttle
from failover_testbed.lbc.group import Group
from failover_testbed.lbc.work_queue import RETRY_BASE_S, RETRY_MAX_S, WorkQueue
from tests.testbed.lbc.cluster import APP, CAPACITY, COST, KEY, Cluster, cluster, endpoint_slice

OLD = {unit.backend.service: unit.weight or 0 for unit in APP.units}
NEW = {"sd21-all": 1}
NEVER_S = 1e9
NUDGE = {"failoverctl.dev/nudge": "1"}


def outcomes(subject: Cluster, reason: str) -> int:
    """How many reconciles of the Ingress ended with this reason."""
    events = subject.api.store.list("Event")
    return sum(int(event["count"]) for event in events if event["reason"] == reason and event["involvedObject"]["name"] == "sd21")


@pytest.mark.parametrize("lag_s", [30.0, 420.0])
def test_it_acts_only_after_its_lag_and_on_what_is_there_then(tmp_path: Path, lag_s: float) -> None:
    with cluster(tmp_path, clock=AcceleratedClock(200), lag_s=0.0) as subject:
        subject.lbc.faults = Faults(lag_s=lag_s)
        before = len(subject.lbc.writes())
        subject.annotate("sd21", {KEY: CAPACITY})
        subject.annotate("sd21", {KEY: format_action([Target("sd21-trn1", 80, 1)], 0)})
        assert not subject.lbc.settled()
        subject.settle()
        written = subject.lbc.writes()[before:]
        assert [write.forward for write in written] == [(("sd21-trn1", 1),)]
        assert written[0].after_s >= lag_s


def test_settings_hold_at_once_also_for_what_waits(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        subject.lbc.faults = Faults(lag_s=NEVER_S)
        subject.annotate("sd21", {KEY: CAPACITY})
        assert subject.weights() == OLD
        subject.lbc.faults = Faults(lag_s=0.0)
        wait_for("it acts", lambda: subject.weights() == NEW)


def test_while_it_is_down_nothing_is_done_and_afterwards_everything(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        wait_for("the targets are there", lambda: len(subject.targets("sd21-trn1")) == 2)
        subject.lbc.faults = Faults(lag_s=0.0, paused=True)
        before = len(subject.lbc.writes())
        subject.annotate("sd21", {KEY: CAPACITY})
        subject.api.store.patch("EndpointSlice", "sd21-trn1-x", {"endpoints": endpoint_slice("", ["10.1.1.7"])["endpoints"]})
        wait_for("the new endpoint is seen", lambda: "10.1.1.7" in str(subject.lbc._targets._slices))
        assert subject.lbc.writes()[before:] == []
        assert not subject.lbc.settled()
        subject.lbc.faults = Faults(lag_s=0.0)
        wait_for("it acts", lambda: subject.weights() == NEW and set(subject.targets("sd21-trn1")) == {"10.1.1.7"})


def test_targets_can_lag_by_themselves(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        wait_for("the targets are there", lambda: len(subject.targets("sd21-trn1")) == 2)
        subject.lbc.faults = Faults(lag_s=0.0, targets_lag_s=NEVER_S)
        subject.api.store.patch("EndpointSlice", "sd21-trn1-x", {"endpoints": endpoint_slice("", ["10.1.1.7"])["endpoints"]})
        wait_for("the new endpoint is seen", lambda: "10.1.1.7" in str(subject.lbc._targets._slices))
        subject.annotate("sd21", {KEY: CAPACITY})
        wait_for("the rule is modified", lambda: subject.weights() == NEW)
        assert set(subject.targets("sd21-trn1")) == {"10.1.1.1", "10.1.1.2"}
        subject.lbc.faults = Faults(lag_s=0.0)
        wait_for("they are registered", lambda: set(subject.targets("sd21-trn1")) == {"10.1.1.7"})


def test_throttled_it_fails_keeps_the_rule_and_tries_again_by_itself(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, throttled=True)
        before = len(subject.lbc.writes())
        subject.annotate("sd21", {KEY: CAPACITY})
        wait_for("it has tried several times", lambda: outcomes(subject, "FailedDeployModel") >= 3)
        assert any("api error Throttling: Rate exceeded" in text for _, _, text in subject.events())
        subject.api.store.patch("EndpointSlice", "sd21-trn1-x", {"endpoints": endpoint_slice("", ["10.1.1.7"])["endpoints"]})
        wait_for("the other worker failed as well", lambda: bool(subject.lbc._targets._queue._failures))
        assert subject.lbc.writes()[before:] == []
        assert subject.weights() == OLD
        subject.lbc.faults = Faults(lag_s=0.0)
        wait_for("a retry succeeds", lambda: subject.weights() == NEW)
        wait_for("and the other worker's", lambda: set(subject.targets("sd21-trn1")) == {"10.1.1.7"})


def test_a_change_is_done_at_once_however_long_the_next_retry_is_away(tmp_path: Path) -> None:
    """Any annotation of the Ingress nudges a stuck controller into another reconcile."""
    with cluster(tmp_path) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, throttled=True)
        subject.annotate("sd21", {KEY: CAPACITY})
        wait_for("it has failed", lambda: outcomes(subject, "FailedDeployModel") >= 1)
        group = Group("default", "sd21")
        subject.lbc._queue._failures[group] = 30  # as after hours
        wait_for("the next retry is far away", lambda: subject.lbc._queue.pause(0.0, NEVER_S) > RETRY_MAX_S / 2)
        subject.lbc.faults = Faults(lag_s=0.0)
        assert subject.weights() == OLD
        subject.annotate("sd21", NUDGE)
        wait_for("it acts", lambda: subject.weights() == NEW)


def test_a_lost_rule_is_called_a_success_and_stays_lost_until_something_changes(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, lost_modify_rules=1)
        done = outcomes(subject, "SuccessfullyReconciled")
        assert [(write.action, write.lost) for write in subject.route(CAPACITY)] == [("ModifyRule", True)]
        assert outcomes(subject, "SuccessfullyReconciled") == done + 1
        assert subject.weights() == OLD
        before = len(subject.lbc.writes())
        subject.annotate("sd21", NUDGE)
        subject.settle()
        assert [(write.action, write.lost) for write in subject.lbc.writes()[before:]] == [("ModifyRule", False)]
        assert subject.weights() == NEW


def test_a_full_reconcile_finds_a_lost_rule(tmp_path: Path) -> None:
    with cluster(tmp_path, clock=AcceleratedClock(100), lag_s=0.0) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, lost_modify_rules=1)
        subject.route(CAPACITY)
        assert subject.weights() == OLD
        subject.lbc.faults = Faults(lag_s=0.0, sync_period_s=60.0)
        wait_for("it has reconciled everything", lambda: subject.weights() == NEW)


def test_a_late_rule_shows_later_than_it_is_reported(tmp_path: Path) -> None:
    with cluster(tmp_path, clock=AcceleratedClock(200), lag_s=0.0) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, late_modify_rule_s=90.0)
        seen = subject.lbc.changes
        assert [(write.action, write.late_s) for write in subject.route(CAPACITY)] == [("ModifyRule", 90.0)]
        wait_for("it shows", lambda: subject.weights() == NEW)
        wait_for("that counts as a change of its own", lambda: subject.lbc.changes == seen + 2)


def test_a_newer_call_takes_the_place_of_a_late_one(tmp_path: Path) -> None:
    with cluster(tmp_path) as subject:
        subject.lbc.faults = Faults(lag_s=0.0, late_modify_rule_s=NEVER_S)
        subject.route(CAPACITY)
        assert subject.weights() == OLD
        subject.lbc.faults = Faults(lag_s=0.0)
        other = format_action([Target("sd21-trn1", 80, 1)], 0)
        assert [write.late_s for write in subject.route(other)] == [0.0]
        assert subject.weights() == {"sd21-trn1": 1}
        assert subject.lbc._calls._late == {}
        assert subject.route(COST) != []


def test_a_lost_rule_in_a_naive_mode_change_leaves_a_rule_on_what_was_emptied(tmp_path: Path) -> None:
    """The old target group cannot be deleted while the rule still names it; that fails the reconcile, and the retry modifies the rule."""
    with cluster(tmp_path, Mode.CAPACITY, standby=False, clock=AcceleratedClock(50), lag_s=0.0) as subject:
        wait_for("the targets are there", lambda: len(subject.targets("sd21-all")) == 10)
        arn = subject.arn("sd21-all")
        subject.lbc.faults = Faults(lag_s=0.0, lost_modify_rules=1)
        subject.annotate("sd21", {KEY: COST})
        wait_for("its targets are gone", lambda: subject.elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"] == [])
        wait_for("the retry fixes it", lambda: subject.weights() == OLD)
        wait_for(
            "the event",
            lambda: any(reason == "FailedDeployModel" and "ResourceInUse" in text for _, reason, text in subject.events()),
        )


class TestQueue:
    """The work queue, without threads."""

    def test_a_change_waits_for_the_lag_once_and_is_due_as_of_the_first(self) -> None:
        clock = ManualClock(0.0)
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        clock.advance(3)
        queue.add("b")
        queue.add("a")
        assert queue.take(5) == []
        assert queue.pause(5, 100) == pytest.approx(2)
        clock.advance(2)
        assert queue.take(5) == [("a", 0.0)]
        assert not queue.idle()
        queue.done("a", failed=False)
        clock.advance(3)
        assert queue.take(5) == [("b", 3.0)]

    def test_pauses_double_up_to_a_quarter_of_an_hour(self) -> None:
        clock = ManualClock(0.0)
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        pauses = []
        for _ in range(25):
            [(key, _)] = queue.take(0)
            queue.done(key, failed=True)
            assert queue.idle()
            assert queue.take(0) == []
            pauses.append(queue.pause(0, NEVER_S))
            clock.advance(pauses[-1])
        assert pauses[:4] == pytest.approx([RETRY_BASE_S * factor for factor in (1, 2, 4, 8)])
        assert pauses[-1] == RETRY_MAX_S
        assert sum(pauses[:11]) < 21  # the recorded controller had tried eleven times within some twenty seconds

    def test_a_change_makes_a_retry_due_at_once_and_only_a_success_forgets_the_failures(self) -> None:
        clock = ManualClock(0.0)
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        for _ in range(10):
            clock.advance(queue.pause(0, NEVER_S))
            [(key, _)] = queue.take(0)
            queue.done(key, failed=True)
        long = queue.pause(0, NEVER_S)
        queue.add("a")
        assert [key for key, _ in queue.take(0)] == ["a"]
        queue.done("a", failed=True)
        assert queue.pause(0, NEVER_S) == pytest.approx(2 * long)
        queue.add("a")
        queue.take(0)
        queue.done("a", failed=False)
        queue.add("a")
        queue.take(0)
        queue.done("a", failed=True)
        assert queue.pause(0, NEVER_S) == pytest.approx(RETRY_BASE_S)

    def test_what_changes_during_the_work_is_done_again(self) -> None:
        clock = ManualClock(0.0)
        queue: WorkQueue[str] = WorkQueue(clock)
        queue.add("a")
        queue.take(0)
        queue.add("a")
        queue.done("a", failed=True)
        assert [key for key, _ in queue.take(0)] == ["a"]


def test_the_controllers_own_rate_limit() -> None:
    """A burst at once, then a fixed rate."""
    clock = ManualClock(0.0)
    throttle = Throttle(clock, 3.0, 20)
    assert [throttle.take() for _ in range(20)] == [0.0] * 20
    assert [throttle.take() for _ in range(3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    clock.advance(100)
    assert [throttle.take() for _ in range(21)] == pytest.approx([0.0] * 20 + [1 / 3])
