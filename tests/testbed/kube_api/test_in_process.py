"""The store for code in the same process, and what only the emulator does with objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import ApiError, EmulatedKubeApi
from tests.contract.support import CONFIG_MAPS, PODS, SCALED_OBJECTS, SERVICES, Client, config_map, pod, scaled_object


def test_custom_objects_keep_fields_their_crd_does_not_know(client: Client) -> None:
    """A known difference: the real server prunes them."""
    body = scaled_object()
    body["spec"]["later"] = {"x": [1]}
    assert client.post(SCALED_OBJECTS, body).json["spec"]["later"] == {"x": [1]}


def test_times_are_those_of_the_clock(client: Client) -> None:
    """Creation, deletion and grace follow the clock that the emulator was given."""
    created = client.post(PODS, pod(node="n1"))
    deleted = client.delete(f"{PODS}/p1")
    assert created.metadata["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert deleted.metadata["deletionTimestamp"] == "2026-09-21T14:13:50Z"


def test_a_write_that_changes_nothing_keeps_its_time(client: Client, clock: ManualClock) -> None:
    """Even if the clock has advanced."""
    client.apply(f"{CONFIG_MAPS}/c", config_map("c", a="1"), manager="ours")
    before = client.get(f"{CONFIG_MAPS}/c").json
    clock.advance(60)
    assert client.apply(f"{CONFIG_MAPS}/c", config_map("c", a="1"), manager="ours").json == before
    assert client.merge_patch(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}}).json == before


def test_a_namespace_appears_with_its_first_object_from_the_same_process(api: EmulatedKubeApi, client: Client) -> None:
    """Tests and scenarios need not create namespaces, even if clients must."""
    api.store.create("ConfigMap", {"metadata": {"name": "c", "namespace": "app"}})
    assert client.get("/api/v1/namespaces/app").json["status"] == {"phase": "Active"}


def test_a_namespace_appears_with_its_first_object_where_that_is_allowed(api: EmulatedKubeApi, client: Client) -> None:
    """Unless the emulator is as strict as the real server."""
    assert client.in_namespace("new").post(CONFIG_MAPS, config_map("c")).code == 404
    with EmulatedKubeApi(lenient=True) as lenient:
        assert replace(client, url=lenient.url, namespace="new").post(CONFIG_MAPS, config_map("c")).code == 201


def test_writes_in_process_are_seen_over_http(api: EmulatedKubeApi, client: Client) -> None:
    api.store.create("Service", {"metadata": {"name": "s"}, "spec": {}})
    api.store.update_status("Service", "s", {"loadBalancer": {}})
    assert client.get(f"{SERVICES}/s").json["status"] == {"loadBalancer": {}}


def test_it_raises_what_a_client_would_have_got(api: EmulatedKubeApi) -> None:
    with pytest.raises(ApiError) as caught:
        api.store.get("Pod", "none")
    assert caught.value.code == 404


def test_what_it_returns_belongs_to_the_caller(api: EmulatedKubeApi) -> None:
    api.store.create("ConfigMap", config_map("c", a="1"))["data"]["a"] = "changed"
    api.store.get("ConfigMap", "c")["data"]["a"] = "changed"
    assert api.store.get("ConfigMap", "c")["data"] == {"a": "1"}


def test_it_deletes_a_bound_pod_with_grace_zero(api: EmulatedKubeApi) -> None:
    api.store.create("Pod", pod(node="n1"))
    assert api.store.delete("Pod", "p1") is not None
    assert api.store.delete("Pod", "p1", grace_seconds=0) is None
