"""Creating, reading, replacing and deleting."""

from __future__ import annotations

import re

import pytest

from tests.contract.support import (
    APPLY_PATCH,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    INGRESSES,
    NODE_CLAIMS,
    PODS,
    SERVICES,
    Client,
    annotated,
    config_map,
    deployment,
    ingress,
    node_claim,
    pod,
)

SD21 = f"{INGRESSES}/sd21"
CLAIM = f"{NODE_CLAIMS}/{{namespace}}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_create_fills_in_what_the_server_owns(client: Client) -> None:
    """A created object has its uid, version, generation, namespace and time from the server."""
    created = client.post(INGRESSES, ingress())
    assert created.code == 201
    assert TIME.fullmatch(created.metadata["creationTimestamp"])
    assert created.metadata["namespace"] == client.namespace
    assert created.metadata["generation"] == 1
    assert created.metadata["uid"]
    assert int(created.version) > 0


def test_create_of_an_existing_name_is_refused(client: Client) -> None:
    """Creating what exists is 409 AlreadyExists and names the object."""
    client.create(INGRESSES, ingress())
    again = client.post(INGRESSES, ingress())
    assert again.refusal == (409, "AlreadyExists")
    assert again.message == 'ingresses.networking.k8s.io "sd21" already exists'
    assert again.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses"}


def test_generate_name_gives_each_object_its_own_name(client: Client) -> None:
    """`generateName` gets five characters appended, different ones each time."""
    names = {client.create(CONFIG_MAPS, {"metadata": {"generateName": "e-"}}).metadata["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("e-") and len(name) == 7 for name in names)


def test_create_without_a_name_is_invalid(client: Client) -> None:
    """Creating an object without a name is 422 Invalid."""
    answer = client.post(CONFIG_MAPS, {"metadata": {}})
    assert answer.refusal == (422, "Invalid")
    assert answer.message == 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'


def test_a_name_that_is_no_domain_name_is_invalid(client: Client) -> None:
    """A name with an upper-case letter is 422 Invalid."""
    answer = client.post(CONFIG_MAPS, config_map("Upper"))
    assert answer.refusal == (422, "Invalid")
    assert 'metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must consist of' in answer.message


def test_create_with_a_resource_version_is_refused(client: Client) -> None:
    """Creating an object that carries a resourceVersion fails."""
    body = config_map("c")
    body["metadata"]["resourceVersion"] = "7"
    answer = client.post(CONFIG_MAPS, body)
    assert (answer.code, answer.message) == (500, "resourceVersion should not be set on objects to be created")


def test_create_in_a_missing_namespace_is_not_found(client: Client) -> None:
    """Creating or applying something in a namespace that does not exist is 404 about the namespace."""
    elsewhere = client.in_namespace(f"{client.namespace}-none")
    for answer in (elsewhere.post(CONFIG_MAPS, config_map("c")), elsewhere.apply(SD21, ingress(), manager="ours")):
        assert answer.refusal == (404, "NotFound")
        assert answer.message == f'namespaces "{elsewhere.namespace}" not found'
        assert answer.json["details"] == {"name": elsewhere.namespace, "kind": "namespaces"}


def test_a_list_in_a_missing_namespace_is_empty(client: Client) -> None:
    """Listing in a namespace that does not exist is no error."""
    answer = client.in_namespace(f"{client.namespace}-none").get(CONFIG_MAPS)
    assert (answer.code, answer.names) == (200, [])


def test_an_absent_object_is_not_found(client: Client) -> None:
    """Reading what does not exist is 404 NotFound and names the object."""
    answer = client.get(f"{PODS}/none")
    assert answer.refusal == (404, "NotFound")
    assert answer.message == 'pods "none" not found'


def test_put_with_a_stale_resource_version_conflicts(client: Client) -> None:
    """Compare-and-swap: a PUT with a version from before another write is 409 Conflict."""
    stale = client.create(INGRESSES, ingress(a="1")).json
    client.merge_patch(SD21, {"metadata": {"annotations": {"a": "2"}}})
    answer = client.put(SD21, stale)
    assert answer.refusal == (409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on ingresses.networking.k8s.io "sd21": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert client.get(SD21).metadata["annotations"] == {"a": "2"}


def test_put_with_the_current_resource_version_replaces(client: Client) -> None:
    """Compare-and-swap: a PUT with the current version replaces the object."""
    current = client.create(CONFIG_MAPS, config_map("c", a="1"))
    answer = client.put(f"{CONFIG_MAPS}/c", current.json | {"data": {"b": "2"}})
    assert answer.code == 200
    assert int(answer.version) > int(current.version)
    assert client.get(f"{CONFIG_MAPS}/c").json["data"] == {"b": "2"}


def test_put_without_a_resource_version_overwrites_where_the_kind_allows_it(client: Client) -> None:
    """A PUT of a ConfigMap without a version overwrites whatever is there."""
    client.create(CONFIG_MAPS, config_map("c", a="1"))
    assert client.put(f"{CONFIG_MAPS}/c", config_map("c", a="2")).json["data"] == {"a": "2"}


def test_put_with_the_uid_of_another_incarnation_conflicts(client: Client) -> None:
    """A PUT that carries the uid of a deleted predecessor is 409 Conflict."""
    first = client.create(INGRESSES, ingress()).json
    client.delete(SD21)
    client.create(INGRESSES, ingress())
    answer = client.put(SD21, first)
    assert answer.refusal == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message


def test_put_of_an_absent_object_is_not_found(client: Client) -> None:
    """A PUT of a ConfigMap or an Ingress that does not exist is 404 and creates nothing."""
    assert client.put(f"{CONFIG_MAPS}/c", config_map("c")).refusal == (404, "NotFound")
    assert client.put(SD21, ingress()).refusal == (404, "NotFound")


def test_put_of_an_absent_service_creates_it(client: Client) -> None:
    """A PUT of a Service that does not exist creates it."""
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    assert client.put(f"{SERVICES}/s", body).code == 201


def test_a_write_may_say_how_long_it_may_take(client: Client) -> None:
    """`timeout` in the query of a write is accepted."""
    client.create(INGRESSES, ingress())
    answer = client.send("PATCH", f"{SD21}?fieldManager=ours&force=true&timeout=5000ms", annotated(a="1"), content_type=APPLY_PATCH)
    assert (answer.code, answer.metadata["annotations"]) == (200, {"a": "1"})


def test_put_with_another_name_than_the_path_is_refused(client: Client) -> None:
    """A PUT whose body has another name than its path is 400."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.put(f"{CONFIG_MAPS}/c", config_map("d"))
    assert answer.refusal == (400, "BadRequest")
    assert answer.message == "the name of the object (d) does not match the name on the URL (c)"


def test_a_body_with_another_namespace_than_the_path_is_refused(client: Client) -> None:
    """A body whose namespace is not the path's is 400."""
    body = config_map("c")
    body["metadata"]["namespace"] = "other"
    answer = client.post(CONFIG_MAPS, body)
    assert answer.refusal == (400, "BadRequest")
    assert answer.message == "the namespace of the provided object does not match the namespace sent on the request"


def test_a_body_of_another_kind_is_refused(client: Client) -> None:
    """A body of another kind than the path's is 400."""
    assert client.post(CONFIG_MAPS, config_map("c") | {"kind": "Pod"}).refusal == (400, "BadRequest")


def test_a_write_that_changes_nothing_keeps_the_resource_version(client: Client) -> None:
    """A patch or PUT that changes nothing writes nothing."""
    before = client.create(CONFIG_MAPS, config_map("c", a="1"))
    assert client.merge_patch(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}}).version == before.version
    assert client.put(f"{CONFIG_MAPS}/c", before.json).version == before.version


def test_generation_grows_with_the_spec_only(client: Client) -> None:
    """The generation of an Ingress grows with its spec, not with its annotations."""
    client.create(INGRESSES, ingress())
    noted = client.merge_patch(SD21, {"metadata": {"annotations": {"a": "1"}}})
    changed = client.merge_patch(SD21, {"spec": {"ingressClassName": "other"}})
    assert (noted.metadata["generation"], changed.metadata["generation"]) == (1, 2)


def test_generation_of_a_deployment_grows_with_its_annotations_too(client: Client) -> None:
    """The generation of a Deployment grows with its annotations too."""
    client.create(DEPLOYMENTS, deployment())
    noted = client.merge_patch(f"{DEPLOYMENTS}/d", {"metadata": {"annotations": {"a": "1"}}})
    assert noted.metadata["generation"] == 2


def test_generation_of_a_custom_resource_grows_with_its_spec(client: Client) -> None:
    """The generation of a NodeClaim grows with its spec, not with its labels."""
    client.create(NODE_CLAIMS, node_claim(client.namespace))
    labelled = client.merge_patch(CLAIM, {"metadata": {"labels": {"a": "1"}}})
    assert labelled.metadata["generation"] == 1


def test_config_maps_have_no_generation(client: Client) -> None:
    """A ConfigMap has no generation."""
    assert "generation" not in client.create(CONFIG_MAPS, config_map("c")).metadata


def test_generation_of_an_endpoint_slice_grows_with_its_endpoints(client: Client) -> None:
    """The generation of an EndpointSlice grows with its endpoints."""
    made = {"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"]}], "ports": []}
    assert client.create(ENDPOINT_SLICES, made).metadata["generation"] == 1
    changed = client.merge_patch(f"{ENDPOINT_SLICES}/e", {"endpoints": [{"addresses": ["10.1.0.2"]}]})
    assert changed.metadata["generation"] == 2


def test_delete_answers_with_what_is_gone(client: Client) -> None:
    """A DELETE answers with a Status that carries the uid, and the object is gone."""
    uid = client.create(INGRESSES, ingress()).metadata["uid"]
    answer = client.delete(SD21)
    assert answer.code == 200
    assert answer.json["status"] == "Success"
    assert answer.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses", "uid": uid}
    assert client.get(SD21).code == 404


def test_delete_of_a_service_answers_with_it(client: Client) -> None:
    """A DELETE of a Service answers with the Service."""
    client.create(SERVICES, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    assert client.delete(f"{SERVICES}/s").json["kind"] == "Service"
    assert client.delete(f"{SERVICES}/s").refusal == (404, "NotFound")


def test_finalizers_hold_a_deleted_object(client: Client) -> None:
    """A deleted NodeClaim with a finalizer stays, with deletionTimestamp, grace 0 and a new generation."""
    client.create(NODE_CLAIMS, node_claim(client.namespace, finalizers=["karpenter.sh/termination"]))
    client.delete(CLAIM)
    held = client.get(CLAIM).metadata
    assert TIME.fullmatch(held["deletionTimestamp"])
    assert held["deletionGracePeriodSeconds"] == 0
    assert held["generation"] == 2


def test_removing_the_last_finalizer_ends_a_deleted_object(client: Client) -> None:
    """A deleted object goes when its last finalizer is taken away."""
    client.create(NODE_CLAIMS, node_claim(client.namespace, finalizers=["karpenter.sh/termination"]))
    client.delete(CLAIM)
    assert client.merge_patch(CLAIM, {"metadata": {"finalizers": None}}).code == 200
    assert client.get(CLAIM).code == 404


def test_no_finalizer_can_be_added_to_a_deleted_object(client: Client) -> None:
    """Adding a finalizer to a deleted object is 422."""
    client.create(NODE_CLAIMS, node_claim(client.namespace, finalizers=["f.example/x"]))
    client.delete(CLAIM)
    answer = client.merge_patch(CLAIM, {"metadata": {"finalizers": ["f.example/x", "f.example/y"]}})
    assert answer.refusal == (422, "Invalid")
    assert 'found new finalizers []string{"f.example/y"}' in answer.message
    client.merge_patch(CLAIM, {"metadata": {"finalizers": None}})


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_delete_checks_its_preconditions(client: Client, field: str) -> None:
    """A DELETE with a precondition that does not hold is 409 and deletes nothing."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.delete(f"{CONFIG_MAPS}/c", {"preconditions": {field: "0"}})
    assert answer.refusal == (409, "Conflict")
    assert client.get(f"{CONFIG_MAPS}/c").code == 200


def test_delete_with_the_right_preconditions_deletes(client: Client) -> None:
    """A DELETE whose preconditions hold deletes."""
    made = client.create(CONFIG_MAPS, config_map("c")).metadata
    expected = {"uid": made["uid"], "resourceVersion": made["resourceVersion"]}
    assert client.delete(f"{CONFIG_MAPS}/c", {"preconditions": expected}).code == 200
    assert client.get(f"{CONFIG_MAPS}/c").code == 404


def test_dry_run_answers_but_stores_nothing(client: Client) -> None:
    """`dryRun=All` answers as if and stores nothing, for every write."""
    assert client.post(f"{CONFIG_MAPS}?dryRun=All", config_map("c")).code == 201
    assert client.get(f"{CONFIG_MAPS}/c").code == 404
    client.create(CONFIG_MAPS, config_map("c", a="1"))
    assert client.merge_patch(f"{CONFIG_MAPS}/c?dryRun=All", {"data": {"a": "2"}}).json["data"] == {"a": "2"}
    assert client.put(f"{CONFIG_MAPS}/c?dryRun=All", config_map("c", a="3")).json["data"] == {"a": "3"}
    assert client.delete(f"{CONFIG_MAPS}/c?dryRun=All").code == 200
    assert client.get(f"{CONFIG_MAPS}/c").json["data"] == {"a": "1"}


def test_a_dry_run_of_anything_but_all_is_invalid(client: Client) -> None:
    """Any other value of `dryRun` is 422, not ignored."""
    answer = client.post(f"{CONFIG_MAPS}?dryRun=true", config_map("c"))
    assert answer.refusal == (422, "Invalid")
    assert 'dryRun: Unsupported value: ["true"]: supported values: "All"' in answer.message


def test_an_annotation_that_is_no_string_is_refused(client: Client) -> None:
    """An annotation that is a number is 400 when created and 422 when patched."""
    body = ingress()
    body["metadata"]["annotations"] = {"a": 1}
    assert client.post(INGRESSES, body).refusal == (400, "BadRequest")
    client.create(INGRESSES, ingress())
    assert client.merge_patch(SD21, {"metadata": {"annotations": {"a": 1}}}).refusal == (422, "Invalid")


def test_empty_maps_and_lists_are_not_stored(client: Client) -> None:
    """Empty annotations, labels and finalizers are left out of what is stored."""
    body = ingress()
    body["metadata"] |= {"annotations": {}, "finalizers": [], "labels": None}
    assert not {"annotations", "finalizers", "labels"} & client.create(INGRESSES, body).metadata.keys()


def test_empty_structs_are_stored(client: Client) -> None:
    """An `emptyDir: {}` is kept: it has a meaning."""
    body = pod()
    body["spec"]["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    assert client.create(PODS, body).json["spec"]["volumes"] == [{"name": "scratch", "emptyDir": {}}]


def test_a_body_may_be_yaml(client: Client) -> None:
    """A body may be YAML, and a time in it stays a string."""
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {at: '2026-01-01T00:00:00Z'}\n"
    answer = client.send("POST", CONFIG_MAPS, body, content_type="application/yaml")
    assert answer.json["data"] == {"at": "2026-01-01T00:00:00Z"}


def test_a_body_that_is_no_json_is_a_bad_request(client: Client) -> None:
    """A body that cannot be parsed is 400."""
    assert client.post(CONFIG_MAPS, b"{").refusal == (400, "BadRequest")


def test_a_body_of_an_unknown_type_is_refused(client: Client) -> None:
    """A body of an unknown content type is 415 UnsupportedMediaType."""
    client.create(CONFIG_MAPS, config_map("c"))
    for method, path in (("POST", CONFIG_MAPS), ("PUT", f"{CONFIG_MAPS}/c"), ("PATCH", f"{CONFIG_MAPS}/c")):
        answer = client.send(method, path, b"x", content_type="text/plain")
        assert answer.refusal == (415, "UnsupportedMediaType")
    assert (
        "accepted media types include: application/json, application/yaml"
        in client.send("POST", CONFIG_MAPS, b"x", content_type="x/y").message
    )


def test_a_method_that_does_not_fit_is_refused(client: Client) -> None:
    """A POST to an object and a PUT to a collection are 405."""
    client.create(CONFIG_MAPS, config_map("c"))
    assert client.post(f"{CONFIG_MAPS}/c", config_map("c")).refusal == (405, "MethodNotAllowed")
    assert client.put(CONFIG_MAPS, config_map("c")).refusal == (405, "MethodNotAllowed")


def test_an_answer_of_an_unknown_type_is_refused(client: Client) -> None:
    """Asking for an answer in HTML is 406 NotAcceptable."""
    assert client.send("GET", CONFIG_MAPS, headers={"Accept": "text/html"}).refusal == (406, "NotAcceptable")


def test_a_daemon_set_counts_its_specifications(client: Client) -> None:
    """The generation of a DaemonSet grows with its spec, not with labels and annotations as a Deployment's does with the latter."""
    path = DEPLOYMENTS.replace("deployments", "daemonsets")
    assert client.create(path, {**deployment("agent"), "kind": "DaemonSet"}).metadata["generation"] == 1
    named = f"{path}/agent"
    assert client.merge_patch(named, {"metadata": {"annotations": {"a": "1"}, "labels": {"a": "1"}}}).metadata["generation"] == 1
    assert client.merge_patch(named, {"spec": {"minReadySeconds": 5}}).metadata["generation"] == 2
