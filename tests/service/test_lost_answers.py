"""Routing actions whose answers are lost: what was written is remembered, counted and reported once, as if the answer had come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import KubeSession
from controller.errors import Unavailable
from controller.ports import Message, MessageKind
from controller.routing.annotations import MARKER
from controller.routing.ingress.action import format_action
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, application
from tests.support.cluster import ACTION, NAMESPACE, Cluster, Collector, settings_for, write_application
from tests.support.cluster import running as run

QUICK: dict[str, Any] = {"quietSeconds": 3600}
CAPACITY, COST = format_action(CAPACITY_TARGETS, 0), format_action(COST_TARGETS, 0)
Loss = Callable[[Callable[[], dict[str, Any]]], dict[str, Any]]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application; a second of the machine is five of the cluster."""
    made = Cluster(AcceleratedClock(5))
    yield made
    made.close()


@dataclass
class Loser:
    """Makes a session lose what the first patches of the Ingress come to.

    Attributes:
        loss: What becomes of such a request.
        count: How many.
        lost: Set once they are.
    """

    loss: Loss
    count: int = 1
    lost: threading.Event = field(default_factory=threading.Event)

    def over(self, session: KubeSession, monkeypatch: pytest.MonkeyPatch) -> KubeSession:
        """The session, from now on."""
        request = session.request

        def losing(method: str, path: str, **rest: Any) -> dict[str, Any]:
            if method != "PATCH" or "/ingresses/" not in path or not self.count:
                return request(method, path, **rest)
            self.count -= 1
            try:
                return self.loss(lambda: request(method, path, **rest))
            finally:
                if not self.count:
                    self.lost.set()

        monkeypatch.setattr(session, "request", losing)
        return session


def _answer(send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    send()
    raise Unavailable("the answer was lost")


def _request(_send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    raise Unavailable("the request was lost")


def _service(cluster: Cluster, folder: Path, loser: Loser, monkeypatch: pytest.MonkeyPatch, collector: Collector) -> Service:
    session = loser.over(cluster.session(folder), monkeypatch)
    return Service(settings_for(write_application(folder, **QUICK)), session, cluster.clock, extra_sinks=(collector,))


def _shortage(cluster: Cluster) -> None:
    cluster.pend("sd21-inf2", 2)
    cluster.refuse("inf2", "inf2.xlarge")


def _mode_changes(collector: Collector) -> list[Message]:
    return [one for one in collector.messages if one.kind in {MessageKind.FAILOVER, MessageKind.FALLBACK}]


@pytest.mark.parametrize("loss", [pytest.param(_answer, id="answer"), pytest.param(_request, id="request")])
@pytest.mark.parametrize("count", [1, 2], ids=["once", "twice"])
def test_a_mode_change_is_made_remembered_counted_and_reported_once(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: Loss, count: int
) -> None:
    """Its own reason is kept: one that only counted as found on the Ingress would never be rolled back."""
    collector, loser = Collector(), Loser(loss, count)
    with run(_service(cluster, tmp_path, loser, monkeypatch, collector)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _shortage(cluster)
        wait_for("the memory", lambda: bool(service.controller.views()[0].memory.mode_changes))
        wait_for("the message", lambda: bool(_mode_changes(collector)))
        (view,) = service.controller.views()
    assert [(str(one.to), str(one.reason)) for one in view.memory.mode_changes] == [("capacity", "ShortageProven")]
    assert view.ledger.mode_changes == 1
    assert [(one.kind, one.reason) for one in _mode_changes(collector)] == [(MessageKind.FAILOVER, "ShortageProven")]
    assert len({body for body in cluster.patches() if MARKER in body}) == 1


def test_what_somebody_else_undid_is_not_reported_as_done(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is lost and somebody puts action and marker back at once: the reported mode change is the one that stands."""

    def undone(send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        send()
        back = {"metadata": {"annotations": {ACTION: COST, MARKER: "cost"}}}
        cluster.store.patch("Ingress", "sd21", back, namespace=NAMESPACE, manager="person")
        # The pass that follows must not find the moment in which the change stood: a late watch would deliver it alone.
        version = cluster.ingress()["metadata"]["resourceVersion"]
        wait_for(
            "the watch",
            lambda: (service.view.routing_object(application(namespace=NAMESPACE)) or {})["metadata"]["resourceVersion"] == version,
        )
        raise Unavailable("the answer was lost")

    collector = Collector()
    with run(_service(cluster, tmp_path, Loser(undone), monkeypatch, collector)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _shortage(cluster)
        wait_for("capacity mode", lambda: cluster.mode() == "capacity" and bool(service.controller.views()[0].ledger.mode_changes))
        wait_for("the message", lambda: bool(_mode_changes(collector)))
        (view,) = service.controller.views()
    assert len([one for one in view.memory.mode_changes if str(one.reason) == "ShortageProven"]) == view.ledger.mode_changes == 1
    assert [one.reason for one in _mode_changes(collector)] == ["ShortageProven"]


def test_a_mode_that_is_found_is_reported_as_found(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person changes the mode by hand: people are notified of it and of the writer, but it is no mode change of ours."""
    collector = Collector()
    with run(_service(cluster, tmp_path, Loser(_answer, 0), monkeypatch, collector)) as service:
        wait_for("the memory", lambda: bool(service.controller.views()) and str(service.controller.views()[0].memory.mode) == "cost")
        by_hand = {"metadata": {"annotations": {ACTION: CAPACITY, MARKER: "capacity"}}}
        cluster.store.patch("Ingress", "sd21", by_hand, namespace=NAMESPACE, manager="kubectl-edit")
        wait_for("the message", lambda: bool(_mode_changes(collector)))
        (view,) = service.controller.views()
    (message,) = _mode_changes(collector)
    assert (message.kind, message.reason, message.title) == (MessageKind.FAILOVER, "RoutingDrifted", "sd21: found in capacity mode")
    assert "kubectl-edit" in message.why
    assert view.ledger.mode_changes == 0


def _webhook(_send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    raise Unavailable('500 Internal error occurred: failed calling webhook "vingress.elbv2.k8s.aws"')


@pytest.mark.parametrize(("loss", "hint"), [pytest.param(_request, True, id="silent"), pytest.param(_webhook, False, id="named")])
def test_a_mode_change_that_never_gets_an_answer_points_at_webhooks(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: Loss, hint: bool
) -> None:
    """A webhook that hangs looks like a silent API server; one that fails is named by it, and nothing is added."""
    with run(_service(cluster, tmp_path, Loser(loss, 99), monkeypatch, Collector())) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _shortage(cluster)
        wait_for("the alert", lambda: bool(found := _failures(service)) and ("a webhook hangs" in found[0]) is hint)


def _failures(service: Service) -> list[str]:
    return [one.text for one in service.controller.views()[0].decision.alerts if one.key == "action-failed"]
