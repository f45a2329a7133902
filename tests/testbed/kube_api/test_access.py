"""Identities, audit, injected failures, groups left out, and what is refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes import client as official
from kubernetes import config as official_config

from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import READ_ONLY, Access, EmulatedKubeApi, Identity
from tests.contract.support import (
    APPLY_PATCH,
    CONFIG_MAPS,
    INGRESSES,
    MERGE_PATCH,
    NODE_POOLS,
    PODS,
    Client,
    annotated,
    config_map,
    ingress,
)
from tests.testbed.kube_api.support import START, client_of


def denies_secrets_of_the_trade(access: Access) -> bool:
    return access.resource == "ingresses" and access.verb == "patch" and access.name == "sd21"


@pytest.fixture
def guarded() -> Iterator[EmulatedKubeApi]:
    tokens = {
        "admin": Identity("admin"),
        "reader": Identity("reader", READ_ONLY),
        "denied": Identity("x", deny=denies_secrets_of_the_trade),
    }
    with EmulatedKubeApi(ManualClock(START), tokens=tokens) as api:
        yield api


def test_a_single_permission_can_be_taken_away(guarded: EmulatedKubeApi, pool: urllib3.PoolManager) -> None:
    answer = client_of(guarded, pool, "denied").apply(f"{INGRESSES}/sd21", ingress(), manager="ours")
    assert answer.json["message"] == (
        'ingresses.networking.k8s.io "sd21" is forbidden: User "x" cannot patch resource "ingresses" '
        'in API group "networking.k8s.io" in the namespace "default"'
    )
    assert answer.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses"}


def test_the_audit_log_keeps_the_body_byte_for_byte(guarded: EmulatedKubeApi, pool: urllib3.PoolManager) -> None:
    body = b'{ "apiVersion":"networking.k8s.io/v1",  "kind":"Ingress","metadata":{"name":"sd21"}}'
    client_of(guarded, pool).send("PATCH", f"{INGRESSES}/sd21?fieldManager=ours", body, content_type=APPLY_PATCH)
    (record,) = guarded.audit.records(verb="patch", resource="ingresses")
    assert record.body == body
    assert (record.user, record.code, record.content_type, record.time) == ("admin", 201, APPLY_PATCH, START)
    assert (record.access.group, record.access.namespace, record.access.name) == ("networking.k8s.io", "default", "sd21")


def test_the_audit_log_has_refused_requests_too(guarded: EmulatedKubeApi, pool: urllib3.PoolManager) -> None:
    client_of(guarded, pool, "reader").delete(f"{PODS}/p1")
    assert [(item.user, item.code) for item in guarded.audit.records(verb="delete")] == [("reader", 403)]


def test_the_audit_log_is_bounded(pool: urllib3.PoolManager) -> None:
    with EmulatedKubeApi(audit_limit=3) as api:
        for number in range(5):
            client_of(api, pool).get(f"{PODS}/p{number}")
        assert [item.access.name for item in api.audit.records()] == ["p2", "p3", "p4"]


def test_a_group_left_out_answers_like_a_missing_crd(pool: urllib3.PoolManager) -> None:
    with EmulatedKubeApi(without_groups={"karpenter.sh"}) as api:
        answer = client_of(api, pool).get(NODE_POOLS)
        groups = [item["name"] for item in client_of(api, pool).get("/apis").json["groups"]]
    assert (answer.code, answer.data) == (404, b"404 page not found\n")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "karpenter.sh" not in groups


def test_a_group_shows_all_its_versions_and_prefers_the_stable_one(pool: urllib3.PoolManager) -> None:
    with EmulatedKubeApi() as api:
        group = client_of(api, pool).get("/apis/karpenter.sh").json
    assert [one["version"] for one in group["versions"]] == ["v1", "v1alpha1"]
    assert group["preferredVersion"]["groupVersion"] == "karpenter.sh/v1"


def test_only_known_groups_can_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"typo\.sh"):
        EmulatedKubeApi(without_groups={"typo.sh"})


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/api/v1/namespaces/default/secrets", id="core kind"),
        pytest.param("/apis/batch/v1/jobs", id="other group"),
        pytest.param("/apis/apps/v1/controllerrevisions", id="other kind of a served group"),
        pytest.param(f"{PODS}/p1/log", id="subresource"),
        pytest.param(f"{PODS}?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan", id="watch without initial events"),
        pytest.param(f"{PODS}?resourceVersion=1&resourceVersionMatch=Exact", id="exact list"),
        pytest.param("/openapi/v3", id="schema"),
    ],
)
def test_what_a_real_server_has_and_this_one_does_not_is_refused(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.code, answer.json["reason"]) == (501, "NotImplemented")
    assert answer.json["message"].startswith("the emulated Kubernetes API does not support ")


def test_strategic_merge_patches_are_refused(client: Client) -> None:
    client.post(INGRESSES, ingress())
    answer = client.send("PATCH", f"{INGRESSES}/sd21", {}, content_type="application/strategic-merge-patch+json")
    assert (answer.code, answer.json["reason"]) == (415, "UnsupportedMediaType")
    assert "strategic-merge-patch" in answer.json["message"]


def test_strict_validation_is_refused(client: Client) -> None:
    """The emulator has no schemas."""
    for answer in (
        client.post(f"{CONFIG_MAPS}?fieldValidation=Strict", config_map("c")),
        client.put(f"{CONFIG_MAPS}/c?fieldValidation=Strict", config_map("c")),
        client.send("PATCH", f"{CONFIG_MAPS}/c?fieldValidation=Strict", {}, content_type=MERGE_PATCH),
    ):
        assert answer.refusal == (501, "NotImplemented")


def test_protobuf_bodies_are_refused(client: Client) -> None:
    assert client.send("POST", PODS, b"x", content_type="application/vnd.kubernetes.protobuf").code == 415


def test_tables_are_refused(client: Client) -> None:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    assert client.send("GET", PODS, headers=headers).code == 406


@pytest.mark.parametrize("operation", ["move", "copy"])
def test_other_json_patch_operations_are_refused(client: Client, operation: str) -> None:
    client.post(CONFIG_MAPS, config_map("c", a="1"))
    change = {"op": operation, "from": "/data/a", "path": "/data/b"}
    assert client.json_patch(f"{CONFIG_MAPS}/c", change).code == 501


def test_deleting_collections_namespaces_and_dependents_is_refused(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c"))
    assert client.delete(CONFIG_MAPS).code == 501
    assert client.delete("/api/v1/namespaces/default").code == 501
    assert client.delete(f"{CONFIG_MAPS}/c", {"propagationPolicy": "Foreground"}).code == 501


def test_an_injected_throttle_says_when_to_come_back(api: EmulatedKubeApi, client: Client) -> None:
    api.fail_next(1, status=429, retry_after_s=7)
    answer = client.get(PODS)
    assert (answer.code, answer.headers["retry-after"]) == (429, "7")
    assert client.get(PODS).code == 200


def test_injected_failures_hit_only_what_matches(api: EmulatedKubeApi, client: Client) -> None:
    api.fail_next(2, status=409, matcher=lambda access: access.verb == "patch")
    client.post(INGRESSES, ingress())
    codes = [client.apply(f"{INGRESSES}/sd21", annotated(a="1"), manager="ours").code for _ in range(3)]
    assert codes == [409, 409, 200]


def test_an_injected_error_is_a_status(api: EmulatedKubeApi, client: Client) -> None:
    api.fail_next(1, status=500)
    assert client.get(PODS).json["reason"] == "InternalError"


def test_a_kubeconfig_is_private_and_works(api: EmulatedKubeApi, tmp_path: Path) -> None:
    path = api.kubeconfig("admin", tmp_path / "config")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with official_config.new_client_from_config(str(path)) as connection:  # type: ignore[no-untyped-call]
        core: Any = official.CoreV1Api(connection)
        networking: Any = official.NetworkingV1Api(connection)
        core.create_namespaced_config_map("default", config_map("c", a="1"))
        applied = networking.patch_namespaced_ingress("sd21", "default", ingress(a="1"), field_manager="ours", _content_type=APPLY_PATCH)
        listed = core.list_config_map_for_all_namespaces()
    assert applied.metadata.annotations == {"a": "1"}
    assert [item.metadata.name for item in listed.items] == ["c"]


def test_a_server_starts_once_and_stops_twice() -> None:
    api = EmulatedKubeApi()
    api.start()
    with pytest.raises(RuntimeError):
        api.start()
    api.stop()
    api.stop()


def test_two_servers_with_one_seed_agree(pool: urllib3.PoolManager) -> None:
    answers = []
    for _ in range(2):
        with EmulatedKubeApi(ManualClock(START), seed=3) as api:
            answers.append(json.loads(client_of(api, pool).post(CONFIG_MAPS, {"metadata": {"generateName": "c-"}}).data))
    assert answers[0] == answers[1]
