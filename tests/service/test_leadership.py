"""The elector over HTTP: real threads, the emulated API, and time that runs as fast as the machine's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clients.kube import LEASES, KubeSession, connect
from controller.clock import SystemClock
from controller.service.election import EFFECT_S, EPOCH_LIMIT, Timing, holding
from controller.service.leadership import LEASE_NAME, LeaseLeadership, SingleReplica, make_identity
from failover_harness.waiting import wait_for
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import ADMIN_TOKEN, EmulatedKubeApi

SPACE = "failover-system"
QUICK = Timing(lease_s=12.0, renew_s=0.5, poll_s=0.1)


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A server with a released Lease, so that nobody waits for one that is absent."""
    with EmulatedKubeApi() as running:
        running.store.create("Lease", {"metadata": {"name": LEASE_NAME, "namespace": SPACE}, "spec": {"leaseTransitions": 4}})
        yield running


@pytest.fixture
def session(api: EmulatedKubeApi, tmp_path: Path) -> Iterator[KubeSession]:
    made = connect(kubeconfig=str(api.kubeconfig(ADMIN_TOKEN, tmp_path / "kubeconfig")))
    yield made
    made.close()


def replica(session: KubeSession, name: str, changed: threading.Event | None = None) -> LeaseLeadership:
    """One candidate, not started."""
    return LeaseLeadership(session, SPACE, QUICK, SystemClock(), (changed or threading.Event()).set, name)


def test_one_leads_and_the_other_takes_over_when_it_releases(session: KubeSession) -> None:
    """Each in an epoch of its own; the first one knows at once that it leads no more."""
    changed = threading.Event()
    first, second = replica(session, "first", changed), replica(session, "second")
    first.start()
    wait_for("the first leads", first.leads)
    wait_for("the notification", changed.is_set)
    second.start()
    wait_for("the second sees it", lambda: second.holder() == "first")
    assert (first.epoch(), second.leads()) == (5, False)
    assert first.confirm(5, EFFECT_S)
    assert not second.confirm(second.epoch(), EFFECT_S)
    first.stop()
    assert not first.leads()
    assert not first.confirm(5, 0.1)
    wait_for("the second leads", second.leads)
    assert second.epoch() == 6
    assert not second.confirm(5, EFFECT_S), "a plan of another term is not carried out"
    second.stop()


def test_confirm_renews_when_what_is_known_is_too_old(session: KubeSession, api: EmulatedKubeApi) -> None:
    """One request, and only where it is needed."""
    slow = LeaseLeadership(session, SPACE, Timing(lease_s=12.0, renew_s=60.0), SystemClock(), lambda: None, "a")
    slow.start()
    wait_for("it leads", slow.leads)
    assert slow.confirm(5, 0.1)
    wait_for("it is no longer certain for so long", lambda: slow._trusted_s(5) < EFFECT_S)
    before = len(api.audit.records(verb="update", resource="leases"))
    assert slow.confirm(5, EFFECT_S)
    assert len(api.audit.records(verb="update", resource="leases")) == before + 1
    slow.stop()


def test_a_server_that_refuses_renewals_ends_certainty(session: KubeSession, api: EmulatedKubeApi) -> None:
    """No certainty, no effect; and no exception."""
    leader = replica(session, "a")
    leader.start()
    wait_for("it leads", leader.leads)
    api.fail_next(1000, status=500)
    wait_for("it cannot be sure any more", lambda: not leader.confirm(5, EFFECT_S))
    assert leader.problem() == "", "a restart would not fix the server"
    api.clear_failures()
    wait_for("it is sure again, in the same term", lambda: leader.confirm(5, EFFECT_S))
    leader.stop()


def test_state_of_a_later_epoch_starts_one_later_still(session: KubeSession) -> None:
    leader = replica(session, "a")
    leader.start()
    wait_for("it leads", leader.leads)
    leader.outrank(90)
    assert leader.epoch() == 91
    assert leader.confirm(91, EFFECT_S)
    leader.stop()


def test_a_lease_taken_by_force_is_given_up(session: KubeSession, api: EmulatedKubeApi) -> None:
    """Somebody edits it: who held it stops, and does not fight."""
    leader = replica(session, "a")
    leader.start()
    wait_for("it leads", leader.leads)
    api.store.patch("Lease", LEASE_NAME, {"spec": {"holderIdentity": "a person"}}, namespace=SPACE)
    wait_for("it noticed", lambda: not leader.leads())
    assert not leader.confirm(5, 0.1)
    leader.stop()
    assert holding(session.get(LEASES, SPACE, LEASE_NAME)).holder == "a person", "what is not held is not released"


def test_stop_before_start_is_nothing(session: KubeSession) -> None:
    replica(session, "a").stop()


def test_identities_are_never_used_twice() -> None:
    assert len({make_identity() for _ in range(100)}) == 100


def test_a_single_replica_always_leads_and_can_outrank() -> None:
    alone = SingleReplica(SystemClock())
    epoch = alone.epoch()
    assert alone.leads()
    assert alone.confirm(epoch, 1e9)
    alone.outrank(epoch + 5)
    assert alone.epoch() == epoch + 6
    assert not alone.confirm(epoch, 1)


def test_a_single_replica_cannot_use_up_the_epochs() -> None:
    """Neither with a clock that is decades ahead, nor because of state whose epoch nobody counted to."""
    alone = SingleReplica(ManualClock(2_300_000_000.0))
    epoch = alone.epoch()
    assert epoch < EPOCH_LIMIT
    alone.outrank(2**31 - 1)
    assert alone.epoch() == epoch
