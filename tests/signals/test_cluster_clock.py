"""Clocks that differ or step: what is seen keeps its age, and people hear by how much they differ."""

from __future__ import annotations

from typing import Any

import pytest

from controller.clients.kube import EVENTS, INGRESSES, NODE_CLAIMS, PODS
from controller.clock import format_rfc3339
from controller.policy.model import Memory, Sample
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.policy.support import decide
from tests.signals.samples import ice_event, moment, node_claim, waiting_pod
from tests.support.applications import application

T0 = moment("2026-08-25T10:00:03Z")
HOUR_S = 3600.0


class Cluster:
    """A cluster whose clock starts at `T0`, and a view of it whose clock is `ahead_s` ahead."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ours = ManualClock(T0 + ahead_s)
        self.view = ClusterView(self.ours, lambda: None)

    @property
    def now(self) -> float:
        return T0 + self.ours.monotonic()

    def refuse(self, name: str, *, late_s: float = 0.0) -> None:
        """A NodeClaim is created and refused now, and delivered `late_s` later."""
        at = self.now
        self.ours.advance(late_s)
        self.view.changed(NODE_CLAIMS, None, "ADDED", node_claim(name, "inf2", at))
        self.view.changed(EVENTS, None, "ADDED", ice_event(name, at))

    def age(self) -> float:
        """How old the last refusal is."""
        pool = self.view.pool("inf2", self.ours.now())
        return self.ours.now() - max(failure.at for failure in pool.failures)


@pytest.mark.parametrize("ahead_s", [420.0, -420.0, 20.0, -20.0, HOUR_S, -HOUR_S])
def test_a_refusal_is_as_old_as_the_cluster_says(ahead_s: float) -> None:
    """Seven minutes ahead hid every refusal as too old."""
    cluster = Cluster(ahead_s)
    for number in range(3):
        cluster.refuse(f"inf2-aaaa{number}")
        cluster.ours.advance(10)
    assert cluster.age() == pytest.approx(10, abs=21)
    cluster.ours.advance(100)
    assert cluster.age() == pytest.approx(110, abs=21)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 420.0, -420.0])
def test_a_step_of_our_clock_changes_no_age(step_s: float) -> None:
    """A step back of an hour made a launch count as on its way for an hour."""
    cluster = Cluster()
    launched = node_claim("inf2-aaaaa", "inf2", T0, Launched=format_rfc3339(T0))
    cluster.view.changed(NODE_CLAIMS, None, "ADDED", launched)
    cluster.refuse("inf2-bbbbb")
    cluster.ours.advance(60)
    cluster.ours.step(step_s)
    (launch,) = cluster.view.pool("inf2", cluster.ours.now()).launches
    assert cluster.ours.now() - launch.launched == pytest.approx(60)
    assert cluster.age() == pytest.approx(60)


def test_what_was_requested_before_a_refusal_never_comes_after_it_by_a_step() -> None:
    """Stamps are compared with stamps: our clock has no say in their order."""
    cluster = Cluster()
    cluster.view.changed(NODE_CLAIMS, None, "ADDED", node_claim("inf2-aaaaa", "inf2", T0, Launched=format_rfc3339(T0)))
    cluster.ours.advance(10)
    cluster.refuse("inf2-bbbbb")
    cluster.ours.step(-HOUR_S)
    pool = cluster.view.pool("inf2", cluster.ours.now())
    assert (pool.launches[0].asked_at or 0.0) < pool.failures[0].at


def test_a_list_is_as_old_as_it_says_but_never_of_the_future() -> None:
    """After a start nothing but the freshest stamp shows how far the cluster's clock is ahead."""
    cluster = Cluster(-420.0)
    cluster.view.listed(EVENTS, "default", [ice_event("inf2-aaaaa", T0 - 60), ice_event("inf2-bbbbb", T0)])
    assert [failure.at for failure in cluster.view.pool("inf2", cluster.ours.now()).failures] == [T0 - 480, T0 - 420]


def test_late_deliveries_are_no_other_clock() -> None:
    """A watch that was interrupted delivers what it missed."""
    cluster = Cluster()
    for number in range(4):
        cluster.refuse(f"inf2-aaaa{number}", late_s=2)
    cluster.refuse("inf2-bbbbb", late_s=300)
    assert cluster.view.time.skew_s == 0.0


@pytest.mark.parametrize(("count", "apart_s"), [pytest.param(6, 0, id="one connection"), pytest.param(5, 6, id="one after the other")])
def test_what_comes_after_a_hang_is_no_other_clock(count: int, apart_s: float) -> None:
    """A connection delivers all that it missed, and of several each waits for its own time-out. A quiet cluster has nothing fresher."""
    cluster = Cluster()
    at = cluster.now
    cluster.ours.advance(45)
    for number in range(count):
        cluster.view.changed(NODE_CLAIMS, None, "ADDED", node_claim(f"inf2-aaaa{number}", "inf2", at))
        cluster.ours.advance(apart_s)
    cluster.ours.advance(HOUR_S)
    assert cluster.view.time.skew_s == 0.0


_UNEVEN = (0, 12, 1, 20, 9, 15, 0, 24)  # seconds by which deliveries are late


def test_a_clock_that_is_known_to_be_ahead_stays_so_while_deliveries_are_late() -> None:
    """An API server under load delivers each by another time late: for a moment all that was ever seen was seven minutes older."""
    cluster = Cluster(420.0)
    for number in range(3):
        cluster.refuse(f"inf2-aaaa{number}")
        cluster.ours.advance(10)
    for number, late_s in enumerate(_UNEVEN):
        cluster.refuse(f"inf2-bbbb{number}", late_s=late_s)
        assert cluster.view.time.skew_s == pytest.approx(420, abs=3)
        cluster.ours.advance(10)


def test_a_clock_that_is_ahead_shows_while_deliveries_are_late() -> None:
    """All refusals were older than those that count, for as long as no three deliveries came equally late."""
    cluster = Cluster(420.0)
    for number, late_s in enumerate((9, 20, 3, 15, 24, 9)):
        cluster.refuse(f"inf2-aaaa{number}", late_s=late_s)
        cluster.ours.advance(10)
    assert 420 <= cluster.view.time.skew_s < 450


@pytest.mark.parametrize("step_s", [HOUR_S, 420.0])
def test_a_step_of_our_clock_is_one_while_deliveries_are_late(step_s: float) -> None:
    """A pod that had just begun to wait had waited for an hour, which is proof enough of a shortage."""
    cluster = Cluster()
    for number, late_s in enumerate(_UNEVEN):
        cluster.refuse(f"inf2-aaaa{number}", late_s=late_s)
        cluster.ours.advance(10)
    cluster.ours.step(step_s)
    for number, late_s in enumerate(_UNEVEN):
        cluster.refuse(f"inf2-bbbb{number}", late_s=late_s)
        assert cluster.view.time.skew_s == pytest.approx(step_s, abs=3)
        cluster.ours.advance(10)


@pytest.mark.parametrize("listed", [False, True])
def test_what_is_younger_than_a_clock_allows_disproves_it(listed: bool) -> None:
    """A machine that was suspended: to its monotonic clock no time has passed, and its other clock is right."""
    cluster = Cluster()
    cluster.refuse("inf2-aaaaa")
    cluster.ours.step(HOUR_S)
    assert cluster.view.time.skew_s == HOUR_S
    event = ice_event("inf2-bbbbb", cluster.ours.now())
    if listed:
        cluster.view.listed(EVENTS, "default", [event])
    else:
        cluster.view.changed(EVENTS, None, "ADDED", event)
    assert cluster.view.time.skew_s == 0.0


def test_one_component_with_a_wrong_clock_does_not_move_the_cluster() -> None:
    """The others outvote it."""
    cluster = Cluster()
    cluster.refuse("inf2-aaaaa")
    cluster.refuse("inf2-bbbbb")
    cluster.view.changed(EVENTS, None, "ADDED", ice_event("inf2-ccccc", T0 + HOUR_S))
    assert cluster.view.time.skew_s == 0.0


@pytest.mark.parametrize(("ahead_s", "words"), [(420.0, "7 min ahead of"), (-420.0, "7 min behind"), (20.0, ""), (-20.0, "")])
def test_people_hear_by_how_much_clocks_differ(ahead_s: float, words: str) -> None:
    """And a pod has waited as long as it has, whatever ours says."""
    cluster, app = Cluster(ahead_s), application()
    pods = [waiting_pod(f"p{number}", namespace=app.namespace, pools=("inf2",)) for number in range(3)]
    for pod in pods:
        pod["metadata"]["creationTimestamp"] = format_rfc3339(cluster.now)
        cluster.view.changed(PODS, None, "ADDED", pod)
        cluster.ours.advance(10)
    snapshot = SnapshotBuilder(cluster.view, [app]).build(app, cluster.ours.now(), (), ExternalSignals(), leader=True, epoch=1)
    found = [alert.text for alert in decide(Memory(), snapshot)[1].alerts if alert.key == "clocks"]
    assert [words in text for text in found] == ([True] if words else [])
    assert snapshot.clock_skew_s == pytest.approx(ahead_s if words or ahead_s < 0 else 0.0)


class Metrics:
    """CloudWatch, whose clock agrees with the cluster's: a value of a period that ended a minute ago."""

    def demand(self, *_: str) -> Sample:
        return Sample(1200.0, T0 - 60)

    latency = demand

    def error_ratio(self, _: str) -> Sample:
        return Sample(0.0, T0 - 60)


@pytest.mark.parametrize("ahead_s", [420.0, -420.0, HOUR_S, -HOUR_S])
def test_values_and_reports_are_as_old_as_the_cluster_says(ahead_s: float) -> None:
    """A clock that was wrong hid what CloudWatch said of users, and that the load-balancer controller could not act."""
    cluster, app = Cluster(ahead_s), application()
    for number in range(3):
        cluster.refuse(f"inf2-aaaa{number}")
        cluster.ours.advance(10)
    blocked = {
        "metadata": {"name": "routing.1", "namespace": app.namespace, "resourceVersion": "7", "creationTimestamp": format_rfc3339(T0 - 60)},
        "involvedObject": {"kind": "Ingress", "namespace": app.namespace, "name": app.route.name},
        "reason": "FailedBuildModel",
        "message": "Failed build model",
        "lastTimestamp": format_rfc3339(T0 - 60),
    }
    mine = {"metadata": {"name": app.route.name, "namespace": app.namespace, "uid": "u", "resourceVersion": "6"}}
    cluster.view.changed(INGRESSES, None, "ADDED", mine)
    cluster.view.changed(EVENTS, None, "ADDED", blocked)
    builder = SnapshotBuilder(cluster.view, [app])
    snapshot = builder.build(app, cluster.ours.now(), (), ExternalSignals(metrics=Metrics()), leader=True, epoch=1)
    units = snapshot.units.values()
    samples = [snapshot.error_ratio, *(unit.demand for unit in units), *(unit.latency for unit in units)]
    assert {snapshot.now - one.at for one in samples if one is not None} == {60.0 + 30.0}
    assert snapshot.routing.blocked == "Failed build model"
    assert cluster.view.now() == pytest.approx(T0 + 30)


def our_event(name: str, at: float, *, stored: float) -> dict[str, Any]:
    """An event of ours about an Ingress."""
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "7", "creationTimestamp": format_rfc3339(stored)},
        "involvedObject": {"kind": "Ingress", "namespace": "shop", "name": "sd21"},
        "reason": "ShortageProven",
        "source": {"component": "failoverctl"},
        "firstTimestamp": format_rfc3339(at),
        "lastTimestamp": format_rfc3339(at),
    }


def test_events_that_waited_before_they_were_stored_are_no_other_clock() -> None:
    """Of a thousand failovers at once the last event of ours was stored a minute later: every application heard of a wrong clock."""
    cluster = Cluster()
    cluster.refuse("inf2-aaaaa")
    for number in range(10):
        cluster.ours.advance(6)
        cluster.view.changed(EVENTS, None, "ADDED", our_event(f"sd21.{number}", T0, stored=cluster.now))
    assert cluster.view.time.skew_s == 0.0
    assert cluster.age() == pytest.approx(60)


@pytest.mark.parametrize("ahead_s", [420.0, -420.0])
def test_the_clock_that_stamps_an_event_is_not_the_cluster_s(ahead_s: float) -> None:
    """Our own events would hide a clock of ours that is wrong, and those of another replica show its clock."""
    cluster = Cluster(ahead_s)
    for number in range(3):
        cluster.view.changed(EVENTS, None, "ADDED", our_event(f"sd21.{number}", cluster.ours.now(), stored=cluster.now))
        cluster.ours.advance(10)
    assert cluster.view.time.skew_s == pytest.approx(ahead_s)
    listed = Cluster()
    listed.view.listed(EVENTS, "shop", [our_event("sd21.0", T0 + abs(ahead_s), stored=T0)])
    assert listed.view.time.skew_s == 0.0
