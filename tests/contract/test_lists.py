"""Lists: shape, selectors and pages."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.contract.servers import Server
from tests.contract.support import (
    CONFIG_MAPS,
    EVENTS,
    INGRESSES,
    NODE_CLAIMS,
    NODES,
    PODS,
    Client,
    Object,
    config_map,
    event,
    node_claim,
    pod,
)


def names_of(client: Client, path: str, **query: str) -> list[str]:
    return client.get(f"{path}?" + "&".join(f"{key}={quote(value)}" for key, value in query.items())).names


def test_items_of_built_in_kinds_have_no_kind(client: Client) -> None:
    """Items of a list of a built-in kind carry neither kind nor apiVersion."""
    client.create(CONFIG_MAPS, config_map("c"))
    answer = client.get(CONFIG_MAPS).json
    assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
    assert "kind" not in answer["items"][0]
    assert "apiVersion" not in answer["items"][0]


def test_items_of_custom_kinds_have_their_kind(client: Client) -> None:
    """Items of a list of custom resources carry their kind."""
    client.create(NODE_CLAIMS, node_claim(client.namespace))
    answer = client.get(NODE_CLAIMS).json
    assert (answer["kind"], answer["items"][0]["kind"]) == ("NodeClaimList", "NodeClaim")


def test_a_list_carries_the_version_to_watch_from(client: Client) -> None:
    """A list carries a version that is no older than what it shows, and nothing about further pages."""
    version = client.create(CONFIG_MAPS, config_map("c")).version
    listed = client.get(CONFIG_MAPS)
    assert listed.metadata.keys() == {"resourceVersion"}
    assert int(listed.version) >= int(version)


def test_a_list_shows_a_write_that_was_answered(client: Client) -> None:
    """A list without a version shows every write that was answered before it."""
    for number in range(20):
        client.create(CONFIG_MAPS, config_map(f"c{number:02}"))
        assert len(client.get(CONFIG_MAPS).names) == number + 1


def test_a_list_covers_one_namespace_or_all(client: Client) -> None:
    """A list without a namespace covers all of them, ordered by namespace and name."""
    mark = client.namespace
    for name in (f"{mark}-b", f"{mark}-a"):
        client.create("/api/v1/namespaces", {"metadata": {"name": name}})
        body = config_map(f"in-{name}") | {"metadata": {"name": f"in-{name}", "labels": {"test": mark}}}
        client.in_namespace(name).create(CONFIG_MAPS, body)
    assert names_of(client, "/api/v1/configmaps", labelSelector=f"test={mark}") == [f"in-{mark}-a", f"in-{mark}-b"]
    assert names_of(client.in_namespace(f"{mark}-b"), CONFIG_MAPS) == [f"in-{mark}-b"]


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
    """Label selectors: equal, in, notin, exists, greater, less, and all terms together."""
    client.create(PODS, pod("p1", app="a", n="1"))
    client.create(PODS, pod("p2", app="b", tier="x", n="2"))
    client.create(PODS, pod("p3"))
    assert names_of(client, PODS, labelSelector=selector) == expected


@pytest.mark.parametrize("selector", ["a in", "a=b=c", "a in (b", "=x"])
def test_a_label_selector_that_cannot_be_read_is_refused(client: Client, selector: str) -> None:
    """A label selector that cannot be parsed is 400."""
    assert client.get(f"{PODS}?labelSelector={quote(selector)}").refusal == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param("involvedObject.kind=NodeClaim", ["e1", "e2"], id="kind"),
        pytest.param("involvedObject.kind=NodeClaim,reason=InsufficientCapacityError", ["e1"], id="both terms"),
        pytest.param("involvedObject.name=c2", ["e2"], id="name"),
        pytest.param("type=Warning", ["e1"], id="type"),
        pytest.param("type!=Warning", ["e2"], id="not equal"),
        pytest.param("source=karpenter", ["e1", "e2"], id="source falls back to the reporting component"),
        pytest.param("source!=karpenter", [], id="source is not, by either field"),
        pytest.param("reportingComponent=karpenter", ["e2"], id="reporting component"),
        pytest.param("metadata.name=e1", ["e1"], id="metadata"),
    ],
)
def test_field_selectors_of_events(client: Client, selector: str, expected: list[str]) -> None:
    """Field selectors of Events: involvedObject.kind and .name, reason, type, source, reportingComponent, metadata.name."""
    space = client.namespace
    first: Object = {"reason": "InsufficientCapacityError", "type": "Warning", "source": {"component": "karpenter"}}
    client.create(EVENTS, event("e1", namespace=space, **first))
    client.create(EVENTS, event("e2", about="c2", namespace=space, reason="Launched", type="Normal", reportingComponent="karpenter"))
    assert names_of(client, EVENTS, fieldSelector=selector) == expected


def test_field_selectors_of_pods(client: Client) -> None:
    """Field selectors of Pods: spec.nodeName, status.phase, spec.restartPolicy, spec.schedulerName."""
    client.create(PODS, pod("p1", node="n1"))
    client.create(PODS, pod("p2"))
    assert names_of(client, PODS, fieldSelector="spec.nodeName=") == ["p2"]
    assert names_of(client, PODS, fieldSelector="spec.nodeName=n1,status.phase=Pending,spec.restartPolicy=Always") == ["p1"]
    assert names_of(client, PODS, fieldSelector="spec.schedulerName!=default-scheduler") == []


def test_field_selectors_of_nodes(client: Client) -> None:
    """Field selectors of Nodes: spec.unschedulable, false where it is not set."""
    mark = client.namespace
    for name, spec in ((f"{mark}-1", {}), (f"{mark}-2", {"unschedulable": True})):
        client.create(NODES, {"metadata": {"name": name, "labels": {"test": mark}}, "spec": spec})
    assert names_of(client, NODES, labelSelector=f"test={mark}", fieldSelector="spec.unschedulable=false") == [f"{mark}-1"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param(PODS, "field label not supported: spec.foo", id="kind with its own labels"),
        pytest.param(EVENTS, "field label not supported: spec.foo", id="events"),
        pytest.param(NODE_CLAIMS, "field label not supported: spec.foo", id="custom kind"),
        pytest.param(
            INGRESSES,
            '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
            id="other built-in kind",
        ),
    ],
)
def test_an_unknown_field_label_is_refused(client: Client, path: str, message: str) -> None:
    """A field that a kind cannot be selected by is 400 and named."""
    answer = client.get(f"{path}?fieldSelector=spec.foo%3Dx")
    assert (answer.refusal, answer.message) == ((400, "BadRequest"), message)


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_pages_cover_the_list_as_it_was_at_the_first(client: Client, path: str) -> None:
    """`limit` and `continue`: further pages show the state at the first one, and how many remain."""

    def make(name: str) -> None:
        client.create(path, event(name, namespace=client.namespace) if path == EVENTS else config_map(name))

    for name in ("a", "b", "c", "d"):
        make(name)
    first = client.get(f"{path}?limit=2")
    client.delete(f"{path}/c")
    make("e")
    second = client.get(f"{path}?limit=2&continue={first.metadata['continue']}")
    assert (first.names, second.names) == (["a", "b"], ["c", "d"])
    assert first.metadata["remainingItemCount"] == 2
    assert second.metadata == {"resourceVersion": first.version}


def test_pages_may_be_selected(client: Client) -> None:
    """Pages of a selection hold what is selected, without saying how many remain."""
    for name in ("p1", "p2", "p3", "p4"):
        client.create(PODS, pod(name, app="a" if name != "p2" else "b"))
    first = client.get(f"{PODS}?labelSelector=app%3Da&limit=2")
    second = client.get(f"{PODS}?labelSelector=app%3Da&limit=2&continue={first.metadata['continue']}")
    assert (first.names, second.names) == (["p1", "p3"], ["p4"])
    assert "remainingItemCount" not in first.metadata


@pytest.mark.parametrize("path", [CONFIG_MAPS, EVENTS])
def test_a_page_token_from_before_a_compaction_has_expired(server: Server, client: Client, path: str) -> None:
    """A page token whose version is compacted is 410 Expired, with a token for the rest as it is now."""
    for name in ("a", "b", "c"):
        client.create(path, event(name, namespace=client.namespace) if path == EVENTS else config_map(name))
    token = client.get(f"{path}?limit=1").metadata["continue"]
    client.create(CONFIG_MAPS, config_map("z"))  # the newest version outlives a compaction
    server.forget()
    answer = client.get(f"{path}?limit=1&continue={token}")
    assert answer.refusal == (410, "Expired")
    resumed = client.get(f"{path}?continue={answer.metadata['continue']}")
    assert resumed.names[:2] == ["b", "c"]


def test_a_page_token_that_cannot_be_read_is_refused(client: Client) -> None:
    """An invalid page token is 400."""
    answer = client.get(f"{CONFIG_MAPS}?continue=nonsense")
    assert answer.refusal == (400, "BadRequest")
    assert "continue key is not valid" in answer.message


def test_a_version_that_is_no_number_is_refused(client: Client) -> None:
    """A version that is not a number is 400 for a list and, oddly, 500 for a watch."""
    assert client.get(f"{CONFIG_MAPS}?resourceVersion=x").refusal == (400, "BadRequest")
    assert client.get(f"{CONFIG_MAPS}?resourceVersion=x&watch=true").refusal == (500, "")


def test_a_version_from_the_future_is_refused(client: Client) -> None:
    """A list at a version that does not exist yet is 504 Timeout with a cause that says so."""
    answer = client.get(f"{CONFIG_MAPS}?resourceVersion=999999999")
    assert answer.refusal == (504, "Timeout")
    assert answer.message.startswith("Timeout: Too large resource version: 999999999, current: ")
    assert answer.json["details"]["causes"] == [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
