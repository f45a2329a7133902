"""Watches: resuming, selection, bookmarks, expiry and the hooks that disturb them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import urllib3

from controller.embedded.kube_api import EmulatedKubeApi
from tests.embedded.kube_api.support import CONFIG_MAPS, PODS, Client, config_map, pod


def brief(event: dict[str, Any]) -> tuple[str, str]:
    return event["type"], event["object"]["metadata"]["name"]


def test_a_watch_resumes_after_the_given_version(api: EmulatedKubeApi, client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("before"))
    version = client.get(CONFIG_MAPS).metadata["resourceVersion"]
    client.post(CONFIG_MAPS, config_map("after"))
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        assert brief(next(events)) == ("ADDED", "after")
        api.store.patch("ConfigMap", "after", {"data": {"a": "1"}})
        assert brief(next(events)) == ("MODIFIED", "after")
        api.store.delete("ConfigMap", "before")
        assert brief(next(events)) == ("DELETED", "before")


@pytest.mark.parametrize("query", ["", "&resourceVersion=0"])
def test_a_watch_from_nowhere_first_sends_what_is_there(client: Client, query: str) -> None:
    client.post(CONFIG_MAPS, config_map("a"))
    client.post(CONFIG_MAPS, config_map("b"))
    with client.watch(CONFIG_MAPS, query) as events:
        assert [brief(event) for event in islice(events, 2)] == [("ADDED", "a"), ("ADDED", "b")]


def test_watched_objects_have_their_kind(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("a"))
    with client.watch(CONFIG_MAPS) as events:
        obj = next(events)["object"]
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")


def test_a_deletion_carries_its_own_version(client: Client) -> None:
    created = client.post(CONFIG_MAPS, config_map("a")).metadata["resourceVersion"]
    client.delete(f"{CONFIG_MAPS}/a")
    with client.watch(CONFIG_MAPS, f"&resourceVersion={created}") as events:
        assert int(next(events)["object"]["metadata"]["resourceVersion"]) > int(created)


def test_an_object_enters_and_leaves_a_selection(api: EmulatedKubeApi, client: Client) -> None:
    client.post(PODS, pod("p1", app="a"))
    version = client.get(PODS).metadata["resourceVersion"]
    with client.watch(PODS, f"&resourceVersion={version}&labelSelector=app%3Db") as events:
        for app in ("b", "c"):
            api.store.patch("Pod", "p1", {"metadata": {"labels": {"app": app}}})
        entered, left = islice(events, 2)
    assert (brief(entered), brief(left)) == (("ADDED", "p1"), ("DELETED", "p1"))
    assert left["object"]["metadata"]["labels"] == {"app": "b"}


def test_a_watch_can_select_by_field(api: EmulatedKubeApi, client: Client) -> None:
    version = client.get(PODS).metadata["resourceVersion"]
    with client.watch(PODS, f"&resourceVersion={version}&fieldSelector=status.phase%3DRunning") as events:
        for name in ("p1", "p2"):
            client.post(PODS, pod(name))
        api.store.update_status("Pod", "p2", {"phase": "Running"})
        assert brief(next(events)) == ("ADDED", "p2")


def test_a_watch_sees_one_namespace(api: EmulatedKubeApi, client: Client) -> None:
    version = api.store.resource_version
    api.store.create("ConfigMap", {"metadata": {"name": "a", "namespace": "other"}})
    api.store.create("ConfigMap", config_map("b"))
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        assert brief(next(events)) == ("ADDED", "b")


def test_bookmarks_carry_the_newest_version(client: Client) -> None:
    version = client.get(CONFIG_MAPS).metadata["resourceVersion"]
    newest = client.post(PODS, pod()).metadata["resourceVersion"]
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}&allowWatchBookmarks=true") as events:
        assert next(events) == {
            "type": "BOOKMARK",
            "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": newest}},
        }


def test_no_bookmarks_come_unasked(client: Client) -> None:
    version = client.get(CONFIG_MAPS).metadata["resourceVersion"]
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}&timeoutSeconds=1") as events:
        assert list(events) == []


def test_a_version_before_a_compaction_has_expired(api: EmulatedKubeApi, client: Client) -> None:
    version = client.get(CONFIG_MAPS).metadata["resourceVersion"]
    client.post(CONFIG_MAPS, config_map("a"))
    api.compact()
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        (event,) = events
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_a_version_older_than_the_history_has_expired(pool: urllib3.PoolManager) -> None:
    with EmulatedKubeApi(history_limit=5) as api:
        version = api.store.resource_version
        for number in range(8):
            api.store.create("ConfigMap", config_map(f"c{number}"))
        with Client(api, pool).watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
            assert next(events)["object"]["code"] == 410


def test_the_version_of_a_compaction_can_be_watched(api: EmulatedKubeApi, client: Client) -> None:
    api.compact()
    with client.watch(CONFIG_MAPS, f"&resourceVersion={api.store.resource_version}") as events:
        api.store.create("ConfigMap", config_map("a"))
        assert brief(next(events)) == ("ADDED", "a")


def test_an_open_watch_survives_a_compaction(api: EmulatedKubeApi, client: Client) -> None:
    with client.watch(CONFIG_MAPS, f"&resourceVersion={api.store.resource_version}") as events:
        api.store.create("ConfigMap", config_map("a"))
        api.compact()
        assert brief(next(events)) == ("ADDED", "a")


def test_dropped_watches_break_in_the_middle(api: EmulatedKubeApi, client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("a"))
    with client.watch(CONFIG_MAPS) as events:
        next(events)
        api.drop_watches()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            next(events)


def test_a_frozen_watch_delivers_once_it_thaws(api: EmulatedKubeApi, client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("a"))
    with client.watch(CONFIG_MAPS, "&allowWatchBookmarks=true") as events:
        assert brief(next(events)) == ("ADDED", "a")
        api.freeze()
        api.store.create("ConfigMap", config_map("b"))
        assert client.get(f"{CONFIG_MAPS}/b").code == 200
        api.unfreeze()
        seen = next(event for event in events if event["type"] != "BOOKMARK")
        assert brief(seen) == ("ADDED", "b")


def test_a_frozen_watch_sends_nothing(api: EmulatedKubeApi, pool: urllib3.PoolManager) -> None:
    api.freeze()
    client = Client(api, pool)
    url = f"{api.url}{CONFIG_MAPS}?watch=true&resourceVersion={api.store.resource_version}&allowWatchBookmarks=true"
    headers = {"Authorization": "Bearer admin"}
    timeout = urllib3.Timeout(connect=5, read=0.3)
    response = pool.request("GET", url, headers=headers, preload_content=False, timeout=timeout, retries=False)
    client.post(CONFIG_MAPS, config_map("a"))
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        next(iter(response.stream(None)))
    response.close()


def test_a_watch_ends_at_its_time_out_with_a_last_bookmark(client: Client) -> None:
    with client.watch(CONFIG_MAPS, "&timeoutSeconds=1&allowWatchBookmarks=true") as events:
        assert {event["type"] for event in events} == {"BOOKMARK"}


def test_stopping_ends_watches(pool: urllib3.PoolManager) -> None:
    api = EmulatedKubeApi()
    api.start()
    with Client(api, pool).watch(CONFIG_MAPS) as events:
        api.stop()
        assert list(events) == []


def test_closed_watches_are_forgotten(api: EmulatedKubeApi, client: Client) -> None:
    with client.watch(CONFIG_MAPS, "&timeoutSeconds=1&allowWatchBookmarks=true") as events:
        next(events)
        assert api.open_watches == 1
        list(events)
    assert api.open_watches == 0


def test_many_changes_arrive_in_order(api: EmulatedKubeApi, client: Client) -> None:
    with client.watch(CONFIG_MAPS, f"&resourceVersion={api.store.resource_version}") as events:
        for number in range(1200):
            api.store.create("ConfigMap", config_map(f"c{number}"))
        assert [brief(event)[1] for event in islice(events, 1200)] == [f"c{number}" for number in range(1200)]
