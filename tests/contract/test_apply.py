"""Server-side apply: creation, ownership, conflicts, force, removal and preconditions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.support import (
    APPLY_PATCH,
    CONFIG_MAPS,
    DEPLOYMENTS,
    INGRESSES,
    JSON_PATCH,
    NODE_CLAIMS,
    SCALED_OBJECTS,
    SERVICES,
    Client,
    Object,
    annotated,
    config_map,
    deployment,
    ingress,
    managers,
    node_claim,
    scaled_object,
)

SD21 = f"{INGRESSES}/sd21"
SCALED = f"{SCALED_OBJECTS}/sd21"
NETWORKING = "networking.k8s.io/v1"


def scaled(spec: Object) -> Object:
    """An apply configuration of a ScaledObject."""
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "sd21"}, "spec": spec}


def guarded(obj: Object, *fields: str, **annotations: str) -> Object:
    """An apply configuration of annotations that names what it expects to find."""
    config = annotated(**annotations)
    config["metadata"] |= {field: obj["metadata"][field] for field in fields}
    return config


def test_apply_creates_an_absent_object(client: Client) -> None:
    """Applying what does not exist creates it (201) and owns what was applied."""
    answer = client.apply(SD21, ingress(a="1"), manager="ours")
    assert answer.code == 201
    assert managers(answer.json) == {
        ("ours", "Apply", ""): {
            "f:metadata": {"f:annotations": {"f:a": {}}},
            "f:spec": {"f:ingressClassName": {}, "f:rules": {}},
        }
    }


def test_create_records_the_user_agent_as_manager(client: Client) -> None:
    """Without `fieldManager` an ordinary write is recorded for the user agent up to the slash."""
    created = client.create(INGRESSES, ingress(a="1")).json
    assert managers(created) == {
        ("tester", "Update", ""): {
            "f:metadata": {"f:annotations": {".": {}, "f:a": {}}},
            "f:spec": {"f:ingressClassName": {}, "f:rules": {}},
        }
    }


def test_applying_again_what_is_there_needs_a_fresh_version(client: Client) -> None:
    """A patch sent again after its answer was lost: with the version it was planned on 409, with the present one 200 and no new version."""
    created = client.create(INGRESSES, ingress(a="1")).json
    config = guarded(created, "uid", "resourceVersion", a="2")
    first = client.apply(SD21, config, manager="ours", force=True)
    assert (first.code, first.metadata["annotations"]) == (200, {"a": "2"})
    assert client.apply(SD21, config, manager="ours", force=True).refusal == (409, "Conflict")
    again = client.apply(SD21, guarded(first.json, "uid", "resourceVersion", a="2"), manager="ours", force=True)
    assert (again.code, again.metadata["resourceVersion"]) == (200, first.metadata["resourceVersion"])


def test_the_field_manager_of_an_ordinary_write_is_recorded(client: Client) -> None:
    """`fieldManager` names who made an ordinary write."""
    created = client.create(f"{CONFIG_MAPS}?fieldManager=ours", config_map("c", a="1")).json
    assert managers(created) == {("ours", "Update", ""): {"f:data": {".": {}, "f:a": {}}}}


def test_apply_owns_only_the_keys_it_names(client: Client) -> None:
    """Applying one annotation leaves the others alone and owns just that one."""
    client.create(INGRESSES, ingress(theirs="1"))
    answer = client.apply(SD21, annotated(ours="2"), manager="ours")
    assert answer.code == 200
    assert answer.metadata["annotations"] == {"theirs": "1", "ours": "2"}
    assert answer.json["spec"] == ingress()["spec"]
    assert managers(answer.json)["ours", "Apply", ""] == {"f:metadata": {"f:annotations": {"f:ours": {}}}}


def test_a_field_of_another_manager_conflicts(client: Client) -> None:
    """Applying another value to a field of another applier is 409 and names manager and field."""
    client.apply(SD21, ingress(a="1"), manager="git")
    answer = client.apply(SD21, annotated(a="2"), manager="ours")
    assert answer.refusal == (409, "Conflict")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "git": .metadata.annotations.a'
    assert answer.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "git"', "field": ".metadata.annotations.a"}
    ]
    assert client.get(SD21).metadata["annotations"] == {"a": "1"}


def test_several_conflicts_are_listed_by_manager(client: Client) -> None:
    """Several conflicts are listed under their manager, an updater with its API version."""
    client.create(INGRESSES, ingress(a="1", b="1"))
    answer = client.apply(SD21, annotated(a="2", b="2"), manager="ours")
    assert answer.message == (
        'Apply failed with 2 conflicts: conflicts with "tester" using networking.k8s.io/v1:\n'
        "- .metadata.annotations.a\n- .metadata.annotations.b"
    )


def test_conflicts_name_shallow_fields_first(client: Client) -> None:
    """Conflicts are listed with the shallow fields first."""

    def applied(value: str) -> Object:
        made = deployment(hostname=value)
        made["spec"]["paused"] = value == "b"
        made["spec"]["template"]["spec"]["containers"][0]["image"] = value
        return made

    client.apply(f"{DEPLOYMENTS}/d", applied("a"), manager="git")
    answer = client.apply(f"{DEPLOYMENTS}/d", applied("b"), manager="ours")
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == [
        ".spec.paused",
        ".spec.template.spec.hostname",
        '.spec.template.spec.containers[name="main"].image',
    ]


def test_the_same_value_is_owned_together(client: Client) -> None:
    """Applying the value that another applier has set makes both owners."""
    client.apply(SD21, ingress(a="1"), manager="git")
    answer = client.apply(SD21, annotated(a="1"), manager="ours")
    assert answer.code == 200
    assert "f:a" in managers(answer.json)["git", "Apply", ""]["f:metadata"]["f:annotations"]
    assert "f:a" in managers(answer.json)["ours", "Apply", ""]["f:metadata"]["f:annotations"]


def test_force_takes_the_field_over(client: Client) -> None:
    """`force` changes a field of another applier, who loses that field and keeps the rest."""
    client.apply(SD21, ingress(a="1", b="1"), manager="git")
    answer = client.apply(SD21, annotated(a="2"), manager="ours", force=True)
    assert answer.metadata["annotations"] == {"a": "2", "b": "1"}
    assert managers(answer.json)["git", "Apply", ""]["f:metadata"] == {"f:annotations": {"f:b": {}}}


def test_a_field_no_longer_applied_is_removed(client: Client) -> None:
    """What an applier applied before and does not apply now is removed."""
    client.create(INGRESSES, ingress(theirs="1"))
    client.apply(SD21, annotated(ours="2", more="3"), manager="ours")
    answer = client.apply(SD21, annotated(ours="2"), manager="ours")
    assert answer.metadata["annotations"] == {"theirs": "1", "ours": "2"}


def test_a_map_that_removal_empties_goes_too(client: Client) -> None:
    """Removing the last annotation leaves no empty map behind."""
    client.create(INGRESSES, ingress())
    client.apply(SD21, annotated(ours="2"), manager="ours")
    bare = {"apiVersion": NETWORKING, "kind": "Ingress", "metadata": {"name": "sd21"}}
    assert "annotations" not in client.apply(SD21, bare, manager="ours").metadata


def test_removing_the_last_key_of_a_map_that_another_holds_leaves_a_null(client: Client) -> None:
    """Removing the last key of a map that another manager wrote empty leaves null there, which a CRD refuses (422)."""
    body = scaled_object()
    body["spec"]["advanced"] = {"scalingModifiers": {}}
    client.create(SCALED_OBJECTS, body)
    client.apply(SCALED, scaled({"advanced": {"scalingModifiers": {"target": "2"}}}), manager="ours")
    answer = client.apply(SCALED, scaled({}), manager="ours")
    assert answer.refusal == (422, "Invalid")
    assert 'Invalid value: "null": spec.advanced.scalingModifiers in body must be of type object: "null"' in answer.message


def test_a_field_shared_with_another_manager_stays(client: Client) -> None:
    """A field that two appliers own stays when one of them no longer applies it."""
    client.apply(SD21, ingress(a="1"), manager="git")
    client.apply(SD21, annotated(a="1", b="2"), manager="ours")
    answer = client.apply(SD21, annotated(b="2"), manager="ours")
    assert answer.metadata["annotations"] == {"a": "1", "b": "2"}


def test_an_update_takes_fields_away_from_an_applier(client: Client) -> None:
    """An ordinary write that changes a field takes it away from its applier."""
    client.apply(SD21, ingress(a="1"), manager="ours")
    answer = client.merge_patch(SD21, {"metadata": {"annotations": {"a": "human"}}})
    assert managers(answer.json)["tester", "Update", ""] == {"f:metadata": {"f:annotations": {"f:a": {}}}}
    assert "f:metadata" not in managers(answer.json)["ours", "Apply", ""]


def test_what_an_update_took_over_conflicts(client: Client) -> None:
    """After a person edited our annotation, applying it again is a 409 that names their tool."""
    client.apply(SD21, ingress(a="1"), manager="ours")
    client.merge_patch(f"{SD21}?fieldManager=kubectl-edit", {"metadata": {"annotations": {"a": "human"}}})
    answer = client.apply(SD21, annotated(a="1"), manager="ours")
    assert answer.refusal == (409, "Conflict")
    assert answer.json["details"]["causes"][0]["message"] == 'conflict with "kubectl-edit" using networking.k8s.io/v1'


def test_applying_the_same_again_writes_nothing(client: Client) -> None:
    """Applying the same again writes nothing: version and times stay."""
    first = client.apply(SD21, ingress(a="1"), manager="ours").json
    assert client.apply(SD21, ingress(a="1"), manager="ours").json == first


def test_applied_rules_of_an_ingress_are_one_value(client: Client) -> None:
    """The rules of an Ingress are replaced as a whole."""
    client.apply(SD21, ingress(), manager="ours")
    other = ingress()
    other["spec"] = {"rules": [{"host": "b.example"}]}
    answer = client.apply(SD21, other, manager="ours")
    assert answer.json["spec"] == {"rules": [{"host": "b.example"}]}


def test_a_stale_resource_version_conflicts(client: Client) -> None:
    """Compare-and-swap: an apply that carries a stale version is 409, also with `force`."""
    stale = client.create(INGRESSES, ingress()).json
    client.merge_patch(SD21, {"metadata": {"annotations": {"a": "1"}}})
    for force in (False, True):
        answer = client.apply(SD21, guarded(stale, "resourceVersion", b="2"), manager="ours", force=force)
        assert answer.refusal == (409, "Conflict")
        assert "the object has been modified" in answer.message


def test_the_current_uid_and_resource_version_are_accepted(client: Client) -> None:
    """Compare-and-swap: an apply that carries the current uid and version is applied."""
    current = client.create(INGRESSES, ingress()).json
    assert client.apply(SD21, guarded(current, "uid", "resourceVersion", b="2"), manager="ours").code == 200


@pytest.mark.parametrize("fields", [("uid",), ("uid", "resourceVersion")], ids=" and ".join)
@pytest.mark.parametrize("query", ["", "&force=true", "&dryRun=All"], ids=["", "forced", "dry run"])
def test_an_apply_with_the_uid_of_a_deleted_object_creates_nothing(client: Client, fields: tuple[str, ...], query: str) -> None:
    """An apply that carries the uid of a deleted Ingress is 409 and creates no new one, forced or not."""
    gone = client.create(INGRESSES, ingress()).json
    client.delete(SD21)
    config = ingress(b="2")
    config["metadata"] |= {field: gone["metadata"][field] for field in fields}
    answer = client.send("PATCH", f"{SD21}?fieldManager=ours{query}", config, content_type=APPLY_PATCH)
    assert answer.refusal == (409, "Conflict")
    assert answer.message == (
        'Operation cannot be fulfilled on ingresses.networking.k8s.io "sd21": uid mismatch: the provided object specified uid '
        f"{gone['metadata']['uid']}, and no existing object was found"
    )
    assert client.get(SD21).code == 404


def test_an_apply_with_only_the_version_of_a_deleted_object_creates_a_new_one(client: Client) -> None:
    """A version alone does not keep an apply from creating what was deleted: it takes the uid."""
    gone = client.create(INGRESSES, ingress()).json
    client.delete(SD21)
    config = ingress(b="2")
    config["metadata"]["resourceVersion"] = gone["metadata"]["resourceVersion"]
    answer = client.apply(SD21, config, manager="ours")
    assert answer.code == 201
    assert answer.metadata["uid"] != gone["metadata"]["uid"]


def test_an_apply_with_the_uid_of_a_predecessor_is_refused(client: Client) -> None:
    """An apply that carries the uid of a predecessor is 422 alone, and 409 together with its version."""
    gone = client.create(INGRESSES, ingress()).json
    client.delete(SD21)
    client.create(INGRESSES, ingress())
    alone = client.apply(SD21, guarded(gone, "uid", b="2"), manager="ours")
    assert alone.refusal == (422, "Invalid")
    assert f'metadata.uid: Invalid value: "{gone["metadata"]["uid"]}": field is immutable' in alone.message
    both = client.apply(SD21, guarded(gone, "uid", "resourceVersion", b="2"), manager="ours", force=True)
    assert both.refusal == (409, "Conflict")
    assert "the object has been modified" in both.message
    assert "annotations" not in client.get(SD21).metadata


def test_apply_needs_a_field_manager(client: Client) -> None:
    """An apply without `fieldManager` is 422."""
    answer = client.send("PATCH", SD21, ingress(), content_type=APPLY_PATCH)
    assert answer.refusal == (422, "Invalid")
    assert answer.message == 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'


def test_apply_takes_yaml(client: Client) -> None:
    """An apply configuration may be YAML."""
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    answer = client.send("PATCH", f"{CONFIG_MAPS}/c?fieldManager=ours", body, content_type=APPLY_PATCH)
    assert (answer.code, answer.json["data"]) == (201, {"a": "1"})


def test_an_apply_that_creates_needs_the_name(client: Client) -> None:
    """An apply configuration without a name changes what exists and is 400 where nothing does."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}
    answer = client.apply(f"{CONFIG_MAPS}/c", config, manager="ours")
    assert answer.refusal == (400, "BadRequest")
    assert answer.message == "the name of the object (c based on URL) was undeterminable: name must be provided"
    client.create(CONFIG_MAPS, config_map("c"))
    assert client.apply(f"{CONFIG_MAPS}/c", config, manager="ours").json["data"] == {"a": "1"}


def test_apply_refuses_another_name_than_the_path(client: Client) -> None:
    """An apply configuration with another name than the path is 400."""
    answer = client.apply(f"{CONFIG_MAPS}/c", config_map("d", a="1"), manager="ours")
    assert answer.refusal == (400, "BadRequest")
    assert answer.message == "the name of the object (d) does not match the name on the URL (c)"


def test_apply_refuses_managed_fields(client: Client) -> None:
    """An apply configuration with managedFields is 400."""
    client.create(INGRESSES, ingress())
    config = annotated(a="1")
    config["metadata"]["managedFields"] = []
    answer = client.apply(SD21, config, manager="ours")
    assert (answer.refusal, answer.message) == ((400, "BadRequest"), "metadata.managedFields must be nil")


@pytest.mark.parametrize("change", [{"apiVersion": "networking.k8s.io/v2"}, {"kind": "Pod"}], ids=["version", "kind"])
def test_apply_refuses_another_type_than_the_path(client: Client, change: dict[str, Any]) -> None:
    """An apply configuration of another kind or API version than the path is 400."""
    answer = client.apply(SD21, ingress() | change, manager="ours")
    assert answer.refusal == (400, "BadRequest")
    assert answer.message.startswith("invalid object type: networking.k8s.io/v")


def test_applying_one_trigger_field_replaces_the_whole_trigger_list(client: Client) -> None:
    """The triggers of a ScaledObject are one value: applying one of their fields drops the others."""
    client.create(SCALED_OBJECTS, scaled_object())
    naive = [{"type": "aws-cloudwatch", "metadata": {"targetMetricValue": "61"}}]
    answer = client.apply(SCALED, scaled({"scaleTargetRef": {"name": "sd21"}, "triggers": naive}), manager="ours", force=True)
    assert answer.json["spec"]["triggers"] == naive


def test_applying_a_replica_floor_leaves_the_triggers_alone(client: Client) -> None:
    """Applying the floor of a ScaledObject leaves its triggers alone."""
    client.create(SCALED_OBJECTS, scaled_object())
    answer = client.apply(SCALED, scaled({"minReplicaCount": 4}), manager="ours", force=True)
    assert answer.json["spec"] == scaled_object()["spec"] | {"minReplicaCount": 4}


@pytest.mark.parametrize("then", ["deleted", "created again", "changed"])
def test_a_floor_with_the_uid_and_version_of_another_state_is_refused(then: str, client: Client) -> None:
    """A custom resource is fenced as an Ingress is: 409, forced or not, and nothing is created or changed."""
    seen = client.create(SCALED_OBJECTS, scaled_object()).json
    floor = scaled({"minReplicaCount": 4})
    floor["metadata"] |= {field: seen["metadata"][field] for field in ("uid", "resourceVersion")}
    if then == "changed":
        client.json_patch(SCALED, {"op": "replace", "path": "/spec/minReplicaCount", "value": 9})
    else:
        client.delete(SCALED)
    if then == "created again":
        client.create(SCALED_OBJECTS, scaled_object())
    before = client.get(SCALED)
    assert client.apply(SCALED, floor, manager="ours", force=True).refusal == (409, "Conflict")
    after = client.get(SCALED)
    assert (after.code, after.json.get("spec")) == (before.code, before.json.get("spec"))


def test_the_uid_of_a_predecessor_fails_the_test_of_a_json_patch(client: Client) -> None:
    """As any failed test: 422, and nothing is changed."""
    seen = client.create(SCALED_OBJECTS, scaled_object()).json
    client.delete(SCALED)
    created = client.create(SCALED_OBJECTS, scaled_object()).json
    test = {"op": "test", "path": "/metadata/uid", "value": seen["metadata"]["uid"]}
    change = {"op": "replace", "path": "/spec/minReplicaCount", "value": 4}
    assert client.json_patch(SCALED, test, change).refusal == (422, "Invalid")
    assert client.get(SCALED).json["spec"] == created["spec"]
    assert client.json_patch(SCALED, test | {"value": created["metadata"]["uid"]}, change).code == 200


def floor_and_target(seen: Object) -> list[Object]:
    """One JSON patch of both, under the conditions under which the controller writes them."""
    fences = [{"op": "test", "path": f"/metadata/{field}", "value": seen["metadata"][field]} for field in ("uid", "resourceVersion")]
    trigger = "/spec/triggers/0"
    return [
        *fences,
        {"op": "add", "path": "/spec/minReplicaCount", "value": 4},
        {"op": "test", "path": f"{trigger}/type", "value": "aws-cloudwatch"},
        {"op": "replace", "path": f"{trigger}/metadata/targetMetricValue", "value": "61"},
    ]


def test_a_json_patch_takes_a_floor_over_from_its_applier(client: Client) -> None:
    """One JSON patch writes floor and target of a ScaledObject; its manager owns the floor then, and who applied it does not."""
    seen = client.apply(SCALED, scaled({**scaled_object()["spec"], "minReplicaCount": 1}), manager="git").json
    answer = client.send("PATCH", f"{SCALED}?fieldManager=ours", floor_and_target(seen), content_type=JSON_PATCH)
    spec = answer.json["spec"]
    assert (answer.code, spec["minReplicaCount"], spec["triggers"][0]["metadata"]["targetMetricValue"]) == (200, 4, "61")
    assert int(answer.metadata["resourceVersion"]) > int(seen["metadata"]["resourceVersion"])
    owners = managers(answer.json)
    assert "f:minReplicaCount" in owners["ours", "Update", ""]["f:spec"]
    assert "f:minReplicaCount" not in owners["git", "Apply", ""]["f:spec"]


@pytest.mark.parametrize(
    ("then", "refusal"),
    [("deleted", (404, "NotFound")), ("created again", (422, "Invalid")), ("changed", (422, "Invalid"))],
)
def test_a_json_patch_of_another_state_is_refused(then: str, refusal: tuple[int, str], client: Client) -> None:
    """A JSON patch that tests uid and resourceVersion changes nothing, and creates nothing, where another state is found."""
    seen = client.create(SCALED_OBJECTS, scaled_object()).json
    if then == "changed":
        client.json_patch(SCALED, {"op": "replace", "path": "/spec/maxReplicaCount", "value": 9})
    else:
        client.delete(SCALED)
    if then == "created again":
        client.create(SCALED_OBJECTS, scaled_object())
    before = client.get(SCALED)
    assert client.json_patch(SCALED, *floor_and_target(seen)).refusal == refusal
    after = client.get(SCALED)
    assert (after.code, after.json.get("spec")) == (before.code, before.json.get("spec"))


def test_a_service_port_is_identified_by_number_and_protocol(client: Client) -> None:
    """Ports of a Service are merged by number and protocol, which is TCP by default."""
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "web", "targetPort": 80}]}}
    client.create(SERVICES, body)
    config = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 9090, "name": "metrics"}]},
    }
    answer = client.apply(f"{SERVICES}/s", config, manager="ours")
    assert [port["port"] for port in answer.json["spec"]["ports"]] == [80, 9090]
    assert list(managers(answer.json)["ours", "Apply", ""]["f:spec"]["f:ports"]) == ['k:{"port":9090,"protocol":"TCP"}']


def test_a_list_item_without_its_key_fails(client: Client) -> None:
    """Applying a port without its number is 422 and says which key is missing."""
    config = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"name": "x"}]}}
    answer = client.apply(f"{SERVICES}/s", config, manager="ours")
    assert answer.refusal == (422, "Invalid")
    assert "port" in answer.message


def test_a_container_no_longer_applied_is_removed(client: Client) -> None:
    """Containers are merged by name, and one that is no longer applied is removed."""
    client.apply(f"{DEPLOYMENTS}/d", deployment("d", "main", "sidecar"), manager="ours")
    answer = client.apply(f"{DEPLOYMENTS}/d", deployment("d", "main"), manager="ours")
    assert [item["name"] for item in answer.json["spec"]["template"]["spec"]["containers"]] == ["main"]


def test_finalizers_of_several_managers_add_up(client: Client) -> None:
    """Finalizers are a set: those of several appliers add up."""
    path = f"{NODE_CLAIMS}/{client.namespace}"
    client.apply(path, node_claim(client.namespace, finalizers=["a.example/x"]), manager="one")
    answer = client.apply(path, node_claim(client.namespace, finalizers=["b.example/y"]), manager="two")
    assert answer.metadata["finalizers"] == ["a.example/x", "b.example/y"]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        pytest.param("ab", "c", "abc", id="new items come last"),
        pytest.param("abc", "ca", "bca", id="the applied order wins"),
        pytest.param("ab", "bc", "abc", id="shared items anchor the rest"),
        pytest.param("abc", "ba", "bca", id="what has no anchor comes before the rest"),
        pytest.param("", "a", "a", id="from nothing"),
    ],
)
def test_the_order_of_merged_finalizers(client: Client, live: str, config: str, merged: str) -> None:
    """The order of a set that is merged: applied items keep their order, others stay before the item they stood before."""
    path = f"{NODE_CLAIMS}/{client.namespace}"
    client.create(NODE_CLAIMS, node_claim(client.namespace, finalizers=[f"x.example/{letter}" for letter in live]))
    answer = client.apply(path, node_claim(client.namespace, finalizers=[f"x.example/{letter}" for letter in config]), manager="ours")
    assert answer.metadata["finalizers"] == [f"x.example/{letter}" for letter in merged]


def test_the_selector_of_a_service_is_one_value(client: Client) -> None:
    """The selector of a Service is replaced as a whole, and conflicts as a whole."""

    def selecting(**labels: str) -> Object:
        spec = {"selector": labels, "ports": [{"port": 80}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}

    client.apply(f"{SERVICES}/s", selecting(a="1"), manager="git")
    answer = client.apply(f"{SERVICES}/s", selecting(b="2"), manager="ours")
    assert answer.message == 'Apply failed with 1 conflict: conflict with "git": .spec.selector'
    assert client.apply(f"{SERVICES}/s", selecting(b="2"), manager="ours", force=True).json["spec"]["selector"] == {"b": "2"}


def test_what_nobody_is_known_to_own_is_not_taken_silently(client: Client) -> None:
    """An object without managedFields belongs to "before-first-apply": applying another value is 409."""
    created = client.create(INGRESSES, ingress(a="1")).json
    created["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in client.put(SD21, created).metadata
    answer = client.apply(SD21, annotated(a="2"), manager="ours")
    assert answer.json["details"]["causes"][0]["message"] == 'conflict with "before-first-apply" using networking.k8s.io/v1'


def test_dry_run_shows_a_conflict_and_stores_nothing(client: Client) -> None:
    """A dry run of an apply shows the conflict, or the result, and stores nothing."""
    client.create(INGRESSES, ingress(a="1"))
    path = f"{SD21}?dryRun=All&fieldManager=ours"
    assert client.send("PATCH", path, annotated(a="2"), content_type=APPLY_PATCH).code == 409
    forced = client.send("PATCH", f"{path}&force=true", annotated(a="2"), content_type=APPLY_PATCH)
    assert (forced.code, forced.metadata["annotations"]) == (200, {"a": "2"})
    assert client.get(SD21).metadata["annotations"] == {"a": "1"}
