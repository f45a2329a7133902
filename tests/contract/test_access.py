"""Permissions, missing resources, and discovery."""

from __future__ import annotations

import pytest

from tests.contract.servers import Server, rule
from tests.contract.support import (
    CONFIG_MAPS,
    EVENTS,
    INGRESSES,
    NODE_CLAIMS,
    NODE_POOLS,
    PODS,
    SCALED_OBJECTS,
    TARGET_GROUP_BINDINGS,
    Client,
    annotated,
    config_map,
    ingress,
)

SD21 = f"{INGRESSES}/sd21"
PATCHER = rule("networking.k8s.io", "ingresses", "get", "patch")


def user(client: Client, name: str) -> str:
    return f"system:serviceaccount:{client.namespace}:{name}"


def test_an_unknown_token_is_unauthorized(client: Client) -> None:
    """An unknown token is 401 Unauthorized for every request."""
    for path in (PODS, "/apis", "/version", "/apis/nothing.example/v1/things"):
        answer = client.with_token("unknown").get(path)
        assert (answer.refusal, answer.message) == ((401, "Unauthorized"), "Unauthorized")


def test_no_token_is_anonymous(client: Client) -> None:
    """Without a token the caller is `system:anonymous`, whom a 403 names."""
    answer = client.with_token(None).get(PODS)
    assert answer.refusal == (403, "Forbidden")
    assert answer.message == (
        f'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "{client.namespace}"'
    )
    assert answer.json["details"] == {"kind": "pods"}


def test_discovery_is_not_for_the_anonymous(client: Client) -> None:
    """Without a token discovery is 403, which names the path."""
    answer = client.with_token(None).get("/apis")
    assert answer.refusal == (403, "Forbidden")
    assert answer.message == 'forbidden: User "system:anonymous" cannot get path "/apis"'


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
def test_health_needs_no_token(client: Client, path: str) -> None:
    """Health is answered `ok` without a token."""
    for asking in (client, client.with_token(None)):
        answer = asking.get(path)
        assert (answer.code, answer.data) == (200, b"ok")


def test_the_version_needs_no_token(client: Client) -> None:
    """The version is answered without a token."""
    found = client.with_token(None).get("/version").json
    assert (found["major"], found["minor"]) == ("1", "36")


def test_a_reader_may_read_but_not_write(server: Server, client: Client) -> None:
    """Get, list and watch let read and watch; a write is 403 with user, verb, resource, group and namespace."""
    reader = server.account("reader", rule("", "configmaps", "get", "list", "watch"))
    client.create(CONFIG_MAPS, config_map("c"))
    assert reader.get(CONFIG_MAPS).names == ["c"]
    with reader.watch(CONFIG_MAPS) as events:
        assert next(events)["type"] == "ADDED"
    answer = reader.post(CONFIG_MAPS, config_map("d"))
    assert answer.refusal == (403, "Forbidden")
    assert answer.message == (
        f'configmaps is forbidden: User "{user(client, "reader")}" cannot create resource "configmaps" in API group "" '
        f'in the namespace "{client.namespace}"'
    )


def test_a_refusal_names_the_object(server: Server, client: Client) -> None:
    """A 403 about one object names it, in the message and in the details."""
    answer = server.account("nobody").apply(SD21, ingress(), manager="ours")
    assert answer.refusal == (403, "Forbidden")
    assert answer.message == (
        f'ingresses.networking.k8s.io "sd21" is forbidden: User "{user(client, "nobody")}" cannot patch resource "ingresses" '
        f'in API group "networking.k8s.io" in the namespace "{client.namespace}"'
    )
    assert answer.json["details"] == {"name": "sd21", "group": "networking.k8s.io", "kind": "ingresses"}


def test_cluster_scoped_refusals_say_so(server: Server, client: Client) -> None:
    """A 403 about a cluster-scoped resource, or about all namespaces, says "at the cluster scope"."""
    nobody = server.account("nobody")
    assert nobody.get(NODE_POOLS).message == (
        f'nodepools.karpenter.sh is forbidden: User "{user(client, "nobody")}" cannot list resource "nodepools" '
        'in API group "karpenter.sh" at the cluster scope'
    )
    assert nobody.get("/api/v1/events").message.endswith('cannot list resource "events" in API group "" at the cluster scope')


def test_a_role_allows_what_it_lists(server: Server, client: Client) -> None:
    """A Role with get and patch allows an apply, and neither a list nor the status."""
    client.create(INGRESSES, ingress())
    account = server.account("patcher", PATCHER)
    assert account.apply(SD21, annotated(a="1"), manager="ours").code == 200
    assert account.get(INGRESSES).refusal == (403, "Forbidden")
    assert account.merge_patch(f"{SD21}/status", {}).message == (
        f'ingresses.networking.k8s.io "sd21" is forbidden: User "{user(client, "patcher")}" cannot patch resource "ingresses/status" '
        f'in API group "networking.k8s.io" in the namespace "{client.namespace}"'
    )


def test_a_role_reaches_no_further_than_its_namespace(server: Server, client: Client) -> None:
    """A Role holds in its namespace only."""
    account = server.account("patcher", rule("", "events", "list"))
    assert account.get(EVENTS).code == 200
    assert account.in_namespace("default").get(EVENTS).refusal == (403, "Forbidden")
    assert account.get("/api/v1/events").refusal == (403, "Forbidden")


def test_a_cluster_role_reaches_everywhere(server: Server) -> None:
    """A ClusterRole holds everywhere."""
    account = server.account("watcher", rule("", "events", "list"), rule("karpenter.sh", "nodepools", "list"), everywhere=True)
    for path in ("/api/v1/events", EVENTS, NODE_POOLS):
        assert account.get(path).code == 200


def test_a_role_may_name_its_objects(server: Server, client: Client) -> None:
    """A rule with resourceNames covers those objects, and no list."""
    for name in ("ours", "theirs"):
        client.create(CONFIG_MAPS, config_map(name))
    account = server.account("narrow", rule("", "configmaps", "get", "list", resourceNames=["ours"]))
    assert account.get(f"{CONFIG_MAPS}/ours").code == 200
    assert account.get(f"{CONFIG_MAPS}/theirs").refusal == (403, "Forbidden")
    assert account.get(CONFIG_MAPS).refusal == (403, "Forbidden")


def test_a_rule_with_names_covers_a_watch_of_that_name(server: Server, client: Client) -> None:
    """A rule with resourceNames covers a list and a watch that select that one name."""
    client.create(CONFIG_MAPS, config_map("ours"))
    account = server.account("narrow", rule("", "configmaps", "get", "list", "watch", resourceNames=["ours"]))
    assert account.get(f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dours").names == ["ours"]
    with account.watch(CONFIG_MAPS, "&fieldSelector=metadata.name%3Dours") as events:
        assert next(events)["type"] == "ADDED"


def test_apply_of_an_absent_object_needs_the_right_to_create(server: Server) -> None:
    """Applying what does not exist needs the right to create as well as to patch."""
    answer = server.account("patcher", PATCHER).apply(SD21, ingress(), manager="ours")
    assert answer.refusal == (403, "Forbidden")
    assert 'cannot create resource "ingresses"' in answer.message


def test_a_group_that_is_not_installed_is_not_found(client: Client) -> None:
    """A resource of an API group that is not installed is 404 in plain text, without a Status."""
    answer = client.get("/apis/nothing.example/v1/things")
    assert (answer.code, answer.data) == (404, b"404 page not found\n")
    assert answer.headers["content-type"].startswith("text/plain")


def test_an_unknown_resource_of_a_custom_group_is_not_found(client: Client) -> None:
    """A resource that a custom group does not have is 404 in plain text."""
    answer = client.get("/apis/karpenter.sh/v1/things")
    assert (answer.code, answer.data) == (404, b"404 page not found\n")


def test_permission_comes_before_existence(server: Server, client: Client) -> None:
    """Without permission, a resource that is not installed is 403, not 404."""
    answer = server.account("nobody").get("/apis/nothing.example/v1/things")
    assert answer.refusal == (403, "Forbidden")
    assert answer.message == (
        f'things.nothing.example is forbidden: User "{user(client, "nobody")}" cannot list resource "things" '
        'in API group "nothing.example" at the cluster scope'
    )


def test_discovery_lists_resources(client: Client) -> None:
    """Discovery lists groups, resources and their status subresources."""
    assert client.get("/api").json["versions"] == ["v1"]
    listed = {item["name"]: item for item in client.get("/apis/keda.sh/v1alpha1").json["resources"]}
    assert (listed["scaledobjects"]["kind"], listed["scaledobjects"]["namespaced"]) == ("ScaledObject", True)
    assert "scaledobjects/status" in listed
    assert listed["scaledobjects"]["shortNames"] == ["so"]
    short = {item["name"]: item.get("shortNames") for item in client.get("/api/v1").json["resources"]}
    assert [short[plural] for plural in ("configmaps", "events", "nodes", "pods", "services")] == [["cm"], ["ev"], ["no"], ["po"], ["svc"]]
    assert "pods" in {item["name"] for item in client.get("/api/v1").json["resources"]}
    assert {"apps", "karpenter.sh", "networking.k8s.io"} <= {item["name"] for item in client.get("/apis").json["groups"]}


def test_any_account_may_discover(server: Server) -> None:
    """An account without any role may use discovery."""
    assert server.account("nobody").get("/apis/karpenter.sh/v1").code == 200


def test_custom_resources_are_in_their_group(client: Client) -> None:
    """The custom resources that we use are served at the versions that we use."""
    for path in (NODE_POOLS, SCALED_OBJECTS, TARGET_GROUP_BINDINGS, NODE_CLAIMS):
        assert client.get(path).code == 200
