"""The elector one turn at a time, on a clock that the test moves, before a dictionary. `test_leadership.py` has threads and a server."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from controller.clients.kube import LEASES, KubeSession, Resource
from controller.errors import Conflict, Forbidden, NotFound, Unavailable
from controller.policy.plan import FIELD_MANAGER
from controller.service.election import EFFECT_S, EPOCH_LIMIT, Timing
from controller.service.leadership import LEASE_NAME, REQUEST_S, LeaseLeadership, SingleReplica, pod_of
from failover_harness.waiting import wait_for
from failover_testbed.clocks import ManualClock

SPACE = "failover-system"
TIMING = Timing()


class Server:
    """Keeps one Lease as the API server does, and the requests for it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.lease, self.version = clock, cast("dict[str, Any] | None", None), 0
        self.requests: list[str] = []
        self.fault: Callable[[str], None] = lambda _: None
        self.took_s = 0.0

    def get(self, resource: Resource, namespace: str, name: str, *, deadline_s: float) -> dict[str, Any]:
        """See `KubeSession.get`."""
        self._asked("get", resource, namespace, deadline_s)
        if self.lease is None or name != LEASE_NAME:
            raise NotFound("no such lease")
        return copy.deepcopy(self.lease)

    def create(self, resource: Resource, namespace: str, body: dict[str, Any], *, field_manager: str, deadline_s: float) -> dict[str, Any]:
        """See `KubeSession.create`."""
        self._asked("create", resource, namespace, deadline_s, field_manager)
        if self.lease is not None:
            raise Conflict("it exists")
        return self._stored(body)

    def replace(
        self, resource: Resource, namespace: str, name: str, body: dict[str, Any], *, field_manager: str, deadline_s: float
    ) -> dict[str, Any]:
        """See `KubeSession.replace`."""
        self._asked("replace", resource, namespace, deadline_s, field_manager)
        if self.lease is None or name != LEASE_NAME:
            raise NotFound("no such lease")
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("it changed")
        return self._stored(body)

    def put(self, holder: str, epoch: int = 4, duration: int = 15) -> None:
        """Somebody else writes the Lease."""
        spec = {"holderIdentity": holder, "leaseTransitions": epoch, "leaseDurationSeconds": duration}
        self._stored({"metadata": {"name": LEASE_NAME, "namespace": SPACE}, "spec": spec})

    def _asked(self, verb: str, resource: Resource, namespace: str, deadline_s: float, manager: str = FIELD_MANAGER) -> None:
        assert (resource, namespace, deadline_s, manager) == (LEASES, SPACE, REQUEST_S, FIELD_MANAGER)
        self.requests.append(verb)
        self.clock.advance(self.took_s)
        self.fault(verb)

    def _stored(self, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return copy.deepcopy(self.lease)


class World:
    """One replica before the server."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.server = Server(self.clock)
        self.changes: list[tuple[bool, str]] = []
        self.replica = LeaseLeadership(cast("KubeSession", self.server), SPACE, TIMING, self.clock, self._changed, "me")

    def _changed(self) -> None:
        self.changes.append((self.replica.leads(), self.replica.holder()))

    def turn(self) -> None:
        """Waits for the next request, and makes it."""
        before = len(self.server.requests)
        for _ in range(50):
            wait = self.replica._turn()
            if len(self.server.requests) > before:
                return
            assert 0 < wait <= TIMING.lease_s, "a turn without a request says how long to wait"
            self.clock.advance(wait)
        raise AssertionError("no request in fifty turns")

    def lead(self) -> None:
        """It takes a Lease that was released."""
        self.server.put("")
        self.turn()
        self.turn()
        assert self.replica.leads()


@pytest.fixture
def world() -> World:
    """A replica that has asked for nothing yet."""
    return World()


def test_people_see_who_leads_and_each_change_once(world: World) -> None:
    """A replica that leads without a notification would decide a poll later; one that repeats it would wake every pass."""
    assert (world.replica.leads(), world.replica.holder(), world.replica.identity) == (False, "", "me")
    world.server.put("other")
    world.turn()
    world.turn()
    assert world.changes == [(False, "other")]
    world.server.put("", epoch=5)
    world.turn()
    world.turn()
    assert world.changes[-1] == (True, "me")
    assert len([one for one in world.changes if one == (True, "me")]) == 1
    assert world.replica.epoch() == 6


def test_an_effect_is_confirmed_without_a_request_only_while_more_time_is_certain_than_it_needs(world: World) -> None:
    """An effect that ends after another replica may lead would undo what that one does."""
    world.lead()
    asked = len(world.server.requests)
    assert world.replica.confirm(5, EFFECT_S)
    assert len(world.server.requests) == asked
    world.clock.advance(TIMING.trust_s - EFFECT_S)  # exactly as long as needed is certain
    assert world.replica.confirm(5, EFFECT_S)
    assert world.server.requests[asked:] == ["replace"], "it renewed first"


def test_an_effect_is_not_confirmed_where_the_renewal_brings_no_more_than_it_needs(world: World) -> None:
    """As after an answer that took too long: the deadline of the effect would be later than the end of certainty."""
    world.lead()
    world.clock.advance(TIMING.trust_s)
    world.server.took_s = TIMING.trust_s - EFFECT_S
    assert not world.replica.confirm(5, EFFECT_S)
    world.server.took_s = 0.0
    assert world.replica.confirm(5, EFFECT_S)


@pytest.mark.parametrize("epoch", [4, 6])
def test_a_plan_of_another_term_is_refused_and_its_lease_left_alone(world: World, epoch: int) -> None:
    """However little time it needs: that plan was made from another replica's state."""
    world.lead()
    asked = len(world.server.requests)
    assert not world.replica.confirm(epoch, 0.0)
    assert not world.replica.confirm(epoch, 0.5)
    assert world.replica.confirm(5, 0.5)
    assert {*world.server.requests[asked:]} <= {"replace"}


def test_who_does_not_lead_asks_for_nothing_and_confirms_nothing(world: World) -> None:
    """A standby that renewed would take the Lease from the leader in the middle of a mode change."""
    world.server.put("other")
    world.turn()
    asked = len(world.server.requests)
    assert not world.replica.confirm(world.replica.epoch(), EFFECT_S)
    assert not world.replica.confirm(world.replica.epoch(), 0.0)
    world.replica.outrank(90)
    assert len(world.server.requests) == asked


def test_state_of_a_later_term_is_outranked_at_once(world: World) -> None:
    """Until then every save would be refused: the stored state is of a later term."""
    world.lead()
    world.replica.outrank(41)
    assert world.replica.epoch() == 42
    assert world.server.lease is not None
    assert world.server.lease["spec"]["leaseTransitions"] == 42


def test_what_is_lost_meanwhile_is_not_confirmed(world: World) -> None:
    """Somebody took the Lease: the renewal before an effect finds that out."""
    world.lead()
    world.server.put("other", epoch=9)
    world.clock.advance(TIMING.trust_s)
    assert not world.replica.confirm(5, EFFECT_S)
    world.turn()
    assert not world.replica.leads()
    assert world.replica.holder() == "other"


def test_a_lease_that_is_absent_is_created(world: World) -> None:
    """In a new installation nobody would lead."""
    world.turn()
    assert world.changes == [], "that nobody leads is nothing new"
    while world.server.lease is None:
        world.turn()
    assert world.replica.leads()
    assert world.server.lease["metadata"]["name"] == LEASE_NAME
    assert world.server.lease["metadata"]["namespace"] == SPACE
    assert world.server.lease["metadata"]["labels"] == {"app.kubernetes.io/name": "failoverctl"}, "what `kubectl get -l` of the guide finds"
    assert re.fullmatch(r"\S+T\S+\.\d{6}Z", world.server.lease["spec"]["renewTime"]), (
        "the API server refuses a MicroTime without a fraction"
    )
    assert world.server.requests[-1] == "create"


def test_a_creation_that_another_won_leads_to_reading(world: World) -> None:
    """Two replicas of a new installation."""

    def first(verb: str) -> None:
        if verb == "create":
            world.server.put("other")
            world.server.fault = lambda _: None

    world.server.fault = first
    while "create" not in world.server.requests:
        world.turn()
    world.turn()
    assert world.replica.holder() == "other"
    assert not world.replica.leads()


def test_people_read_why_it_can_never_lead_and_it_ends(world: World) -> None:
    """A missing permission is named, an outage is not: it passes by itself."""

    def refuse(_: str) -> None:
        raise Forbidden("leases is forbidden")

    def fail(_: str) -> None:
        raise Unavailable("503")

    assert world.replica.refusal() == ""
    world.server.fault = refuse
    world.turn()
    assert world.replica.refusal() == "leases is forbidden"
    world.server.fault = fail
    world.turn()
    assert world.replica.refusal() == ""
    world.server.fault = refuse
    world.turn()
    world.server.fault = lambda _: None
    world.server.put("")
    world.turn()
    assert world.replica.refusal() == ""


def test_an_outage_is_logged_once(world: World) -> None:
    """Not once a second, and again after it had ended."""

    def fail(_: str) -> None:
        raise Unavailable("503")

    with capture_logs() as logs:
        for _ in range(2):
            world.server.fault = fail
            for _ in range(3):
                world.turn()
            world.server.fault = lambda _: None
            world.server.put("other")
            world.turn()
    assert [one["error"] for one in logs if one["event"] == "election.no_answer"] == ["503", "503"]


def test_leaving_releases_the_lease_so_that_another_leads_at_once(world: World) -> None:
    """Else a rollout would leave nobody leading for a lease duration."""
    world.lead()
    world.replica.stop()
    assert world.server.lease is not None
    assert world.server.lease["spec"]["holderIdentity"] == ""
    assert not world.replica.leads()
    assert world.changes[-1] == (False, "")
    assert not world.replica.confirm(5, 0.0)


def test_nothing_is_taken_any_more_after_leaving(world: World) -> None:
    """A turn that had begun would take the Lease back, and hold it for its whole duration after the process is gone."""
    world.server.put("")
    world.turn()
    world.replica.stop()
    asked = len(world.server.requests)
    world.clock.advance(TIMING.lease_s)
    assert world.replica._turn() == 0.0, "it waits for nothing any more"
    assert len(world.server.requests) == asked
    assert world.server.lease is not None
    assert world.server.lease["spec"]["holderIdentity"] == ""


def test_a_lease_that_nobody_holds_is_taken_without_a_polls_wait(world: World) -> None:
    """Nobody leads meanwhile."""
    world.server.put("")
    assert world.replica._turn() == 0.0
    assert world.replica._turn() == 0.0
    assert world.replica.leads()


def test_its_thread_leads_until_it_leaves_and_keeps_no_process_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends by a signal must not wait for the elector."""
    world.server.put("")
    monkeypatch.setattr(world.clock, "wait", lambda event, _: event.wait(0.001))
    world.replica.start()
    wait_for("it leads", world.replica.leads)
    assert world.replica._thread.daemon
    world.replica.stop()
    assert not world.replica._thread.is_alive()
    assert not world.replica.leads()


def test_the_log_says_who_leads(world: World) -> None:
    """What a person reads after an outage: which replica led in which term, and whether a Lease was released."""
    with capture_logs() as logs:
        world.replica._thread = Mock()
        world.replica.start()
        world.server.put("other")
        world.turn()
        world.server.put("")
        world.turn()
        world.turn()
        world.replica.stop()
    parts = [{name: value for name, value in one.items() if name != "log_level"} for one in logs]
    assert [one for one in parts if one.get("holder") != ""] == [
        {"event": "election.started", "identity": "me", "lease": f"{SPACE}/{LEASE_NAME}"},
        {"event": "election.standing_by", "epoch": 0, "holder": "other"},
        {"event": "election.leading", "epoch": 5, "holder": "me"},
        {"event": "election.released", "done": True},
    ]


def test_a_kubelet_restarts_an_elector_that_hangs_and_no_other(world: World) -> None:
    """A restart does not help against a slow API server, and a bug that hangs the elector is not seen otherwise."""
    limit = 3 * TIMING.lease_s
    world.clock.advance(limit)
    assert world.replica.problem() == ""
    world.clock.advance(1.0)
    assert world.replica.problem() == f"the elector has not finished a round for {limit + 1:.0f} s, limit {limit:.0f} s"


def test_a_bug_in_one_turn_does_not_end_the_elector(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the only thread that can renew. It goes on after a poll's wait, and each round counts as finished."""
    waits: list[float] = []

    def turn() -> float:
        if not waits:
            raise ValueError("a bug")
        return 7.0

    def wait(event: Any, seconds: float) -> bool:
        waits.append(seconds)
        world.clock.advance(100.0)
        if len(waits) == 3:
            event.set()
        return False

    monkeypatch.setattr(world.replica, "_turn", turn)
    monkeypatch.setattr(world.clock, "wait", wait)
    world.replica._run()
    assert waits == [TIMING.poll_s, 7.0, 7.0]
    assert world.replica.problem().startswith("the elector has not finished a round for 100 s"), "since the last round alone"


def test_status_names_the_pod_that_leads() -> None:
    """Whatever its name: `kubectl logs` takes no other."""
    assert pod_of("failoverctl-6d5f_ab_1a2b3c4d") == "failoverctl-6d5f_ab"


def test_a_single_replica_counts_from_its_start_and_within_the_limit() -> None:
    """Past the limit no later process could begin a term of its own, for good."""
    alone = SingleReplica(ManualClock(0.0))
    assert alone.leads()
    assert (alone.epoch(), alone.confirm(0, 1e9), alone.confirm(0, math.inf)) == (0, True, False)
    alone.outrank(EPOCH_LIMIT)
    assert alone.epoch() == 0
    alone.outrank(EPOCH_LIMIT - 1)
    assert alone.epoch() == EPOCH_LIMIT
    alone.outrank(3)
    assert alone.epoch() == EPOCH_LIMIT, "never an earlier one"
    assert (alone.problem(), alone.refusal(), alone.holder()) == ("", "", alone.identity)
