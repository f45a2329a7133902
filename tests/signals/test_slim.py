"""What is cut from an object is never read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.clients.kube import SERVICES, connect
from controller.clock import parse_rfc3339
from controller.routing.gateway.gateways import CONTROLLER, overlooked
from controller.routing.gateway.read import writers
from controller.signals.cluster import ClusterView
from controller.signals.slim import PackedList, pack, slim, unpack
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from controller.signals.watch import list_objects
from failover_testbed.clocks import ManualClock
from failover_testbed.kube_api import EmulatedKubeApi
from tests.signals.samples import KINDS
from tests.signals.test_cluster import JSON, KEYS, SHAPED
from tests.signals.test_concerns import SOURCES, T0, changes, neighbours

FIELDS = {"f:metadata": {"f:annotations": {"f:a": {}}}, "f:spec": {"f:minReplicaCount": {}, "f:rules": {}}, "f:status": {"f:x": {}}}


def served(obj: dict[str, Any]) -> dict[str, Any]:
    """An object with what a server adds."""
    made = copy.deepcopy(obj)
    made.setdefault("metadata", {}).update(
        uid="u", resourceVersion="7", managedFields=[{"manager": "m", "time": "2026-08-01T00:00:00Z", "fieldsV1": FIELDS}]
    )
    return made


@given(st.lists(changes(), min_size=1, max_size=20))
def test_a_snapshot_is_the_same_from_whole_and_from_cut_objects(deliveries: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Of every kind, through lists (which are cut) and through changes."""
    apps = neighbours()
    whole, cut = (ClusterView(ManualClock(T0), lambda: None) for _ in range(2))
    for kind, change, obj in deliveries:
        resource, full = KINDS[kind], served(obj)
        whole.changed(resource, None, change, copy.deepcopy(full))
        cut.changed(resource, None, change, slim(resource.plural, full))
    for app in apps:
        first, second = (
            SnapshotBuilder(view, apps).build(app, T0, SOURCES, ExternalSignals(), leader=True, epoch=1) for view in (whole, cut)
        )
        assert first == second


@given(st.sampled_from(sorted(resource.plural for resource in KINDS.values())), st.dictionaries(KEYS, JSON) | SHAPED)
def test_objects_of_any_shape_can_be_cut(plural: str, obj: dict[str, Any]) -> None:
    """Cutting never raises, changes nothing in place, and cutting again cuts nothing."""
    before = copy.deepcopy(obj)
    once = slim(plural, obj)
    assert obj == before
    assert slim(plural, once) == once
    assert unpack(pack(once)) == once


def test_the_field_managers_of_what_is_ours_to_judge_are_kept() -> None:
    """Who wrote the routing action, and who the floor."""
    kept = slim("ingresses", served({"metadata": {"name": "a"}, "spec": {"rules": []}}))
    assert kept["metadata"]["managedFields"] == [
        {"manager": "m", "time": "2026-08-01T00:00:00Z", "fieldsV1": {"f:metadata": {"f:annotations": {"f:a": {}}}}},
        {"manager": "m", "time": "2026-08-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:rules": {}}}},
    ]
    assert kept["spec"] == {"rules": []}
    floor = slim("scaledobjects", served({"metadata": {"name": "a"}}))["metadata"]["managedFields"]
    assert [entry["fieldsV1"] for entry in floor] == [{"f:spec": {"f:minReplicaCount": {}}}]
    assert "managedFields" not in slim("nodeclaims", served({}))["metadata"]


def test_a_packed_list_is_a_sequence_of_equal_objects() -> None:
    """Each access unpacks again: a caller that changes an object does not change the list."""
    listed = PackedList()
    objects = [{"metadata": {"name": name}} for name in "abc"]
    assert list(listed) == []
    for obj in objects:
        listed.append(obj)
    assert (list(listed), listed[1], listed[1:], len(listed)) == (objects, objects[1], objects[1:], 3)
    listed[0]["metadata"]["name"] = "x"
    assert listed[0] == objects[0]


@pytest.mark.parametrize("count", [19, 20, 21, 60])
def test_a_long_list_is_compressed_in_groups(count: int) -> None:
    """Every object is there once and in its place, however many fill the last group."""
    listed = PackedList()
    objects = [{"metadata": {"name": f"o-{number}"}} for number in range(count)]
    for obj in objects:
        listed.append(obj)
    assert (len(listed), [*listed]) == (count, objects)
    assert [listed[place] for place in range(-count, count)] == [*objects, *objects]
    assert listed[5:-3:7] == objects[5:-3:7]
    with pytest.raises(IndexError):
        listed[count]


def test_only_the_views_get_cut_objects(tmp_path: Path) -> None:
    """Others that list, such as the fake of the load-balancer controller, get everything."""
    with EmulatedKubeApi() as api:
        spec = {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}
        api.store.create("Service", {"metadata": {"name": "a", "namespace": "default"}, "spec": spec})
        session = connect(kubeconfig=str(api.kubeconfig("admin", tmp_path / "kubeconfig")))
        whole, version = list_objects(session, SERVICES, "default")
        cut, same = list_objects(session, SERVICES, "default", slimmed=True)
    assert version == same != ""
    assert whole[0]["spec"]["ports"][0]["targetPort"] == 8000
    assert list(cut) == [{"metadata": {"name": "a", "namespace": "default"}, "spec": {"ports": [{"name": "http", "port": 80}]}}]


def test_of_a_route_the_time_of_any_change_of_the_spec_stays() -> None:
    """Hosts are changed by somebody who does not own the rules: since then the load-balancer controller has something to take up."""
    route = {
        "metadata": {
            "name": "sd21",
            "namespace": "shop",
            "generation": 2,
            "managedFields": [
                {"manager": "failoverctl", "time": "2027-01-15T08:00:00Z", "fieldsV1": {"f:spec": {"f:rules": {}}}},
                {"manager": "person", "time": "2027-01-15T09:00:00Z", "fieldsV1": {"f:spec": {"f:hostnames": {}}}},
                {"manager": "controller", "time": "2027-01-15T10:00:00Z", "fieldsV1": {"f:status": {}}, "subresource": "status"},
            ],
        },
        "status": {"parents": [{"controllerName": CONTROLLER, "conditions": [{"type": "Accepted", "observedGeneration": 1}]}]},
    }
    cut = slim("httproutes", route)
    assert writers(cut) == ["failoverctl"]
    assert overlooked(cut) == overlooked(route) == parse_rfc3339("2027-01-15T09:00:00Z")
