"""Events of the core group: notifications for people, and Karpenter's refusals."""

from __future__ import annotations

from tests.contract.support import EVENTS, Client, Object, event

DEFAULT = EVENTS.replace("{namespace}", "default")


def test_an_event_about_a_cluster_scoped_object_lives_in_default(client: Client) -> None:
    """An Event about something without a namespace belongs into `default`; elsewhere it is 422."""
    body = event(client.namespace)
    assert client.post(DEFAULT, body).code == 201
    elsewhere = client.post(EVENTS, body)
    assert elsewhere.refusal == (422, "Invalid")
    assert elsewhere.message == (
        f'Event "{client.namespace}" is invalid: involvedObject.namespace: Invalid value: "": does not match event.namespace'
    )


def test_an_event_lives_with_what_it_is_about(client: Client) -> None:
    """An Event about something in a namespace belongs into that namespace; elsewhere it is 422."""
    assert client.post(EVENTS, event("e", namespace=client.namespace)).code == 201
    assert client.post(DEFAULT, event(client.namespace, namespace=client.namespace)).refusal == (422, "Invalid")


def test_an_event_keeps_what_it_says(client: Client) -> None:
    """An Event comes back with its reason, message, type, source, count and times."""
    said: Object = {
        "reason": "InsufficientCapacityError",
        "message": "no capacity",
        "type": "Warning",
        "source": {"component": "karpenter"},
        "firstTimestamp": "2026-09-21T14:13:20Z",
        "lastTimestamp": "2026-09-21T14:13:21Z",
        "count": 2,
    }
    client.create(EVENTS, event("e", namespace=client.namespace, **said))
    found = client.get(f"{EVENTS}/e").json
    assert {name: found[name] for name in said} == said


def test_an_event_is_counted_up_by_a_patch(client: Client) -> None:
    """A merge patch of an Event counts it up and moves its last time."""
    client.create(EVENTS, event("e", namespace=client.namespace, count=1, lastTimestamp="2026-09-21T14:13:20Z"))
    answer = client.merge_patch(f"{EVENTS}/e", {"count": 2, "lastTimestamp": "2026-09-21T14:14:20Z"})
    assert (answer.code, answer.json["count"], answer.json["lastTimestamp"]) == (200, 2, "2026-09-21T14:14:20Z")


def test_a_patch_of_an_event_that_has_expired_is_not_found(client: Client) -> None:
    """A merge patch of an Event that is gone is 404: it has to be created anew."""
    assert client.merge_patch(f"{EVENTS}/e", {"count": 2}).refusal == (404, "NotFound")


def test_put_of_an_absent_event_creates_it(client: Client) -> None:
    """A PUT of an Event that does not exist creates it."""
    assert client.put(f"{EVENTS}/e", event("e", namespace=client.namespace)).code == 201
