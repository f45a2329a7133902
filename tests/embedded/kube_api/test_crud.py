"""Creating, reading, replacing, patching and deleting."""

from __future__ import annotations

import pytest

from controller.clock import ManualClock
from controller.embedded.kube_api import ApiError, EmulatedKubeApi
from tests.embedded.kube_api.support import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    INGRESSES,
    LEASES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    SERVICES,
    Client,
    config_map,
    ingress,
    pod,
    scaled_object,
)


def test_create_fills_in_what_the_server_owns(client: Client) -> None:
    created = client.post(INGRESSES, ingress())
    assert created.code == 201
    assert created.metadata["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert created.metadata["namespace"] == "default"
    assert created.metadata["generation"] == 1
    assert created.metadata["uid"]
    assert created.metadata["resourceVersion"]


def test_create_of_an_existing_name_is_refused(client: Client) -> None:
    client.post(INGRESSES, ingress())
    again = client.post(INGRESSES, ingress())
    assert (again.code, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["message"] == 'ingresses.networking.k8s.io "sd21" already exists'
    assert again.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses"}


def test_generate_name_gives_each_object_its_own_name(client: Client) -> None:
    body = {"metadata": {"generateName": "e-"}, "involvedObject": {"kind": "NodeClaim"}}
    names = {client.post(EVENTS, body).metadata["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("e-") and len(name) == 7 for name in names)


def test_create_without_a_name_is_invalid(client: Client) -> None:
    answer = client.post(CONFIG_MAPS, {"metadata": {}})
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")


def test_create_with_a_resource_version_is_refused(client: Client) -> None:
    body = config_map("c")
    body["metadata"]["resourceVersion"] = "7"
    assert client.post(CONFIG_MAPS, body).json["message"] == "resourceVersion should not be set on objects to be created"


def test_an_absent_object_is_not_found(client: Client) -> None:
    answer = client.get(f"{PODS}/none")
    assert (answer.code, answer.json["reason"]) == (404, "NotFound")
    assert answer.json["message"] == 'pods "none" not found'


def test_put_with_a_stale_resource_version_conflicts(client: Client) -> None:
    stale = client.post(INGRESSES, ingress(a="1")).json
    client.merge_patch(f"{INGRESSES}/sd21", {"metadata": {"annotations": {"a": "2"}}})
    answer = client.put(f"{INGRESSES}/sd21", stale)
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"] == (
        'Operation cannot be fulfilled on ingresses.networking.k8s.io "sd21": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_put_with_the_current_resource_version_replaces(client: Client) -> None:
    current = client.post(CONFIG_MAPS, config_map("c", a="1")).json
    answer = client.put(f"{CONFIG_MAPS}/c", current | {"data": {"b": "2"}})
    assert answer.code == 200
    assert client.get(f"{CONFIG_MAPS}/c").json["data"] == {"b": "2"}


def test_put_without_a_resource_version_overwrites_where_the_kind_allows_it(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c", a="1"))
    assert client.put(f"{CONFIG_MAPS}/c", config_map("c", a="2")).code == 200


def test_put_of_a_lease_needs_a_resource_version(client: Client) -> None:
    client.post(LEASES, {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    answer = client.put(f"{LEASES}/l", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "b"}})
    assert answer.code == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in answer.json["message"]


def test_put_of_another_incarnation_conflicts(client: Client) -> None:
    first = client.post(LEASES, {"metadata": {"name": "l"}}).json
    client.delete(f"{LEASES}/l")
    client.post(LEASES, {"metadata": {"name": "l"}})
    answer = client.put(f"{LEASES}/l", first)
    assert answer.code == 409
    assert "Precondition failed: UID in precondition" in answer.json["message"]


def test_put_of_an_absent_object_is_not_found(client: Client) -> None:
    assert client.put(f"{CONFIG_MAPS}/c", config_map("c")).code == 404


def test_put_with_another_name_than_the_path_is_refused(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c"))
    answer = client.put(f"{CONFIG_MAPS}/c", config_map("d"))
    assert answer.code == 400
    assert answer.json["message"] == "the name of the object (d) does not match the name on the URL (c)"


def test_a_write_that_changes_nothing_keeps_the_resource_version(client: Client, clock: ManualClock) -> None:
    before = client.post(CONFIG_MAPS, config_map("c", a="1")).metadata
    clock.advance(60)
    after = client.merge_patch(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}}).metadata
    assert after["resourceVersion"] == before["resourceVersion"]


def test_generation_grows_with_the_spec_only(client: Client) -> None:
    client.post(INGRESSES, ingress())
    noted = client.merge_patch(f"{INGRESSES}/sd21", {"metadata": {"annotations": {"a": "1"}}})
    changed = client.merge_patch(f"{INGRESSES}/sd21", {"spec": {"ingressClassName": "other"}})
    assert (noted.metadata["generation"], changed.metadata["generation"]) == (1, 2)


def test_generation_of_a_deployment_grows_with_its_annotations_too(client: Client) -> None:
    client.post(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {}})
    noted = client.merge_patch(f"{DEPLOYMENTS}/d", {"metadata": {"annotations": {"a": "1"}}})
    assert noted.metadata["generation"] == 2


def test_config_maps_have_no_generation(client: Client) -> None:
    assert "generation" not in client.post(CONFIG_MAPS, config_map("c")).metadata


def test_a_write_to_the_object_cannot_change_its_status(client: Client) -> None:
    client.post(NODE_POOLS, {"metadata": {"name": "n"}, "spec": {"weight": 1}, "status": {"nodes": 9}})
    answer = client.merge_patch(f"{NODE_POOLS}/n", {"status": {"nodes": 5}, "spec": {"weight": 2}})
    assert "status" not in answer.json
    assert answer.json["spec"] == {"weight": 2}


def test_a_write_to_the_status_changes_nothing_else(client: Client) -> None:
    client.post(NODE_POOLS, {"metadata": {"name": "n"}, "spec": {"weight": 1}})
    patch = {"status": {"nodes": 5}, "spec": {"weight": 2}, "metadata": {"labels": {"a": "b"}}}
    answer = client.merge_patch(f"{NODE_POOLS}/n/status", patch)
    assert answer.json["status"] == {"nodes": 5}
    assert answer.json["spec"] == {"weight": 1}
    assert "labels" not in answer.metadata
    assert answer.metadata["generation"] == 1


def test_a_node_may_be_created_with_its_status(client: Client) -> None:
    status = {"capacity": {"cpu": "4"}}
    assert client.post("/api/v1/nodes", {"metadata": {"name": "n"}, "status": status}).json["status"] == status


def test_a_kind_without_status_subresource_has_no_such_path(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c"))
    assert client.merge_patch(f"{CONFIG_MAPS}/c/status", {}).code == 404


def test_delete_answers_with_what_is_gone(client: Client) -> None:
    uid = client.post(INGRESSES, ingress()).metadata["uid"]
    answer = client.delete(f"{INGRESSES}/sd21")
    assert answer.code == 200
    assert answer.json["status"] == "Success"
    assert answer.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses", "uid": uid}
    assert client.get(f"{INGRESSES}/sd21").code == 404


def test_finalizers_hold_a_deleted_object(client: Client) -> None:
    client.post(NODE_CLAIMS, {"metadata": {"name": "c", "finalizers": ["karpenter.sh/termination"]}, "spec": {}})
    client.delete(f"{NODE_CLAIMS}/c")
    held = client.get(f"{NODE_CLAIMS}/c").metadata
    assert held["deletionTimestamp"] == "2026-09-21T14:13:20Z"
    assert held["deletionGracePeriodSeconds"] == 0
    assert held["generation"] == 2


def test_removing_the_last_finalizer_ends_a_deleted_object(client: Client) -> None:
    client.post(NODE_CLAIMS, {"metadata": {"name": "c", "finalizers": ["f.example/x"]}})
    client.delete(f"{NODE_CLAIMS}/c")
    assert client.merge_patch(f"{NODE_CLAIMS}/c", {"metadata": {"finalizers": None}}).code == 200
    assert client.get(f"{NODE_CLAIMS}/c").code == 404


def test_no_finalizer_can_be_added_to_a_deleted_object(client: Client) -> None:
    client.post(NODE_CLAIMS, {"metadata": {"name": "c", "finalizers": ["f.example/x"]}})
    client.delete(f"{NODE_CLAIMS}/c")
    answer = client.merge_patch(f"{NODE_CLAIMS}/c", {"metadata": {"finalizers": ["f.example/x", "f.example/y"]}})
    assert answer.code == 422
    assert 'found new finalizers []string{"f.example/y"}' in answer.json["message"]


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_delete_checks_its_preconditions(client: Client, field: str) -> None:
    client.post(CONFIG_MAPS, config_map("c"))
    answer = client.delete(f"{CONFIG_MAPS}/c", {"preconditions": {field: "0"}})
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")


def test_a_bound_pod_terminates_within_its_grace_period(client: Client) -> None:
    client.post(PODS, pod(node="n1"))
    answer = client.delete(f"{PODS}/p1")
    assert answer.metadata["deletionTimestamp"] == "2026-09-21T14:13:50Z"
    assert answer.metadata["deletionGracePeriodSeconds"] == 30


def test_a_terminating_pod_is_removed_with_grace_zero(client: Client) -> None:
    client.post(PODS, pod(node="n1"))
    client.delete(f"{PODS}/p1")
    client.delete(f"{PODS}/p1?gracePeriodSeconds=0")
    assert client.get(f"{PODS}/p1").code == 404


def test_an_unscheduled_pod_is_removed_at_once(client: Client) -> None:
    client.post(PODS, pod())
    assert client.delete(f"{PODS}/p1").json["kind"] == "Pod"
    assert client.get(f"{PODS}/p1").code == 404


def test_dry_run_answers_but_stores_nothing(client: Client) -> None:
    assert client.post(f"{CONFIG_MAPS}?dryRun=All", config_map("c")).code == 201
    assert client.get(f"{CONFIG_MAPS}/c").code == 404
    client.post(CONFIG_MAPS, config_map("c", a="1"))
    patched = client.merge_patch(f"{CONFIG_MAPS}/c?dryRun=All", {"data": {"a": "2"}})
    assert patched.json["data"] == {"a": "2"}
    assert client.delete(f"{CONFIG_MAPS}/c?dryRun=All").code == 200
    assert client.get(f"{CONFIG_MAPS}/c").json["data"] == {"a": "1"}


def test_merge_patch_removes_with_null(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c", a="1", b="2"))
    assert client.merge_patch(f"{CONFIG_MAPS}/c", {"data": {"a": None}}).json["data"] == {"b": "2"}


def test_a_patch_with_a_stale_resource_version_conflicts(client: Client) -> None:
    version = client.post(CONFIG_MAPS, config_map("c")).metadata["resourceVersion"]
    client.merge_patch(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}})
    patch = {"metadata": {"resourceVersion": version}, "data": {"a": "2"}}
    assert client.merge_patch(f"{CONFIG_MAPS}/c", patch).code == 409


def test_json_patch_changes_one_trigger_field(client: Client) -> None:
    client.post(SCALED_OBJECTS, scaled_object())
    trigger = "/spec/triggers/0"
    answer = client.json_patch(
        f"{SCALED_OBJECTS}/sd21",
        {"op": "test", "path": f"{trigger}/metadata/expression", "value": "SELECT 1"},
        {"op": "replace", "path": f"{trigger}/metadata/targetMetricValue", "value": "61"},
    )
    expected = scaled_object()["spec"]["triggers"]
    expected[0]["metadata"]["targetMetricValue"] = "61"
    assert answer.json["spec"]["triggers"] == expected


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param({"op": "test", "path": "/data/a", "value": "other"}, id="test fails"),
        pytest.param({"op": "replace", "path": "/data/none", "value": "x"}, id="replace of nothing"),
        pytest.param({"op": "remove", "path": "/data/none"}, id="remove of nothing"),
        pytest.param({"op": "add", "path": "/none/a", "value": "x"}, id="add to nothing"),
    ],
)
def test_a_json_patch_that_does_not_fit_changes_nothing(client: Client, operation: dict[str, str]) -> None:
    client.post(CONFIG_MAPS, config_map("c", a="1"))
    answer = client.json_patch(f"{CONFIG_MAPS}/c", {"op": "add", "path": "/data/b", "value": "2"}, operation)
    assert (answer.code, answer.json["reason"]) == (422, "Invalid")
    assert answer.json["message"] == "the server rejected our request due to an error in our request"
    assert client.get(f"{CONFIG_MAPS}/c").json["data"] == {"a": "1"}


def test_json_patch_reads_escaped_keys(client: Client) -> None:
    client.post(INGRESSES, ingress())
    path = "/metadata/annotations/alb.ingress.kubernetes.io~1actions.w"
    answer = client.json_patch(
        f"{INGRESSES}/sd21", {"op": "add", "path": "/metadata/annotations", "value": {}}, {"op": "add", "path": path, "value": "{}"}
    )
    assert answer.metadata["annotations"] == {"alb.ingress.kubernetes.io/actions.w": "{}"}


def test_an_annotation_that_is_no_string_is_refused(client: Client) -> None:
    body = ingress()
    body["metadata"]["annotations"] = {"a": 1}
    assert client.post(INGRESSES, body).code == 400
    client.post(INGRESSES, ingress())
    assert client.merge_patch(f"{INGRESSES}/sd21", {"metadata": {"annotations": {"a": 1}}}).code == 422


def test_an_event_about_a_cluster_scoped_object_lives_in_default(client: Client) -> None:
    body = {"metadata": {"name": "e"}, "involvedObject": {"kind": "NodeClaim", "name": "c"}}
    assert client.post(EVENTS, body).code == 201
    elsewhere = client.post("/api/v1/namespaces/other/events", body)
    assert elsewhere.code == 422
    assert elsewhere.json["message"] == (
        'Event "e" is invalid: involvedObject.namespace: Invalid value: "": does not match event.namespace'
    )


def test_custom_objects_keep_fields_their_crd_does_not_know(client: Client) -> None:
    body = scaled_object()
    body["spec"]["later"] = {"x": [1]}
    assert client.post(SCALED_OBJECTS, body).json["spec"]["later"] == {"x": [1]}


def test_empty_maps_and_lists_are_not_stored(client: Client) -> None:
    body = ingress()
    body["metadata"] |= {"annotations": {}, "finalizers": [], "labels": None}
    assert not {"annotations", "finalizers", "labels"} & client.post(INGRESSES, body).metadata.keys()


def test_empty_structs_are_stored(client: Client) -> None:
    body = pod()
    body["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    assert client.post(PODS, body).json["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]


def test_a_namespace_appears_with_its_first_object(client: Client) -> None:
    client.post("/api/v1/namespaces/app/configmaps", config_map("c"))
    assert client.get("/api/v1/namespaces/app").json["status"] == {"phase": "Active"}


def test_a_body_may_be_yaml(client: Client) -> None:
    body = b"metadata: {name: c}\ndata: {at: '2026-01-01T00:00:00Z'}\n"
    answer = client.send("POST", CONFIG_MAPS, body, content_type="application/yaml")
    assert answer.json["data"] == {"at": "2026-01-01T00:00:00Z"}


def test_writes_in_process_are_seen_over_http(api: EmulatedKubeApi, client: Client) -> None:
    api.store.create("Service", {"metadata": {"name": "s"}, "spec": {}})
    api.store.update_status("Service", "s", {"loadBalancer": {}})
    assert client.get(f"{SERVICES}/s").json["status"] == {"loadBalancer": {}}


def test_the_facade_raises_what_a_client_would_have_got(api: EmulatedKubeApi) -> None:
    with pytest.raises(ApiError) as caught:
        api.store.get("Pod", "none")
    assert caught.value.code == 404


def test_what_the_facade_returns_belongs_to_the_caller(api: EmulatedKubeApi) -> None:
    api.store.create("ConfigMap", config_map("c", a="1"))["data"]["a"] = "changed"
    api.store.get("ConfigMap", "c")["data"]["a"] = "changed"
    assert api.store.get("ConfigMap", "c")["data"] == {"a": "1"}


def test_the_facade_deletes_a_bound_pod_with_grace_zero(api: EmulatedKubeApi) -> None:
    api.store.create("Pod", pod(node="n1"))
    assert api.store.delete("Pod", "p1") is not None
    assert api.store.delete("Pod", "p1", grace_seconds=0) is None
