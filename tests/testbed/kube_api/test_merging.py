"""The merging of fields, below what a client sees; what server-side apply refuses; the bound on managedFields."""

from __future__ import annotations

import pytest

from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi
from failover_testbed.kube_api.field_sets import decode, encode, merge, path_text
from failover_testbed.kube_api.field_types import type_of
from tests.contract.support import CONFIG_MAPS, Client, config_map, managers


def test_apply_refuses_nulls_as_unsupported(client: Client) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": None}}
    assert client.apply(f"{CONFIG_MAPS}/c", config, manager="ours").code == 501


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


def test_old_updaters_are_merged_so_that_managed_fields_stay_bounded(api: EmulatedKubeApi, clock: ManualClock) -> None:
    api.store.create("ConfigMap", config_map("c", k="0"))
    for number in range(30):
        clock.advance(1)
        api.store.patch("ConfigMap", "c", {"data": {f"k{number}": "v"}}, manager=f"m{number}")
    entries = managers(api.store.get("ConfigMap", "c"))
    assert len(entries) == 10
    assert ("ancient-changes", "Update", "") in entries


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
