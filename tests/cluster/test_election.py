"""One writer on the real server, with killed, ended, paused and cut-off processes; the server's order of writes decides."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from controller.clients.kube import MERGE_PATCH
from controller.service.election import Timing
from controller.service.leadership import LEASE_NAME
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.election.group import LEASE, LONG_S, Group
from failover_harness.waiting import wait_for


@pytest.fixture
def group(plane: ControlPlane, namespace: str) -> Iterator[Group]:
    """Two replicas, one of which leads; at the end, checks that only holders of the Lease have written."""
    made = Group(plane, namespace)
    made.start()
    made.start()
    try:
        made.await_standby()
        yield made
    finally:
        violations = made.close()
    assert violations == []


def test_a_killed_leader_is_followed_by_the_other(group: Group) -> None:
    """After the lease duration, not earlier, and in the next epoch."""
    first = group.holder()
    epoch = group.epoch()
    group.send(first, signal.SIGKILL)
    second = group.await_holder(first)
    assert group.epoch() == epoch + 1
    assert group.recorder.record.count(second) > 0


def test_a_leader_that_ends_hands_over(group: Group) -> None:
    """It releases the Lease after its last write, so the other does not wait for its expiry."""
    first = group.holder()
    group.send(first, signal.SIGTERM)
    assert group.holder() != first, "released before the process ended"
    group.await_holder(first)


def test_a_leader_that_was_stopped_writes_nothing_when_it_goes_on(group: Group) -> None:
    """It continues in the middle of its work while the other leads."""
    first = group.holder()
    group.send(first, signal.SIGSTOP)
    second = group.await_holder(first)
    count = group.recorder.record.count(first)
    group.send(first, signal.SIGCONT)
    before = group.recorder.record.count(second)
    wait_for("more work of the second", lambda: group.recorder.record.count(second) > before + 10, LONG_S)
    assert group.recorder.record.count(first) == count
    assert group.holder() == second


def test_a_leader_that_was_stopped_for_a_moment_goes_on(group: Group) -> None:
    """For less than the lease duration: no other replica takes over, and the term stays the same."""
    first = group.holder()
    epoch = group.epoch()
    group.send(first, signal.SIGSTOP)
    time.sleep(Timing().trust_s + 1)
    group.send(first, signal.SIGCONT)
    count = group.recorder.record.count(first)
    wait_for("its work goes on", lambda: group.recorder.record.count(first) > count + 3, LONG_S)
    assert group.epoch() == epoch


def test_a_deleted_lease_is_made_again_by_its_holder(group: Group) -> None:
    """No other replica takes over; the epoch grows, and state is still written."""
    first = group.holder()
    for _ in range(3):
        group.session.request("DELETE", LEASE(group.namespace, LEASE_NAME))
        assert group.await_holder() == first
    assert set(group.recorder.record.holders()) == {first}


def test_a_lease_that_was_set_back_does_not_stop_the_state(group: Group) -> None:
    """Recreated with a count of 0 while no replica runs: state of a later epoch exists, so the next term is later still."""
    for name in group.names():
        group.send(name, signal.SIGTERM)
    group.session.request("DELETE", LEASE(group.namespace, LEASE_NAME))
    body = json.dumps({"metadata": {"name": LEASE_NAME}, "spec": {"leaseTransitions": 0}})
    group.session.request("POST", LEASE(group.namespace), body=body)
    written = max(write.epoch for write in group.recorder.record.writes)
    group.start()
    wait_for("state of a later epoch", lambda: max(one.epoch for one in list(group.recorder.record.writes)) > written, LONG_S)


def test_an_absent_lease_is_not_created_before_a_lease_duration(plane: ControlPlane, namespace: str) -> None:
    """Its holder may not know yet that it is gone."""
    group = Group(plane, namespace)
    group.session.request("DELETE", LEASE(namespace, LEASE_NAME))
    try:
        start = time.monotonic()
        group.start()
        group.start()
        wait_for("a leader", lambda: group.holder() != "", LONG_S)
        assert time.monotonic() - start >= Timing().lease_s
        group.await_holder()
    finally:
        violations = group.close()
    assert violations == []


def test_a_foreign_holder_is_respected_until_it_is_silent(group: Group) -> None:
    """While another client renews the Lease, no replica writes, until the Lease's own duration has passed without a renewal."""
    session, path = group.session, LEASE(group.namespace, LEASE_NAME)

    def renew(count: int) -> None:
        spec = {"holderIdentity": "somebody-else", "leaseDurationSeconds": 15, "leaseTransitions": 40, "renewTime": _stamp(count)}
        session.request("PATCH", path, body=json.dumps({"spec": spec}), content_type=MERGE_PATCH)

    renew(0)
    # Its holder learns it with the next renewal; no lease can prevent what it does until then.
    time.sleep(Timing().trust_s)
    mark = len(group.recorder.record.writes)
    for count in range(1, 8):
        renew(count)
        time.sleep(2.0)
    assert len(group.recorder.record.writes) == mark, "none of the replicas wrote"
    assert group.holder() == "somebody-else"
    group.await_holder("somebody-else")
    assert group.epoch() > 40
    group.recorder.record.writes = [one for one in group.recorder.record.writes if one not in group.recorder.record.writes[:mark]]


def _stamp(count: int) -> str:
    return f"2026-01-01T00:00:{count:02d}.000000Z"


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_an_api_server_that_is_away_for_longer_than_the_lease(group: Group, plane: ControlPlane, how: str) -> None:
    """With refused or hanging connections no replica writes or fails, and afterwards there is one leader again."""
    with plane.killed() if how == "killed" else plane.frozen():
        time.sleep(Timing().lease_s + 10)
    group.await_holder()
    assert group.all_running()


def test_the_record_sees_a_writer_that_does_not_hold_the_lease(group: Group) -> None:
    """The check can fail: it catches a write in the name of a replica that does not lead."""
    record = group.recorder.record
    change = json.dumps({"data": {"by": "replica-99", "count": "1"}})
    group.session.request("PATCH", f"/api/v1/namespaces/{group.namespace}/configmaps/routing", body=change, content_type=MERGE_PATCH)
    wait_for("it is recorded", lambda: record.count("replica-99") == 1)
    assert any("replica-99" in one for one in record.violations())
    record.writes = [one for one in record.writes if one.by != "replica-99"]
