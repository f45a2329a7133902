"""The main scenarios on a real API server, scheduler and controllers, under the manifests' ServiceAccount."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clients.kube import INGRESSES
from controller.errors import Conflict, Unavailable
from controller.routing.ingress.action import format_action
from controller.service.wiring import Service
from controller.signals.observer import ClusterObserver
from controller.signals.watches import Watches
from failover_harness.waiting import wait_for
from tests.cluster.processes import run_controller
from tests.cluster.proxy import Proxy
from tests.cluster.stack import Stack, moment
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS
from tests.support.constants import set_constant

COST, CAPACITY = format_action(COST_TARGETS, 0), format_action(CAPACITY_TARGETS, 0)
OUTAGE_S = 60.0
HOLD_S = 15.0
"""A replacement hold long enough for a test to stop the API server."""


def test_it_fails_over_on_a_proven_shortage_and_falls_back_on_the_proven_return(stack: Stack) -> None:
    """The main function: one patch each way, KEDA follows, people are notified, memory is kept."""
    with stack.controller():
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
        assert stack.action() == CAPACITY
        wait_for("KEDA's targets of capacity mode", lambda: stack.scaled("sd21-inf2")[1] == "89.2")
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
        stack.launch("sd21-inf2")
        wait_for("cost mode", lambda: stack.mode() == "cost")
        assert stack.action() == COST
        wait_for("the event", lambda: "ReturnProven" in dict(stack.events()))
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 2)
    assert [one.code for one in stack.writes("ingresses")] == [200, 200]
    assert [one for one in stack.audit() if one.code in {401, 403}] == []


def test_a_refusal_in_one_zone_changes_nothing(stack: Stack) -> None:
    """EC2 refused a NodeClaim for one zone only: this proves nothing about the others."""
    with stack.controller() as service:
        stack.pend("sd21-inf2")
        stack.refuse("sd21-inf2", zones=("us-west-2a",))
        wait_for("the suspicion", lambda: _reason(service) == "ShortageSuspected")
    assert stack.action() == COST
    assert stack.writes() == []


@pytest.mark.parametrize(
    ("mode", "ends_with"),
    [("cost", signal.SIGTERM), ("capacity", signal.SIGTERM), ("capacity", signal.SIGKILL)],
    ids=["cost mode, stopped", "capacity mode, stopped", "capacity mode, killed"],
)
def test_a_restart_changes_no_mode_and_keeps_the_memory(stack: Stack, mode: str, ends_with: signal.Signals) -> None:
    """The second process reads mode and memory and continues where the first ended."""
    with run_controller(stack) as first:
        if mode == "capacity":
            stack.shortage()
            wait_for("capacity mode", lambda: stack.mode() == "capacity")
            wait_for("the targets of every unit", lambda: len(stack.writes("scaledobjects")) >= 5)
        wait_for("the memory", lambda: stack.memory()["mode"] == mode)
        wait_for("the memory of the mode change", lambda: len(stack.memory().get("mode_changes", [])) == (mode == "capacity"))
        first.end(ends_with)
    action, memory, begin = stack.action(), stack.memory(), moment()
    with run_controller(stack) as second:
        wait_for("a decision on what is there", lambda: second.application().get("reason") not in {None, "SignalsStale"})
        for _ in range(3):  # three passes
            at = second.application()["at"]
            wait_for("the next pass", lambda at=at: second.application()["at"] != at)  # type: ignore[misc]
        assert second.application()["mode"] == mode
    assert stack.action() == action
    assert stack.writes(since=begin) == []
    assert stack.memory().get("mode_changes", []) == memory.get("mode_changes", [])
    assert stack.memory().get("mode_since", 0.0) == memory.get("mode_since", 0.0)


def _reason(service: Service) -> str:
    return str(service.controller.views()[0].decision.reason)


def _wait_for_the_shortage(service: Service) -> None:
    """Waits until the controller has seen all that proves it, so that the end of the API server overtakes none of the watches."""

    def seen() -> bool:
        pools = [unit.pool for unit in service.controller.views()[0].snapshot.units.values()]
        return any(pool.failures and pool.blocked_at is not None for pool in pools)

    wait_for("the shortage", seen)


# --- two writers --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reapply", "update"], ids=["server-side apply by force", "update of the whole object"])
def test_of_two_writers_ours_backs_off_and_names_the_other(stack: Stack, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GitOps tool keeps restoring the action of cost mode: the controller backs off, and an alert names the tool."""
    foreign: Callable[[str, str], None] = getattr(stack, how)
    set_constant(monkeypatch, "_REASSERT_BASE_S", 2.0)
    set_constant(monkeypatch, "_REASSERT_MAX_S", 8.0)
    with stack.controller():
        stack.shortage()
        wait_for("capacity mode", lambda: stack.action() == CAPACITY)
        begin, start, undone = moment(), time.monotonic(), 0

        def fighting() -> bool:
            nonlocal undone
            if stack.action() == CAPACITY:
                try:
                    foreign("argocd", COST)
                except Conflict:
                    return False  # it read before our write; the tool retries
                undone += 1
            return "Fighting" in dict(stack.events())

        wait_for("the alert", fighting, deadline_s=60)
        elapsed = time.monotonic() - start
    texts = dict(stack.events())
    assert "argocd" in texts["Fighting"]
    assert "argocd" in texts["RoutingDrifted"]
    ours = [one for one in stack.writes("ingresses", since=begin) if one.code == 200]
    assert 3 <= len(ours) <= undone
    assert len(ours) <= 3 + elapsed / 8


# --- the API server goes away -------------------------------------------------------------------------------------------------------------


def test_a_killed_api_server_delays_a_failover_and_nothing_else(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed for a minute between the refusal and the decision: the failover follows once it is back, exactly once."""
    set_constant(monkeypatch, "REPLACEMENT_HOLD_S", HOLD_S)
    with stack.controller() as service:
        stack.shortage()
        _wait_for_the_shortage(service)
        with stack.plane.killed():
            time.sleep(OUTAGE_S)
            decided, healthy = _reason(service), service._healthy()
        wait_for("capacity mode", lambda: stack.mode() == "capacity", deadline_s=60)
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 1)
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
    assert decided == "ShortageProven"
    assert healthy == ""
    assert stack.routings() == [CAPACITY]
    assert [text for reason, text in stack.events() if "cannot be observed" in text] == []


def test_a_frozen_api_server_makes_signals_stale_and_the_failover_follows(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paused for a minute, so that connections hang: signals become stale, the controller holds and reports it, and then continues."""
    monkeypatch.setitem(Watches.__init__.__kwdefaults__ or {}, "idle_s", 12.0)
    monkeypatch.setitem(ClusterObserver.__init__.__kwdefaults__ or {}, "watch_budget_s", 30.0)
    set_constant(monkeypatch, "REPLACEMENT_HOLD_S", HOLD_S)
    with stack.controller() as service:
        stack.shortage()
        _wait_for_the_shortage(service)
        with stack.plane.frozen():
            time.sleep(OUTAGE_S)
            decided, ready = _reason(service), service._ready()
        wait_for("capacity mode", lambda: stack.mode() == "capacity", deadline_s=60)
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 1)
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
        wait_for("readiness", lambda: service._ready() == "")
    assert decided == "SignalsStale"
    assert "no fresh data from" in ready
    assert stack.routings() == [CAPACITY]


def test_what_happened_while_the_watches_were_cut_is_seen_afterwards(stack: Stack) -> None:
    """All connections are cut; a NodeClaim and an Event come and go; then the watches resume where they were."""
    with Proxy(stack.plane.port) as proxy, stack.controller(session=stack.controller_session(host=proxy.url)) as service:
        wait_for("every first list", lambda: all(_lists(service).values()))
        lists = _lists(service)
        proxy.block()
        stack.shortage()
        proxy.unblock()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
        assert _lists(service) == lists, "the watches were resumed, and nothing was listed again"
    assert stack.routings() == [CAPACITY]


def test_connections_that_are_cut_again_and_again_lose_nothing(stack: Stack) -> None:
    """The mode changes although no connection lasts longer than half a second."""
    with Proxy(stack.plane.port) as proxy, stack.controller(session=stack.controller_session(host=proxy.url)):
        stack.shortage()

        def changed() -> bool:
            time.sleep(0.5)
            proxy.cut()
            return stack.mode() == "capacity"

        wait_for("capacity mode", changed, deadline_s=60)
    assert stack.routings() == [CAPACITY]


def test_a_mode_change_whose_answer_is_lost_is_remembered_and_reported(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server makes the change but its answer is lost; the repeated patch conflicts, and the Ingress shows what was done."""
    session = stack.controller_session()
    request, lost = session.request, list[str]()

    def interposed(method: str, path: str, **rest: Any) -> dict[str, Any]:
        answer = request(method, path, **rest)
        if method == "PATCH" and "/ingresses/" in path and not lost:
            lost.append(path)
            raise Unavailable("the answer was lost")
        return answer

    monkeypatch.setattr(session, "request", interposed)
    with stack.controller(session=session):
        stack.shortage()
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 1)
    assert lost
    assert stack.memory().get("mode_changes", [])[0]["reason"] == "ShortageProven"
    assert stack.routings() == [CAPACITY]


def test_after_a_compaction_everything_is_listed_anew_and_acted_upon(stack: Stack) -> None:
    """The watches' versions are gone (410): the new list contains the capacity that returned in the meantime."""
    with Proxy(stack.plane.port) as proxy, stack.controller(session=stack.controller_session(host=proxy.url)) as service:
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
        refused_at = int(time.time())
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 1)
        lists = _lists(service)
        proxy.block()
        # A list has no order and its stamps are whole seconds: a claim of the same second would not count as later. Karpenter waits 10 s.
        wait_for("a later second", lambda: int(time.time()) > refused_at)
        stack.launch("sd21-inf2")
        wait_for("the replica", lambda: stack.endpoints("sd21-inf2") == 2)
        _compact(stack)
        proxy.unblock()
        wait_for("cost mode", lambda: stack.mode() == "cost", deadline_s=60)
        wait_for("new lists of everything", lambda: all(count > lists[name] for name, count in _lists(service).items()), deadline_s=60)
    assert stack.routings() == [CAPACITY, COST]


def _compact(stack: Stack) -> None:
    """Makes every known version too old: compacts etcd and restarts the API server, whose cache is then empty."""
    stack.plane.compact()
    with stack.plane.killed():
        pass


def _lists(service: Service) -> dict[tuple[str, str | None], int]:
    """The number of complete lists of each kind that is served; the kinds of EKS Auto Mode are not."""
    return {(one.resource, one.namespace): one.relists for one in service._watches.health() if one.served}


def test_permissions_that_are_refused_for_seconds_are_no_absence(stack: Stack) -> None:
    """A starting server refuses granted requests: nothing is forgotten, no alert is raised, and the controller continues at once."""
    with Proxy(stack.plane.port) as proxy, stack.controller(session=stack.controller_session(host=proxy.url)) as service:
        with capture_logs() as logs:
            stack.revoke()
            proxy.cut()
            wait_for("refusals", lambda: sum(one["event"] == "watch.refused" for one in logs) >= 3)
            reason = _reason(service)
        stack.grant()
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
        wait_for("the event", lambda: "ShortageProven" in dict(stack.events()))
    assert reason == "DemandMet"
    assert any(one.code == 403 for one in stack.audit())
    assert [text for _, text in stack.events() if "cannot be observed" in text] == []


# --- the Ingress goes away ----------------------------------------------------------------------------------------------------------------


def test_a_patch_for_an_ingress_that_is_gone_does_not_bring_it_back(stack: Stack) -> None:
    """The real server's answer to our apply with the uid of an Ingress that was deleted, or deleted and recreated."""
    old = stack.ingress()
    session = stack.controller_session()
    identity = {name: old["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
    metadata = {**identity, "annotations": {"a": "b"}}
    body = json.dumps({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata})
    path, query = INGRESSES.path(stack.namespace, "sd21"), (("fieldManager", "failoverctl"), ("force", "true"))

    def apply() -> None:
        session.request("PATCH", path, query=query, body=body, content_type="application/apply-patch+yaml")

    stack._delete(INGRESSES, "sd21")
    with pytest.raises(Conflict, match="uid"):
        apply()
    stack.recreate_ingress()
    with pytest.raises(Conflict):
        apply()
    assert "a" not in stack.ingress()["metadata"]["annotations"]
    session.close()


@pytest.mark.parametrize("again", [True, False], ids=["made anew", "made anew later"])
def test_an_ingress_that_is_deleted_between_decision_and_patch(stack: Stack, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """The server refuses the patch, the controller recreates nothing, and it decides about a new Ingress separately."""
    session = stack.controller_session()
    request = session.request
    seen: list[str] = []
    done: list[bool] = []

    def interposed(method: str, path: str, **rest: Any) -> dict[str, Any]:
        if method == "PATCH" and "/ingresses/" in path and not seen:
            seen.append(json.loads(rest["body"])["metadata"]["uid"])
            stack._delete(INGRESSES, "sd21")
            if again:
                stack.recreate_ingress()
            done.append(True)
        return request(method, path, **rest)

    monkeypatch.setattr(session, "request", interposed)
    with stack.controller(session=session) as service:
        stack.shortage()
        wait_for("the first try", lambda: bool(done))
        if not again:
            wait_for("its absence is noticed", lambda: _reason(service) == "RoutingObjectMissing")
            stack.recreate_ingress()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
    assert stack.ingress()["metadata"]["uid"] != seen[0]
    assert [one.code for one in stack.writes("ingresses")] == [409, 200]
    assert len(stack.memory().get("mode_changes", [])) == 1
