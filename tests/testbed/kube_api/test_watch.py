"""Watches: the emulator's own bookmarks and history, and the hooks that disturb streams."""

from __future__ import annotations

from itertools import islice

import pytest
import urllib3

from failover_testbed.kube_api import EmulatedKubeApi
from tests.contract.support import CONFIG_MAPS, EVENTS, PODS, Client, brief, config_map, pod
from tests.testbed.kube_api.support import client_of


def test_bookmarks_carry_the_newest_version(client: Client) -> None:
    version = client.get(CONFIG_MAPS).metadata["resourceVersion"]
    newest = client.post(PODS, pod()).metadata["resourceVersion"]
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}&allowWatchBookmarks=true") as events:
        assert next(events) == {
            "type": "BOOKMARK",
            "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": newest}},
        }


def test_events_may_get_bookmarks(pool: urllib3.PoolManager) -> None:
    """For a clock that runs too fast to wait for a list."""
    with (
        EmulatedKubeApi(bookmark_interval_s=0.05, lenient=True) as api,
        client_of(api, pool).watch(EVENTS, "&allowWatchBookmarks=true") as events,
    ):
        assert next(events)["type"] == "BOOKMARK"


def test_a_version_from_just_before_a_compaction_has_expired(api: EmulatedKubeApi, client: Client) -> None:
    """At once for every kind; etcd keeps the last version."""
    version = client.get(CONFIG_MAPS).version
    client.post(CONFIG_MAPS, config_map("a"))
    api.compact()
    with client.watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
        assert next(events)["object"]["code"] == 410


def test_a_version_older_than_the_history_has_expired(pool: urllib3.PoolManager) -> None:
    with EmulatedKubeApi(history_limit=5) as api:
        version = api.store.resource_version
        for number in range(8):
            api.store.create("ConfigMap", config_map(f"c{number}"))
        with client_of(api, pool).watch(CONFIG_MAPS, f"&resourceVersion={version}") as events:
            assert next(events)["object"]["code"] == 410


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
    client = client_of(api, pool)
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
    with client_of(api, pool).watch(CONFIG_MAPS) as events:
        api.stop()
        assert list(events) == []


def test_closed_watches_are_forgotten(api: EmulatedKubeApi, client: Client) -> None:
    with client.watch(CONFIG_MAPS, "&timeoutSeconds=1&allowWatchBookmarks=true") as events:
        next(events)
        assert api.open_watches == 1
        list(events)
    assert api.open_watches == 0


def test_many_changes_at_once_arrive_in_order(api: EmulatedKubeApi, client: Client) -> None:
    """More changes than a stream reads at a time."""
    with client.watch(CONFIG_MAPS, f"&resourceVersion={api.store.resource_version}") as events:
        for number in range(1200):
            api.store.create("ConfigMap", config_map(f"c{number}"))
        assert [brief(event)[1] for event in islice(events, 1200)] == [f"c{number}" for number in range(1200)]
