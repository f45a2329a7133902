"""Watches: where they begin, what they select, bookmarks, expiry and end."""

from __future__ import annotations

from itertools import islice

import pytest
import urllib3

from tests.contract.servers import Real, Server
from tests.contract.support import CONFIG_MAPS, EVENTS, NODE_CLAIMS, PODS, Client, Object, brief, config_map, event, node_claim, pod

INITIAL = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
END_OF_INITIAL = "k8s.io/initial-events-end"


def lasting(server: Server, real_s: int) -> str:
    """How long a watch lasts in which bookmarks may come; the emulated server sends them every 0.05 s, so that a second shows them."""
    return f"&timeoutSeconds={real_s if isinstance(server, Real) else 1}"


def kinds(events: list[Object]) -> list[str]:
    return [one["type"] for one in events]


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_a_watch_resumes_after_the_given_version(client: Client, path: str) -> None:
    """A watch from a version sends what happened after it, in order: ADDED, MODIFIED, DELETED."""

    def make(name: str) -> None:
        client.create(path, event(name, namespace=client.namespace) if path == EVENTS else config_map(name))

    make("before")
    version = client.get(path).version
    make("after")
    with client.watch(path, f"&resourceVersion={version}") as events:
        assert brief(next(events)) == ("ADDED", "after")
        client.merge_patch(f"{path}/after", {"metadata": {"labels": {"a": "1"}}})
        assert brief(next(events)) == ("MODIFIED", "after")
        client.delete(f"{path}/before")
        assert brief(next(events)) == ("DELETED", "before")


@pytest.mark.parametrize("query", ["", "&resourceVersion=0"], ids=["none", "zero"])
def test_a_watch_from_nowhere_first_sends_what_is_there(client: Client, query: str) -> None:
    """A watch without a version, or from 0, first sends what is there as ADDED, then what happens."""
    client.create(CONFIG_MAPS, config_map("a"))
    client.create(CONFIG_MAPS, config_map("b"))
    with client.watch(CONFIG_MAPS, query) as events:
        assert sorted(brief(one) for one in islice(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
        client.create(CONFIG_MAPS, config_map("c"))
        assert brief(next(events)) == ("ADDED", "c")


def test_watched_objects_have_their_kind(client: Client) -> None:
    """A watched object carries its kind, unlike an item of a list."""
    client.create(CONFIG_MAPS, config_map("a"))
    with client.watch(CONFIG_MAPS) as events:
        obj = next(events)["object"]
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")


def test_every_change_carries_its_own_version(client: Client) -> None:
    """A watch from an event's version sends the next one: each carries its own version, a deletion too."""
    created = client.create(CONFIG_MAPS, config_map("a")).version
    client.merge_patch(f"{CONFIG_MAPS}/a", {"data": {"a": "1"}})
    client.delete(f"{CONFIG_MAPS}/a")
    with client.watch(CONFIG_MAPS, f"&resourceVersion={created}") as events:
        seen = list(islice(events, 2))
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in seen]
    assert kinds(seen) == ["MODIFIED", "DELETED"]
    assert int(created) < versions[0] < versions[1]
    with client.watch(CONFIG_MAPS, f"&resourceVersion={versions[0]}") as events:
        assert brief(next(events)) == ("DELETED", "a")


def test_an_object_enters_and_leaves_a_selection(client: Client) -> None:
    """An object that comes to match a label selector is ADDED, one that no longer does is DELETED, as it last matched."""
    client.create(PODS, pod("p1", app="a"))
    version = client.get(PODS).version
    with client.watch(PODS, f"&resourceVersion={version}&labelSelector=app%3Db") as events:
        for app in ("b", "c"):
            client.merge_patch(f"{PODS}/p1", {"metadata": {"labels": {"app": app}}})
        entered, left = islice(events, 2)
    assert (brief(entered), brief(left)) == (("ADDED", "p1"), ("DELETED", "p1"))
    assert left["object"]["metadata"]["labels"] == {"app": "b"}


def test_a_watch_of_pods_can_select_by_field(client: Client) -> None:
    """A watch of pods by status.phase sees a pod once it is in that phase."""
    version = client.get(PODS).version
    with client.watch(PODS, f"&resourceVersion={version}&fieldSelector=status.phase%3DRunning") as events:
        for name in ("p1", "p2"):
            client.create(PODS, pod(name))
        client.merge_patch(f"{PODS}/p2/status", {"status": {"phase": "Running"}})
        assert brief(next(events)) == ("ADDED", "p2")


def test_a_watch_of_events_can_select_by_field(client: Client) -> None:
    """A watch of Events by involvedObject.kind sees those and no others."""
    version = client.get(EVENTS).version
    other = event("e1", namespace=client.namespace)
    other["involvedObject"]["kind"] = "Pod"
    with client.watch(EVENTS, f"&resourceVersion={version}&fieldSelector=involvedObject.kind%3DNodeClaim") as events:
        client.create(EVENTS, other)
        client.create(EVENTS, event("e2", namespace=client.namespace))
        assert brief(next(events)) == ("ADDED", "e2")


def test_a_watch_of_one_object(client: Client) -> None:
    """A watch by metadata.name sees one object."""
    client.create(CONFIG_MAPS, config_map("a"))
    version = client.create(CONFIG_MAPS, config_map("b")).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}&fieldSelector=metadata.name%3Db") as events:
        for name in ("a", "b"):
            client.merge_patch(f"{CONFIG_MAPS}/{name}", {"data": {"a": "1"}})
        assert brief(next(events)) == ("MODIFIED", "b")


def test_a_watch_sees_one_namespace_or_all(client: Client) -> None:
    """A watch of a namespace sees that one, a watch without one sees all."""
    other = client.in_namespace(f"{client.namespace}-b")
    client.create("/api/v1/namespaces", {"metadata": {"name": other.namespace}})
    version = client.get(CONFIG_MAPS).version
    other.create(CONFIG_MAPS, config_map("a"))
    client.create(CONFIG_MAPS, config_map("b"))
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        assert brief(next(events)) == ("ADDED", "b")
    with client.watch("/api/v1/configmaps", f"&resourceVersion={version}") as events:
        assert [brief(one)[1] for one in islice(events, 2)] == ["a", "b"]


def test_a_watch_of_custom_resources(client: Client) -> None:
    """A watch of custom resources sends creation, the mark of a deletion, and the deletion."""
    version = client.get(NODE_CLAIMS).version
    path = f"{NODE_CLAIMS}/{client.namespace}"
    with client.watch(NODE_CLAIMS, f"&resourceVersion={version}&fieldSelector=metadata.name%3D{client.namespace}") as events:
        client.create(NODE_CLAIMS, node_claim(client.namespace, finalizers=["karpenter.sh/termination"]))
        client.delete(path)
        client.merge_patch(path, {"metadata": {"finalizers": None}})
        added, marked, gone = islice(events, 3)
    assert [one["type"] for one in (added, marked, gone)] == ["ADDED", "MODIFIED", "DELETED"]
    assert "deletionTimestamp" in marked["object"]["metadata"]


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_a_watch_from_the_future_is_silent(client: Client, path: str) -> None:
    """A watch from a version that does not exist yet is no error: it sends nothing until then, and skips earlier changes."""
    with client.watch(path, "&resourceVersion=999999999&timeoutSeconds=2") as events:
        client.create(path, event("a", namespace=client.namespace) if path == EVENTS else config_map("a"))
        assert list(events) == []


def test_no_bookmarks_come_unasked(server: Server, client: Client) -> None:
    """Without allowWatchBookmarks there are none."""
    version = client.get(CONFIG_MAPS).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}{lasting(server, 5)}") as events:
        client.create(CONFIG_MAPS, config_map("a"))
        assert kinds(list(events)) == ["ADDED"]


def test_a_watch_ends_with_a_bookmark(server: Server, client: Client) -> None:
    """A watch with bookmarks ends at timeoutSeconds, after a bookmark with the version of its last change."""
    version = client.get(CONFIG_MAPS).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}{lasting(server, 7)}&allowWatchBookmarks=true") as events:
        created = client.create(CONFIG_MAPS, config_map("a"))
        seen = list(events)
    last = seen[-1]
    assert [brief(one) for one in seen if one["type"] != "BOOKMARK"] == [("ADDED", "a")]
    assert last["type"] == "BOOKMARK"
    assert (last["object"]["kind"], last["object"]["apiVersion"]) == ("ConfigMap", "v1")
    assert int(last["object"]["metadata"]["resourceVersion"]) >= int(created.version)


def test_a_watch_goes_on_from_a_bookmark(client: Client) -> None:
    """A watch from a bookmark's version misses nothing and repeats nothing."""
    client.create(CONFIG_MAPS, config_map("a"))
    with client.watch(CONFIG_MAPS, INITIAL) as events:
        bookmark = next(one for one in events if one["type"] == "BOOKMARK")
    client.create(CONFIG_MAPS, config_map("b"))
    with client.watch(CONFIG_MAPS, f"&resourceVersion={bookmark['object']['metadata']['resourceVersion']}") as events:
        assert brief(next(events)) == ("ADDED", "b")


def test_events_get_no_bookmarks(server: Server, client: Client) -> None:
    """A watch of Events gets no bookmarks, even if it requests them: no lines do not mean no changes."""
    version = client.get(EVENTS).version
    with client.watch(EVENTS, f"&resourceVersion={version}{lasting(server, 5)}&allowWatchBookmarks=true") as events:
        client.create(EVENTS, event("e1", namespace=client.namespace))
        assert kinds(list(events)) == ["ADDED"]


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_initial_events_end_with_a_marked_bookmark(client: Client, path: str) -> None:
    """sendInitialEvents: what is there as ADDED, then a bookmark marked `k8s.io/initial-events-end`, then what happens."""

    def make(name: str) -> None:
        client.create(path, event(name, namespace=client.namespace) if path == EVENTS else config_map(name))

    make("a")
    make("b")
    with client.watch(path, INITIAL) as events:
        first, second, end = islice(events, 3)
        make("c")
        after = next(one for one in events if one["type"] != "BOOKMARK")
    assert sorted([brief(first), brief(second)]) == [("ADDED", "a"), ("ADDED", "b")]
    assert (end["type"], end["object"]["metadata"]["annotations"]) == ("BOOKMARK", {END_OF_INITIAL: "true"})
    assert brief(after) == ("ADDED", "c")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param(
            "&sendInitialEvents=true&allowWatchBookmarks=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            id="initial events without a match",
        ),
        pytest.param(
            "&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            id="a match without initial events",
        ),
    ],
)
def test_initial_events_need_their_match(client: Client, query: str, why: str) -> None:
    """SendInitialEvents and resourceVersionMatch=NotOlderThan go together; one without the other is 422."""
    answer = client.get(f"{CONFIG_MAPS}?watch=true{query}")
    assert answer.refusal == (422, "Invalid")
    assert answer.message == f'ListOptions.meta.k8s.io "" is invalid: {why}'


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS, NODE_CLAIMS])
def test_a_version_before_a_compaction_has_expired(server: Server, client: Client, path: str) -> None:
    """A watch from a version that is compacted is answered 200, with one ERROR event of a 410 Expired Status, and ends."""
    version = client.get(path).version
    for name in ("a", "b"):  # the newest version outlives a compaction, and so does a watch from the one before
        client.create(CONFIG_MAPS, config_map(name))
    server.forget()
    with client.watch(path, f"&resourceVersion={version}") as events:
        (error,) = events
    assert error["type"] == "ERROR"
    assert error["object"]["kind"] == "Status"
    assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")


def test_events_notice_a_compaction_at_once(server: Server, client: Client) -> None:
    """Events expire with the compaction itself: no restart is needed."""
    version = client.get(EVENTS).version
    for name in ("a", "b"):
        client.create(CONFIG_MAPS, config_map(name))
    server.compact()
    with client.watch(EVENTS, f"&resourceVersion={version}") as events:
        (error,) = events
    assert (error["type"], error["object"]["code"]) == ("ERROR", 410)


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_the_version_of_a_list_after_a_compaction_can_be_watched(server: Server, client: Client, path: str) -> None:
    """After a 410, a new list gives a version that can be watched from."""
    server.compact()
    version = client.get(path).version
    with client.watch(path, f"&resourceVersion={version}") as events:
        client.create(path, event("a", namespace=client.namespace) if path == EVENTS else config_map("a"))
        assert brief(next(events)) == ("ADDED", "a")


def test_an_open_watch_survives_a_compaction(server: Server, client: Client) -> None:
    """A compaction does not end a watch that is open."""
    version = client.get(CONFIG_MAPS).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        client.create(CONFIG_MAPS, config_map("a"))
        server.compact()
        client.create(CONFIG_MAPS, config_map("b"))
        assert [brief(one)[1] for one in islice(events, 2)] == ["a", "b"]


def test_a_watch_breaks_when_its_server_goes(server: Server, client: Client) -> None:
    """A watch whose server goes away ends or breaks; it does not hang."""
    version = client.get(CONFIG_MAPS).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        client.create(CONFIG_MAPS, config_map("a"))
        next(events)
        server.forget()
        with pytest.raises((StopIteration, urllib3.exceptions.HTTPError)):
            next(events)


def test_many_changes_arrive_in_order(client: Client) -> None:
    """Many changes arrive in the order in which they were made."""
    version = client.get(CONFIG_MAPS).version
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        for number in range(300):
            client.create(CONFIG_MAPS, config_map(f"c{number}"))
        assert [brief(one)[1] for one in islice(events, 300)] == [f"c{number}" for number in range(300)]


def test_a_watch_that_cannot_be_is_refused_at_once(client: Client) -> None:
    """A watch with a bad selector is 400, without a stream."""
    answer = client.get(f"{PODS}?watch=true&fieldSelector=spec.foo%3Dx")
    assert answer.refusal == (400, "BadRequest")
