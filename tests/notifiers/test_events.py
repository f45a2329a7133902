"""Kubernetes Events against a small HTTP server in place of the API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes.client import Configuration

from controller.clients.kube import INGRESSES, KubeSession
from controller.errors import Forbidden, Unavailable
from controller.notifiers.events import EventNotifier, Involved, _Posted
from controller.ports import MessageKind, Severity
from failover_testbed.clocks import ManualClock
from tests.notifiers.support import START, Answer, Receiver, Request, a_message


class ApiServer:
    """Keeps events as the API server does: 409 for a name that exists, 404 for one that does not, merge patches."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.fail_next: Answer | None = None
        self.lose_next_answer = False
        self.receiver = Receiver(self._answer)

    def _answer(self, request: Request) -> Answer:
        if self.fail_next is not None:
            answer, self.fail_next = self.fail_next, None
            return answer
        answer = self._create(request) if request.method == "POST" else self._patch(request)
        if self.lose_next_answer:
            self.lose_next_answer = False
            return Answer(504, "{}")
        return answer

    def _create(self, request: Request) -> Answer:
        body = json.loads(request.body)
        assert request.path == f"/api/v1/namespaces/{body['involvedObject']['namespace']}/events?fieldManager=failoverctl"
        name = body["metadata"]["name"]
        if name in self.events:
            return Answer(409, json.dumps({"reason": "AlreadyExists", "message": "exists"}))
        self.events[name] = body
        return Answer(201, json.dumps(body))

    def _patch(self, request: Request) -> Answer:
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        name = request.path.split("?")[0].rsplit("/", 1)[1]
        if name not in self.events:
            return Answer(404, json.dumps({"reason": "NotFound", "message": "gone"}))
        self.events[name].update(json.loads(request.body))
        return Answer(200, json.dumps(self.events[name]))

    @property
    def only(self) -> dict[str, Any]:
        (event,) = self.events.values()
        return event

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.receiver.requests]


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.receiver.close()


@pytest.fixture
def make(api: ApiServer, clock: ManualClock) -> Iterator[Callable[..., EventNotifier]]:
    configuration = Configuration()
    configuration.host = api.receiver.host
    session = KubeSession(configuration)

    def build(found: Involved = Involved(INGRESSES, "default", "sd21", "uid-1", "42")) -> EventNotifier:  # noqa: B008 - immutable
        return EventNotifier(session, clock, lambda _application: found, instance="pod-a")

    yield build
    session.close()


Make = Callable[..., EventNotifier]


def test_a_mode_change_is_an_event_on_its_ingress(make: Make, api: ApiServer) -> None:
    make().send(a_message())
    event = api.only
    assert event["metadata"]["namespace"] == "default"
    assert event["metadata"]["name"].startswith("sd21.")
    assert int(event["metadata"]["name"].removeprefix("sd21."), 16)
    assert event["involvedObject"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "namespace": "default",
        "name": "sd21",
        "uid": "uid-1",
        "resourceVersion": "42",
    }
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "ShortageProven", 1)
    assert event["message"].startswith("sd21: failed over to capacity mode | Why: inf2 cannot get capacity")
    assert event["source"] == {"component": "failoverctl"}
    assert (event["reportingComponent"], event["reportingInstance"]) == ("failoverctl", "pod-a")
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-09-21T14:13:20Z"
    assert "eventTime" not in event


def test_a_shortage_is_an_event_on_the_pods_that_wait_as_well(make: Make, api: ApiServer) -> None:
    """People describe the pod first. Offered again, it is counted up there, too."""
    events, message = make(), a_message(pods=(("default", "inf2-7xk2p", "uid-2"), ("default", "trn1-q4mzt", "uid-3")))
    events.send(message)
    events.send(message)
    found = {one["involvedObject"]["name"]: one for one in api.events.values()}
    assert list(found) == ["sd21", "inf2-7xk2p", "trn1-q4mzt"]
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "inf2-7xk2p", "uid": "uid-2"}
    assert found["inf2-7xk2p"]["involvedObject"] == about
    assert {one["message"] for one in found.values()} == {found["sd21"]["message"]}
    assert [one["count"] for one in found.values()] == [2, 2, 2]


def test_an_informative_message_is_a_normal_event(make: Make, api: ApiServer) -> None:
    make(Involved(INGRESSES, "default", "sd21", "uid-1")).send(a_message(MessageKind.RESOLVED, severity=Severity.INFO, reason=""))
    assert (api.only["type"], api.only["reason"]) == ("Normal", "Resolved")
    assert "resourceVersion" not in api.only["involvedObject"]


def test_the_same_event_within_ten_minutes_is_counted_up(make: Make, api: ApiServer, clock: ManualClock) -> None:
    events = make()
    for minute in range(3):
        events.send(a_message(at=START + 60 * minute))
        clock.advance(60)
    assert api.methods == ["POST", "PATCH", "PATCH"]
    assert (api.only["count"], api.only["firstTimestamp"], api.only["lastTimestamp"]) == (3, "2026-09-21T14:13:20Z", "2026-09-21T14:15:20Z")


def test_the_same_event_after_ten_minutes_or_another_text_is_a_new_one(make: Make, api: ApiServer, clock: ManualClock) -> None:
    events = make()
    events.send(a_message())
    clock.advance(601)
    events.send(a_message(at=START + 601))
    events.send(a_message(at=START + 601, why="another"))
    assert api.methods == ["POST"] * 3
    assert len(api.events) == 3


def test_an_event_that_expired_is_made_anew(make: Make, api: ApiServer) -> None:
    events = make()
    events.send(a_message())
    api.events.clear()
    events.send(a_message(at=START + 1))
    assert api.methods == ["POST", "PATCH", "POST"]
    assert api.only["count"] == 1


def test_a_retry_after_a_lost_answer_makes_no_second_event(make: Make, api: ApiServer) -> None:
    events = make()
    api.lose_next_answer = True
    with pytest.raises(Unavailable):
        events.send(a_message())
    events.send(a_message())
    assert api.only["count"] == 1
    api.lose_next_answer = True
    with pytest.raises(Unavailable):
        events.send(a_message(at=START + 1))
    events.send(a_message(at=START + 1))
    assert api.only["count"] == 2


def test_a_refusal_is_passed_on(make: Make, api: ApiServer) -> None:
    api.fail_next = Answer(403, json.dumps({"reason": "Forbidden", "message": "no"}))
    with pytest.raises(Forbidden):
        make().send(a_message())


_LIFECYCLE: dict[str, Any] = {
    "reason": "Forbidden",
    "message": 'events "a" is forbidden: unable to create new content in namespace default because it is being terminated',
    "details": {"name": "a", "kind": "events", "causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
}
"""What the API server's admission plugin NamespaceLifecycle answers."""


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(403, json.dumps(_LIFECYCLE)), id="being deleted"),
        pytest.param(Answer(404, json.dumps({"reason": "NotFound", "message": 'namespaces "default" not found'})), id="gone"),
    ],
)
def test_a_namespace_that_goes_is_no_failure_of_the_sink(make: Make, api: ApiServer, answer: Answer) -> None:
    """Everybody would learn that Events do not arrive, because somebody has deleted an application. One that comes back gets its event."""
    events = make()
    api.fail_next = answer
    events.send(a_message())
    assert not api.events
    events.send(a_message())
    assert api.only["count"] == 1


@pytest.mark.parametrize("details", [None, [], "x", {}, {"causes": None}, {"causes": {}}, {"causes": ["x"]}, {"causes": [{"reason": "x"}]}])
def test_any_other_refusal_stays_one(make: Make, api: ApiServer, details: Any) -> None:
    """Whatever the answer says beside it."""
    api.fail_next = Answer(403, json.dumps({**_LIFECYCLE, "details": details}))
    with pytest.raises(Forbidden):
        make().send(a_message())


def test_a_message_about_the_controller_has_no_object_and_is_skipped(make: Make, api: ApiServer) -> None:
    make().send(a_message(application=""))
    assert api.receiver.requests == []


def test_an_ingress_that_is_not_known_still_gets_an_event_by_name(make: Make, api: ApiServer) -> None:
    make(Involved(INGRESSES, "default", "sd21")).send(a_message(MessageKind.ALERT, reason="RoutingObjectMissing"))
    assert api.only["involvedObject"] == {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "namespace": "default", "name": "sd21"}


@pytest.mark.parametrize("char", ["x", "é", "→", "😀"])
def test_a_long_message_is_cut_to_1024_bytes_on_a_character(make: Make, api: ApiServer, char: str) -> None:
    make().send(a_message(why=char * 2000, reason="not-camel case!" * 20))
    size = len(api.only["message"].encode())
    assert 1024 - 3 <= size <= 1024
    assert api.only["message"].endswith(f"{char}…")
    assert len(api.only["reason"]) == 128
    assert api.only["reason"].startswith("NotCamelCaseNotCamelCase")


def test_a_long_ingress_name_leaves_room_for_the_digest(make: Make, api: ApiServer) -> None:
    name = "a" * 235 + "." + "b" * 17
    make(Involved(INGRESSES, "default", name, "u")).send(a_message())
    assert len(api.only["metadata"]["name"]) <= 253
    assert ".." not in api.only["metadata"]["name"]
    assert api.only["involvedObject"]["name"] == name


def test_the_memory_of_posted_events_is_bounded(make: Make) -> None:
    events = make()
    for number in range(520):
        events._remember(str(number), _Posted("sd21.0", 1, 0.0))
    assert len(events._posted) == 512
