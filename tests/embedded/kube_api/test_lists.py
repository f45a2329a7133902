"""Lists: shape, selectors and pages."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from controller.embedded.kube_api import EmulatedKubeApi
from tests.embedded.kube_api.support import CONFIG_MAPS, EVENTS, INGRESSES, NODE_CLAIMS, PODS, Client, config_map, pod


def names_of(client: Client, path: str, **query: str) -> list[str]:
    return client.get(f"{path}?" + "&".join(f"{key}={quote(value)}" for key, value in query.items())).names


def test_items_of_built_in_kinds_have_no_kind(client: Client) -> None:
    client.post(CONFIG_MAPS, config_map("c"))
    answer = client.get(CONFIG_MAPS).json
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in answer["items"][0]
    assert "apiVersion" not in answer["items"][0]


def test_items_of_custom_kinds_have_their_kind(client: Client) -> None:
    client.post(NODE_CLAIMS, {"metadata": {"name": "c"}})
    assert client.get(NODE_CLAIMS).json["items"][0]["kind"] == "NodeClaim"


def test_a_list_carries_the_version_to_watch_from(client: Client) -> None:
    version = client.post(CONFIG_MAPS, config_map("c")).metadata["resourceVersion"]
    assert client.get(CONFIG_MAPS).metadata == {"resourceVersion": version}


def test_a_list_covers_one_namespace_or_all(api: EmulatedKubeApi, client: Client) -> None:
    for namespace in ("b", "a"):
        api.store.create("ConfigMap", {"metadata": {"name": f"in-{namespace}", "namespace": namespace}})
    assert client.get("/api/v1/configmaps").names == ["in-a", "in-b"]
    assert client.get("/api/v1/namespaces/b/configmaps").names == ["in-b"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param("app=a", ["p1"], id="equal"),
        pytest.param("app==a", ["p1"], id="double equal"),
        pytest.param("app!=a", ["p2", "p3"], id="not equal covers absent"),
        pytest.param("app in (a, b)", ["p1", "p2"], id="in"),
        pytest.param("app notin (a)", ["p2", "p3"], id="notin covers absent"),
        pytest.param("app", ["p1", "p2"], id="exists"),
        pytest.param("!app", ["p3"], id="absent"),
        pytest.param("app in (a,b),tier=x", ["p2"], id="all terms must hold"),
        pytest.param("n>1", ["p2"], id="greater"),
        pytest.param("n<2", ["p1"], id="less"),
        pytest.param("", ["p1", "p2", "p3"], id="empty"),
    ],
)
def test_label_selectors(client: Client, selector: str, expected: list[str]) -> None:
    client.post(PODS, pod("p1", app="a", n="1"))
    client.post(PODS, pod("p2", app="b", tier="x", n="2"))
    client.post(PODS, pod("p3"))
    assert names_of(client, PODS, labelSelector=selector) == expected


@pytest.mark.parametrize("selector", ["a in", "a=b=c", "a in (b", "=x"])
def test_a_label_selector_that_cannot_be_read_is_refused(client: Client, selector: str) -> None:
    assert client.get(f"{PODS}?labelSelector={quote(selector)}").code == 400


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param("involvedObject.kind=NodeClaim,reason=InsufficientCapacityError", ["e1"], id="both terms"),
        pytest.param("involvedObject.name=c2", ["e2"], id="name"),
        pytest.param("type!=Warning", ["e2"], id="not equal"),
        pytest.param("source=karpenter", ["e1", "e2"], id="source falls back to the reporting component"),
        pytest.param("reportingComponent=karpenter", ["e2"], id="reporting component"),
        pytest.param("metadata.name=e1", ["e1"], id="metadata"),
    ],
)
def test_field_selectors_of_events(client: Client, selector: str, expected: list[str]) -> None:
    about = {"kind": "NodeClaim", "name": "c1"}
    first = {"reason": "InsufficientCapacityError", "type": "Warning", "source": {"component": "karpenter"}}
    client.post(EVENTS, {"metadata": {"name": "e1"}, "involvedObject": about} | first)
    second = {"reason": "Launched", "type": "Normal", "reportingComponent": "karpenter"}
    client.post(EVENTS, {"metadata": {"name": "e2"}, "involvedObject": about | {"name": "c2"}} | second)
    assert names_of(client, EVENTS, fieldSelector=selector) == expected


def test_field_selectors_of_pods(client: Client) -> None:
    client.post(PODS, pod("p1", node="n1"))
    client.post(PODS, pod("p2"))
    assert names_of(client, PODS, fieldSelector="spec.nodeName=") == ["p2"]
    assert names_of(client, PODS, fieldSelector="spec.nodeName=n1,status.phase=Pending,spec.restartPolicy=Always") == ["p1"]
    assert names_of(client, PODS, fieldSelector="spec.schedulerName!=default-scheduler") == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param(PODS, "field label not supported: spec.foo", id="kind with its own labels"),
        pytest.param(NODE_CLAIMS, "field label not supported: spec.foo", id="custom kind"),
        pytest.param(
            INGRESSES,
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
            id="other built-in kind",
        ),
    ],
)
def test_an_unknown_field_label_is_refused(client: Client, path: str, message: str) -> None:
    answer = client.get(f"{path}?fieldSelector=spec.foo%3Dx")
    assert (answer.code, answer.json["message"]) == (400, message)


def test_pages_cover_the_list_as_it_was_at_the_first(client: Client) -> None:
    for name in ("a", "b", "c", "d"):
        client.post(CONFIG_MAPS, config_map(name))
    first = client.get(f"{CONFIG_MAPS}?limit=2")
    client.delete(f"{CONFIG_MAPS}/c")
    client.post(CONFIG_MAPS, config_map("e"))
    second = client.get(f"{CONFIG_MAPS}?limit=2&continue={first.metadata['continue']}")
    assert (first.names, second.names) == (["a", "b"], ["c", "d"])
    assert first.metadata["remainingItemCount"] == 2
    assert second.metadata == {"resourceVersion": first.metadata["resourceVersion"]}


def test_a_page_token_from_before_a_compaction_has_expired(api: EmulatedKubeApi, client: Client) -> None:
    for name in ("a", "b", "c"):
        client.post(CONFIG_MAPS, config_map(name))
    token = client.get(f"{CONFIG_MAPS}?limit=1").metadata["continue"]
    api.compact()
    answer = client.get(f"{CONFIG_MAPS}?limit=1&continue={token}")
    assert (answer.code, answer.json["reason"]) == (410, "Expired")
    resumed = client.get(f"{CONFIG_MAPS}?continue={answer.metadata['continue']}")
    assert resumed.names == ["b", "c"]


def test_a_page_token_that_cannot_be_read_is_refused(client: Client) -> None:
    assert client.get(f"{CONFIG_MAPS}?continue=nonsense").code == 400


def test_a_version_from_the_future_is_refused(client: Client) -> None:
    answer = client.get(f"{CONFIG_MAPS}?resourceVersion=99999")
    assert (answer.code, answer.json["reason"]) == (504, "Timeout")
    assert answer.json["message"].startswith("Too large resource version: 99999")
