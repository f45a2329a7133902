"""The status subresource."""

from __future__ import annotations

from tests.contract.support import CONFIG_MAPS, INGRESSES, NODE_POOLS, NODES, PODS, Client, config_map, ingress, managers, node_pool, pod

POOL = f"{NODE_POOLS}/{{namespace}}"


def test_a_write_to_the_object_cannot_change_its_status(client: Client) -> None:
    """What a write to the object says of its status is ignored."""
    client.create(NODE_POOLS, node_pool(client.namespace, weight=1) | {"status": {"nodes": 9}})
    answer = client.merge_patch(POOL, {"status": {"nodes": 5}, "spec": {"weight": 2}})
    assert "status" not in answer.json
    assert answer.json["spec"]["weight"] == 2


def test_a_write_to_the_status_changes_nothing_else(client: Client) -> None:
    """A write to the status of a custom resource changes neither spec nor labels nor generation."""
    client.create(NODE_POOLS, node_pool(client.namespace, weight=1))
    answer = client.merge_patch(f"{POOL}/status", {"status": {"nodes": 5}, "spec": {"weight": 2}, "metadata": {"labels": {"a": "b"}}})
    assert answer.json["status"] == {"nodes": 5}
    assert answer.json["spec"]["weight"] == 1
    assert "labels" not in answer.metadata
    assert answer.metadata["generation"] == 1


def test_a_write_to_the_status_is_under_compare_and_swap(client: Client) -> None:
    """A PUT to the status with a stale version is 409."""
    stale = client.create(NODE_POOLS, node_pool(client.namespace)).json
    assert client.put(f"{POOL}/status", stale | {"status": {"nodes": 1}}).code == 200
    assert client.put(f"{POOL}/status", stale | {"status": {"nodes": 2}}).refusal == (409, "Conflict")
    assert client.get(POOL).json["status"] == {"nodes": 1}


def test_the_status_of_an_ingress_is_its_load_balancers(client: Client) -> None:
    """The load-balancer controller's merge patch of an Ingress' status is stored and moves neither spec nor generation."""
    client.create(INGRESSES, ingress())
    patch = {"status": {"loadBalancer": {"ingress": [{"hostname": "a.elb.example"}]}}, "spec": {"ingressClassName": "other"}}
    answer = client.merge_patch(f"{INGRESSES}/sd21/status", patch)
    assert answer.json["status"] == patch["status"]
    assert answer.json["spec"]["ingressClassName"] == "alb"
    assert answer.metadata["generation"] == 1


def test_the_status_of_a_pod_is_its_kubelets(client: Client) -> None:
    """A kubelet's patch of a pod's status is stored and does not move the generation."""
    client.create(PODS, pod(node="n1"))
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-09-21T14:13:20Z"}
    answer = client.merge_patch(f"{PODS}/p1/status", {"status": {"phase": "Running", "conditions": [condition]}})
    assert answer.json["status"]["phase"] == "Running"
    assert answer.json["status"]["conditions"][0]["type"] == "Ready"
    assert answer.metadata["generation"] == 1


def test_a_node_may_be_created_with_its_status(client: Client) -> None:
    """A Node keeps the status that it is created with."""
    created = client.create(NODES, {"metadata": {"name": client.namespace}, "status": {"capacity": {"cpu": "4"}}}).json
    assert created["status"]["capacity"] == {"cpu": "4"}
    client.delete(f"{NODES}/{client.namespace}")


def test_a_kind_without_status_subresource_has_no_such_path(client: Client) -> None:
    """The status of a ConfigMap is 404."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.merge_patch(f"{CONFIG_MAPS}/c/status", {})
    assert answer.refusal == (404, "NotFound")
    assert answer.message == "the server could not find the requested resource"


def test_the_status_of_an_absent_object_is_not_found(client: Client) -> None:
    """Patching or applying the status of what does not exist is 404."""
    config = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": client.namespace}, "status": {"nodes": 5}}
    assert client.merge_patch(f"{POOL}/status", {"status": {}}).refusal == (404, "NotFound")
    assert client.apply(f"{POOL}/status", config, manager="ours").refusal == (404, "NotFound")


def test_a_status_write_is_tracked_apart(client: Client) -> None:
    """Who wrote the status is recorded apart from who wrote the rest."""
    client.create(NODE_POOLS, node_pool(client.namespace))
    answer = client.merge_patch(f"{POOL}/status", {"status": {"nodes": 5}})
    assert managers(answer.json)["tester", "Update", "status"] == {"f:status": {".": {}, "f:nodes": {}}}


def test_applying_status_leaves_the_spec_alone(client: Client) -> None:
    """An apply to the status changes and owns nothing but the status."""
    client.create(NODE_POOLS, node_pool(client.namespace, weight=1))
    answer = client.apply(f"{POOL}/status", node_pool(client.namespace, weight=2) | {"status": {"nodes": 5}}, manager="ours")
    assert (answer.json["spec"]["weight"], answer.json["status"]) == (1, {"nodes": 5})
    assert managers(answer.json)["ours", "Apply", "status"] == {"f:status": {"f:nodes": {}}}
