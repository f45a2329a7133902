"""Whatever changes an application's snapshot marks that application: what is not marked is not decided upon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.clients.kube import DEPLOYMENTS, EVENTS, PODS
from controller.policy.model import Application, Backend, Snapshot, Source
from controller.signals.cluster import ClusterView
from controller.signals.snapshots import ExternalSignals, SnapshotBuilder
from failover_testbed.clocks import ManualClock
from tests.signals.samples import KINDS, ice_event, moment, node_claim, waiting_pod
from tests.support.applications import application

T0 = moment("2026-08-25T10:00:03Z")
SOURCES = tuple(Source(name, True, T0, 180.0) for name in ("services", "target-group-bindings"))
NAMES = ("a", "b")
UNITS = ("sd21-inf2", "sd21-trn1")


def neighbours() -> list[Application]:
    """Two applications in one namespace that share a NodePool, and a third elsewhere."""
    made = []
    for name, namespace in (("a", "shop"), ("b", "shop"), ("a", "other")):
        base = application(namespace=namespace)
        units = tuple(
            replace(
                unit,
                backend=Backend(f"{name}-{unit.name}", 80),
                deployment=f"{name}-{unit.name}",
                node_pool="shared" if unit.name == "sd21-trn1" else f"{name}-pool",
                scaled_object=f"{name}-{unit.name}",
            )
            for unit in base.units[:2]
        )
        made.append(replace(base, route=replace(base.route, name=name), capacity=Backend(f"{name}-all", 80), units=units))
    return made


OWNED = st.builds(lambda app, unit: f"{app}-{unit}", st.sampled_from(NAMES), st.sampled_from((*UNITS, "all")))
SPACES = st.sampled_from(["shop", "other", "third"])
POOLS = st.sampled_from(["shared", "a-pool", "b-pool"])


@st.composite
def changes(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """One delivery of a watch, of any kind that is watched."""
    kind = draw(st.sampled_from(["Pod", "Deployment", "EndpointSlice", "Service", "ScaledObject", "TargetGroupBinding", "Ingress"]))
    kind = draw(st.sampled_from([kind, kind, "NodeClaim", "NodePool", "Event"]))
    change = draw(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]))
    owned, space, pool, few = draw(OWNED), draw(SPACES), draw(POOLS), draw(st.integers(0, 3))
    metadata = {"name": owned, "namespace": space}
    obj: dict[str, Any]
    match kind:
        case "Pod":
            labels = draw(st.sampled_from([{}, {"app": owned}, {"app": owned, "pod-template-hash": "1"}]))
            owner = draw(st.sampled_from(["", f"{owned}-1", "stranger"]))
            pools = draw(st.sampled_from([(), (pool,)]))
            obj = waiting_pod(f"p{few}", namespace=space, labels=labels, owner=owner, pools=pools)
            if draw(st.booleans()):
                obj["spec"]["nodeName"] = "n"
        case "Deployment":
            selector = draw(st.sampled_from([{}, {"app": owned}, {"app": "a-sd21-inf2"}]))
            obj = {"metadata": metadata, "spec": {"replicas": few, "selector": {"matchLabels": selector}}, "status": {"readyReplicas": few}}
        case "EndpointSlice":
            endpoints = [{"addresses": [f"10.0.0.{number}"]} for number in range(few)]
            labels = {"kubernetes.io/service-name": owned}
            obj = {"metadata": {"name": f"s{few}", "namespace": space, "labels": labels}, "endpoints": endpoints}
        case "TargetGroupBinding":
            obj = {"metadata": {"name": f"t{few}", "namespace": space}, "spec": {"serviceRef": {"name": owned}}}
        case "Ingress":
            obj = {
                "metadata": {"name": draw(st.sampled_from(NAMES)), "namespace": space, "annotations": {"failoverctl.dev/mode": str(few)}}
            }
        case "NodeClaim":
            obj = node_claim(f"{pool}-aaaa{few}", draw(POOLS), T0 - few)
        case "NodePool":
            types = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["inf2.xlarge"]}]
            template = {"spec": {"requirements": draw(st.sampled_from([[], types]))}}
            obj = {"metadata": {"name": pool}, "spec": {"limits": {"cpu": str(few)}, "template": template}}
        case "Event":
            obj = ice_event(f"{pool}-aaaa{few}", T0 - few)
        case _:
            obj = {"metadata": metadata, "spec": {"minReplicaCount": few, "ports": [{"port": 80}] * few}}
    return kind, change, obj


def essence(snapshot: Snapshot) -> object:
    """What a decision may depend on now.

    The order of the bound Services and those of others do not matter to it. What was refused through other NodePools matters once a pod
    waits, and that marks the application.
    """
    app = snapshot.application
    mine = {app.capacity.service, *(unit.backend.service for unit in app.units)}
    units = {name: one if one.pending else replace(one, pool=replace(one.pool, elsewhere=())) for name, one in snapshot.units.items()}
    return units, replace(snapshot.routing, bound=tuple(one for one in snapshot.routing.bound or () if one in mine))


@given(st.lists(changes(), min_size=1, max_size=25))
def test_whatever_changes_a_snapshot_marks_its_application(deliveries: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Neighbours in one namespace, shared NodePools, pods of nobody, slices that move: no change is missed."""
    apps = neighbours()
    view = ClusterView(ManualClock(T0), lambda: None)
    builder = SnapshotBuilder(view, apps)

    def state() -> dict[str, object]:
        return {app.key: essence(builder.build(app, T0, SOURCES, ExternalSignals(), leader=True, epoch=1)) for app in apps}

    before = state()
    for kind, change, obj in deliveries:
        view.changed(KINDS[kind], None, change, obj)
        after = state()
        taken = {app.key for app in view.dirty.take(apps)}
        assert {key for key in after if after[key] != before[key]} <= taken, (kind, change, obj)
        before = after


def test_a_refusal_through_a_node_pool_that_waiting_pods_name_concerns_their_application() -> None:
    """It may be the last one that the proof of a shortage needs; the units' own NodePools are others."""
    apps = neighbours()
    view = ClusterView(ManualClock(T0), lambda: None)
    builder = SnapshotBuilder(view, apps)
    app, unit = apps[0], apps[0].units[0]
    deployment = {
        "metadata": {"name": unit.deployment, "namespace": app.namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": unit.deployment}}},
    }
    view.changed(DEPLOYMENTS, None, "ADDED", deployment)
    pod = waiting_pod("waiting", namespace=app.namespace, labels={"app": unit.deployment}, pools=(unit.node_pool, "g5"))
    view.changed(PODS, None, "ADDED", pod)

    def build() -> Snapshot:
        return builder.build(app, T0, SOURCES, ExternalSignals(), leader=True, epoch=1)

    assert [one.name for one in build().units[unit.name].alternatives] == ["g5"]
    view.dirty.take(apps)
    view.changed(EVENTS, None, "ADDED", ice_event("g5-aaaaa", T0))
    assert app in view.dirty.take(apps)
    view.changed(PODS, None, "DELETED", pod)
    assert build().units[unit.name].alternatives == ()
    view.dirty.take(apps)
    view.changed(EVENTS, None, "ADDED", ice_event("g5-bbbbb", T0))
    assert view.dirty.take(apps) == []


def test_a_refusal_through_another_node_pool_of_the_same_type_concerns_those_that_wait() -> None:
    """A thousand applications may buy one instance type: a refusal to one of them must not cost a thousand passes."""
    apps = neighbours()
    view = ClusterView(ManualClock(T0), lambda: None)
    builder = SnapshotBuilder(view, apps)
    requirements = [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["inf2.xlarge"]}]
    for pool in ("a-pool", "b-pool", "other-pool"):
        obj = {"metadata": {"name": pool}, "spec": {"template": {"spec": {"requirements": requirements}}}}
        view.changed(KINDS["NodePool"], None, "ADDED", obj)
    waits = apps[1]
    unit = waits.units[0]
    deployment = {
        "metadata": {"name": unit.deployment, "namespace": waits.namespace},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": unit.deployment}}},
    }
    view.changed(DEPLOYMENTS, None, "ADDED", deployment)
    pod = waiting_pod("waiting", namespace=waits.namespace, labels={"app": unit.deployment}, pools=(unit.node_pool,))
    view.changed(PODS, None, "ADDED", pod)
    for app in apps:
        builder.build(app, T0, SOURCES, ExternalSignals(), leader=True, epoch=1)
    view.dirty.take(apps)
    view.changed(EVENTS, None, "ADDED", ice_event("other-pool-aaaaa", T0))
    assert view.dirty.take(apps) == [waits], "no unit has the NodePool that was refused"
    assert builder.build(waits, T0, SOURCES, ExternalSignals(), leader=True, epoch=1).units[unit.name].pool.elsewhere
    view.changed(EVENTS, None, "ADDED", ice_event("a-pool-aaaaa", T0))
    assert [app.key for app in view.dirty.take(apps)] == [app.key for app in apps if app is waits or app.units[0].node_pool == "a-pool"]
