"""Server-side apply: ownership, conflicts, force and removal."""

from __future__ import annotations

import pytest

from controller.clock import ManualClock
from controller.embedded.kube_api import EmulatedKubeApi
from controller.embedded.kube_api.field_sets import decode, encode, merge, path_text
from controller.embedded.kube_api.field_types import type_of
from tests.embedded.kube_api.support import (
    APPLY_PATCH,
    CONFIG_MAPS,
    DEPLOYMENTS,
    INGRESSES,
    NODE_POOLS,
    SCALED_OBJECTS,
    SERVICES,
    Client,
    annotated,
    config_map,
    ingress,
    managers,
    scaled_object,
)

SD21 = f"{INGRESSES}/sd21"


def test_apply_creates_an_absent_object(client: Client) -> None:
    answer = client.apply(SD21, ingress(a="1"), manager="ours")
    assert answer.code == 201
    assert managers(answer.json) == {
        ("ours", "Apply", ""): {
            "f:metadata": {"f:annotations": {"f:a": {}}},
            "f:spec": {"f:ingressClassName": {}, "f:rules": {}},
        }
    }


def test_create_records_the_user_agent_as_manager(client: Client) -> None:
    created = client.post(INGRESSES, ingress(a="1")).json
    assert managers(created) == {
        ("tester", "Update", ""): {
            "f:metadata": {"f:annotations": {".": {}, "f:a": {}}},
            "f:spec": {".": {}, "f:ingressClassName": {}, "f:rules": {}},
        }
    }


def test_apply_owns_only_the_keys_it_names(client: Client) -> None:
    client.post(INGRESSES, ingress(theirs="1"))
    answer = client.apply(SD21, annotated(ours="2"), manager="ours")
    assert answer.code == 200
    assert answer.metadata["annotations"] == {"theirs": "1", "ours": "2"}
    assert managers(answer.json)["ours", "Apply", ""] == {"f:metadata": {"f:annotations": {"f:ours": {}}}}


def test_a_field_of_another_manager_conflicts(client: Client) -> None:
    client.apply(SD21, ingress(a="1"), manager="git")
    answer = client.apply(SD21, annotated(a="2"), manager="ours")
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"] == 'Apply failed with 1 conflict: conflict with "git": .metadata.annotations.a'
    assert answer.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "git"', "field": ".metadata.annotations.a"}
    ]


def test_several_conflicts_are_listed_by_manager(client: Client) -> None:
    client.post(INGRESSES, ingress(a="1", b="1"))
    answer = client.apply(SD21, annotated(a="2", b="2"), manager="ours")
    assert answer.json["message"] == (
        'Apply failed with 2 conflicts: conflicts with "tester" using networking.k8s.io/v1:\n'
        "- .metadata.annotations.a\n- .metadata.annotations.b"
    )


def test_the_same_value_is_owned_together(client: Client) -> None:
    client.apply(SD21, ingress(a="1"), manager="git")
    answer = client.apply(SD21, annotated(a="1"), manager="ours")
    assert answer.code == 200
    assert "f:a" in managers(answer.json)["git", "Apply", ""]["f:metadata"]["f:annotations"]
    assert "f:a" in managers(answer.json)["ours", "Apply", ""]["f:metadata"]["f:annotations"]


def test_force_takes_the_field_over(client: Client) -> None:
    client.apply(SD21, ingress(a="1", b="1"), manager="git")
    answer = client.apply(SD21, annotated(a="2"), manager="ours", force=True)
    assert answer.metadata["annotations"] == {"a": "2", "b": "1"}
    assert managers(answer.json)["git", "Apply", ""]["f:metadata"] == {"f:annotations": {"f:b": {}}}


def test_a_field_no_longer_applied_is_removed(client: Client) -> None:
    client.post(INGRESSES, ingress(theirs="1"))
    client.apply(SD21, annotated(ours="2", more="3"), manager="ours")
    answer = client.apply(SD21, annotated(ours="2"), manager="ours")
    assert answer.metadata["annotations"] == {"theirs": "1", "ours": "2"}


def test_a_map_that_removal_empties_goes_too(client: Client) -> None:
    client.post(INGRESSES, {"metadata": {"name": "sd21"}, "spec": {"rules": []}})
    client.apply(SD21, annotated(ours="2"), manager="ours")
    bare = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "sd21"}}
    assert "annotations" not in client.apply(SD21, bare, manager="ours").metadata


def test_a_field_shared_with_another_manager_stays(client: Client) -> None:
    client.apply(SD21, ingress(a="1"), manager="git")
    client.apply(SD21, annotated(a="1", b="2"), manager="ours")
    answer = client.apply(SD21, annotated(b="2"), manager="ours")
    assert answer.metadata["annotations"] == {"a": "1", "b": "2"}


def test_an_update_takes_fields_away_from_an_applier(client: Client) -> None:
    client.apply(SD21, ingress(a="1"), manager="ours")
    answer = client.merge_patch(SD21, {"metadata": {"annotations": {"a": "human"}}})
    assert managers(answer.json)["tester", "Update", ""] == {"f:metadata": {"f:annotations": {"f:a": {}}}}
    assert "f:metadata" not in managers(answer.json)["ours", "Apply", ""]


def test_applying_the_same_again_writes_nothing(client: Client, clock: ManualClock) -> None:
    first = client.apply(SD21, ingress(a="1"), manager="ours").json
    clock.advance(60)
    assert client.apply(SD21, ingress(a="1"), manager="ours").json == first


def test_applied_rules_of_an_ingress_are_one_value(client: Client) -> None:
    client.apply(SD21, ingress(), manager="ours")
    other = ingress()
    other["spec"] = {"rules": [{"host": "b.example"}]}
    answer = client.apply(SD21, other, manager="ours")
    assert answer.json["spec"] == {"rules": [{"host": "b.example"}]}


def test_a_stale_resource_version_conflicts(client: Client) -> None:
    version = client.post(INGRESSES, ingress()).metadata["resourceVersion"]
    client.merge_patch(SD21, {"metadata": {"annotations": {"a": "1"}}})
    config = annotated(b="2")
    config["metadata"]["resourceVersion"] = version
    answer = client.apply(SD21, config, manager="ours")
    assert answer.code == 409
    assert "the object has been modified" in answer.json["message"]


def test_the_current_resource_version_is_accepted(client: Client) -> None:
    config = annotated(b="2")
    config["metadata"]["resourceVersion"] = client.post(INGRESSES, ingress()).metadata["resourceVersion"]
    assert client.apply(SD21, config, manager="ours").code == 200


def test_apply_needs_a_field_manager(client: Client) -> None:
    answer = client.send("PATCH", SD21, ingress(), content_type=APPLY_PATCH)
    assert answer.code == 422
    assert answer.json["message"] == ('PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch')


def test_apply_takes_yaml(client: Client) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    assert client.send("PATCH", f"{CONFIG_MAPS}/c?fieldManager=ours", body, content_type=APPLY_PATCH).code == 201


def test_apply_refuses_managed_fields(client: Client) -> None:
    config = annotated(a="1")
    config["metadata"]["managedFields"] = []
    assert client.apply(SD21, config, manager="ours").json["message"] == "metadata.managedFields must be nil"


def test_apply_refuses_another_api_version(client: Client) -> None:
    answer = client.apply(SD21, annotated() | {"apiVersion": "networking.k8s.io/v1beta1"}, manager="ours")
    assert answer.code == 400
    assert answer.json["message"].startswith("Incorrect version specified in apply patch.")


def test_apply_refuses_nulls_as_unsupported(client: Client) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": None}}
    assert client.apply(f"{CONFIG_MAPS}/c", config, manager="ours").code == 501


def test_applying_one_trigger_field_replaces_the_whole_trigger_list(client: Client) -> None:
    """The trap of facts/keda.md: the scaler would be broken."""
    client.post(SCALED_OBJECTS, scaled_object())
    naive = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "sd21"},
        "spec": {"triggers": [{"type": "aws-cloudwatch", "metadata": {"targetMetricValue": "61"}}]},
    }
    answer = client.apply(f"{SCALED_OBJECTS}/sd21", naive, manager="ours", force=True)
    assert answer.json["spec"]["triggers"] == naive["spec"]["triggers"]  # type: ignore[index]


def test_applying_a_replica_floor_leaves_the_triggers_alone(client: Client) -> None:
    client.post(SCALED_OBJECTS, scaled_object())
    floor = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "sd21"},
        "spec": {"minReplicaCount": 4},
    }
    answer = client.apply(f"{SCALED_OBJECTS}/sd21", floor, manager="ours", force=True)
    assert answer.json["spec"] == scaled_object()["spec"] | {"minReplicaCount": 4}


def test_a_service_port_is_identified_by_number_and_protocol(client: Client) -> None:
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "web"}]}}
    client.post(SERVICES, body)
    config = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 9090, "name": "metrics"}]},
    }
    answer = client.apply(f"{SERVICES}/s", config, manager="ours")
    assert [port["port"] for port in answer.json["spec"]["ports"]] == [80, 9090]
    assert list(managers(answer.json)["ours", "Apply", ""]["f:spec"]["f:ports"]) == ['k:{"port":9090,"protocol":"TCP"}']


def test_a_container_no_longer_applied_is_removed(client: Client) -> None:
    def deployment(*containers: str) -> dict[str, object]:
        spec = {"template": {"spec": {"containers": [{"name": name, "image": "i"} for name in containers]}}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}

    client.apply(f"{DEPLOYMENTS}/d", deployment("main", "sidecar"), manager="ours")
    answer = client.apply(f"{DEPLOYMENTS}/d", deployment("main"), manager="ours")
    assert [item["name"] for item in answer.json["spec"]["template"]["spec"]["containers"]] == ["main"]


def _merged(plural: str, path: str, live: object, config: object) -> object:
    field_type = type_of(plural)
    for name in path.split("."):
        field_type = field_type.of_field(name)
    return merge(field_type, live, config)


@pytest.mark.parametrize(
    ("plural", "path", "key", "value"),
    [
        pytest.param("pods", "status.conditions", "type", "status", id="conditions"),
        pytest.param("nodes", "status.conditions", "type", "status", id="conditions of a node"),
        pytest.param("nodepools", "metadata.ownerReferences", "uid", "name", id="owners"),
        pytest.param("pods", "spec.initContainers", "name", "image", id="init containers"),
        pytest.param("deployments", "spec.template.spec.volumes", "name", "emptyDir", id="volumes"),
        pytest.param("deployments", "spec.template.spec.hostAliases", "ip", "hostnames", id="host aliases"),
    ],
)
def test_keyed_lists_are_merged_item_by_item(plural: str, path: str, key: str, value: str) -> None:
    live = [{key: "a", value: "1"}, {key: "b", value: "2"}]
    merged = _merged(plural, path, live, [{key: "b", value: "3"}])
    assert merged == [{key: "a", value: "1"}, {key: "b", value: "3"}]


def test_lists_inside_a_container_are_merged_by_their_own_keys() -> None:
    live = [{"name": "main", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}], "volumeMounts": [{"mountPath": "/a"}]}]
    config = [
        {
            "name": "main",
            "env": [{"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "web"}, {"containerPort": 80, "protocol": "UDP"}],
            "volumeMounts": [{"mountPath": "/a", "readOnly": True}],
        }
    ]
    assert _merged("deployments", "spec.template.spec.containers", live, config) == [
        {
            "name": "main",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "web"}, {"containerPort": 80, "protocol": "UDP"}],
            "volumeMounts": [{"mountPath": "/a", "readOnly": True}],
        }
    ]


@pytest.mark.parametrize(
    ("plural", "path", "live", "config"),
    [
        pytest.param("services", "spec.selector", {"a": "1"}, {"b": "2"}, id="selector of a service"),
        pytest.param("deployments", "spec.selector", {"matchLabels": {"a": "1"}}, {"matchLabels": {"b": "2"}}, id="label selector"),
        pytest.param("pods", "spec.nodeSelector", {"a": "1"}, {"b": "2"}, id="node selector"),
        pytest.param("events", "involvedObject", {"name": "a", "uid": "1"}, {"name": "b"}, id="object reference"),
        pytest.param("ingresses", "spec.defaultBackend.service.port", {"name": "a"}, {"number": 1}, id="backend port"),
        pytest.param("pods", "spec.tolerations", [{"key": "a"}], [{"key": "b"}], id="tolerations"),
        pytest.param("nodes", "spec.taints", [{"key": "a"}], [{"key": "b"}], id="taints"),
        pytest.param("endpointslices", "endpoints", [{"addresses": ["10.0.0.1"]}], [], id="endpoints"),
        pytest.param("nodepools", "status.conditions", [{"type": "a"}], [{"type": "b"}], id="conditions of a custom resource"),
    ],
)
def test_atomic_values_are_replaced_as_a_whole(plural: str, path: str, live: object, config: object) -> None:
    assert _merged(plural, path, live, config) == config


def test_a_map_that_another_manager_holds_stays_when_removal_empties_it(client: Client) -> None:
    path = f"{SCALED_OBJECTS}/sd21"
    body = scaled_object()
    body["spec"]["advanced"] = {"scalingModifiers": {}}
    client.post(SCALED_OBJECTS, body)

    def config(spec: dict[str, object]) -> dict[str, object]:
        return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "sd21"}, "spec": spec}

    client.apply(path, config({"advanced": {"scalingModifiers": {"target": "2"}}}), manager="ours")
    answer = client.apply(path, config({}), manager="ours")
    assert answer.json["spec"] == body["spec"]


def test_a_list_item_without_its_key_fails(client: Client) -> None:
    config = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"name": "x"}]}}
    answer = client.apply(f"{SERVICES}/s", config, manager="ours")
    assert answer.code == 500
    assert 'omits key field "port"' in answer.json["message"]


def test_finalizers_of_several_managers_add_up(client: Client) -> None:
    def claim(finalizer: str) -> dict[str, object]:
        metadata = {"name": "n", "finalizers": [finalizer]}
        return {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": metadata}

    client.apply(f"{NODE_POOLS}/n", claim("a.example/x"), manager="one")
    answer = client.apply(f"{NODE_POOLS}/n", claim("b.example/y"), manager="two")
    assert answer.metadata["finalizers"] == ["a.example/x", "b.example/y"]


def test_a_status_write_is_tracked_apart(client: Client) -> None:
    client.post(NODE_POOLS, {"metadata": {"name": "n"}, "spec": {}})
    answer = client.merge_patch(f"{NODE_POOLS}/n/status", {"status": {"nodes": 5}})
    assert managers(answer.json)["tester", "Update", "status"] == {"f:status": {".": {}, "f:nodes": {}}}


def test_applying_status_leaves_the_spec_alone(client: Client) -> None:
    client.post(NODE_POOLS, {"metadata": {"name": "n"}, "spec": {"weight": 1}})
    config = {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "n"},
        "spec": {"weight": 2},
        "status": {"nodes": 5},
    }
    answer = client.apply(f"{NODE_POOLS}/n/status", config, manager="ours")
    assert (answer.json["spec"], answer.json["status"]) == ({"weight": 1}, {"nodes": 5})
    assert managers(answer.json)["ours", "Apply", "status"] == {"f:status": {"f:nodes": {}}}


def test_old_updaters_are_merged_so_that_managed_fields_stay_bounded(api: EmulatedKubeApi, clock: ManualClock) -> None:
    api.store.create("ConfigMap", config_map("c", k="0"))
    for number in range(30):
        clock.advance(1)
        api.store.patch("ConfigMap", "c", {"data": {f"k{number}": "v"}}, manager=f"m{number}")
    entries = managers(api.store.get("ConfigMap", "c"))
    assert len(entries) == 10
    assert ("ancient-changes", "Update", "") in entries


def test_what_nobody_is_known_to_own_is_not_taken_silently(api: EmulatedKubeApi, client: Client) -> None:
    created = client.post(INGRESSES, ingress(a="1")).json
    created["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in client.put(SD21, created).metadata
    answer = client.apply(SD21, annotated(a="2"), manager="ours")
    assert answer.json["details"]["causes"][0]["message"] == ('conflict with "before-first-apply" using networking.k8s.io/v1')


def test_conflicts_name_shallow_fields_first(client: Client) -> None:
    def deployment(value: str) -> dict[str, object]:
        containers = [{"name": "main", "image": value}]
        spec = {"paused": value == "b", "template": {"spec": {"containers": containers, "hostname": value}}}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}

    client.apply(f"{DEPLOYMENTS}/d", deployment("a"), manager="git")
    answer = client.apply(f"{DEPLOYMENTS}/d", deployment("b"), manager="ours")
    assert [cause["field"] for cause in answer.json["details"]["causes"]] == [
        ".spec.paused",
        ".spec.template.spec.hostname",
        '.spec.template.spec.containers[name="main"].image',
    ]


def test_dry_run_shows_a_conflict_and_stores_nothing(client: Client) -> None:
    client.post(INGRESSES, ingress(a="1"))
    path = f"{SD21}?dryRun=All&fieldManager=ours"
    assert client.send("PATCH", path, annotated(a="2"), content_type=APPLY_PATCH).code == 409
    assert client.send("PATCH", f"{path}&force=true", annotated(a="2"), content_type=APPLY_PATCH).code == 200
    assert client.get(SD21).metadata["annotations"] == {"a": "1"}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        pytest.param(["a", "b"], ["c"], ["a", "b", "c"], id="new items come last"),
        pytest.param(["a", "b", "c"], ["c", "a"], ["b", "c", "a"], id="the applied order wins"),
        pytest.param(["a", "b"], ["b", "c"], ["a", "b", "c"], id="shared items anchor the rest"),
        pytest.param(["a", "b", "c"], ["b", "a"], ["b", "c", "a"], id="what has no anchor comes before the rest"),
        pytest.param([], ["a"], ["a"], id="from nothing"),
    ],
)
def test_the_order_of_a_merged_set(live: list[str], config: list[str], merged: list[str]) -> None:
    finalizers = type_of("nodepools").of_field("metadata").of_field("finalizers")
    assert merge(finalizers, live, config) == merged


def test_field_sets_survive_encoding() -> None:
    paths = frozenset({("f:spec", 'k:{"name":"x"}'), ("f:spec", 'k:{"name":"x"}', "f:image"), ("f:a", 'v:"y"')})
    assert decode(encode(paths)) == paths


def test_paths_read_as_in_conflict_messages() -> None:
    assert path_text(("f:spec", 'k:{"port":80,"protocol":"TCP"}', "f:name")) == '.spec[port=80,protocol="TCP"].name'
    assert path_text(("f:metadata", 'v:"x"')) == '.metadata[="x"]'
