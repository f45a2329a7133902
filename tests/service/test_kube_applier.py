"""The applier sends what the plan says, byte for byte, and shows its own write at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.clients.kube import INGRESSES, KubeSession, Object, Resource
from controller.errors import Conflict, NotFound, Rejected, RemoteError, Unavailable
from controller.foreign import decode
from controller.objects import field_owners
from controller.policy.model import Action, Claim, Decision, Mode, Snapshot, Verb
from controller.policy.reasons import ClaimReason, Reason
from controller.routing.ingress.read import observe as observe_ingress
from controller.service.kube_applier import KubeApplier
from controller.signals.cluster import ClusterView
from controller.signals.workloads import WorkloadView
from failover_testbed.clocks import ManualClock
from tests.policy.support import plan
from tests.support.applications import CAPACITY_TARGETS, NOW, application, snapshot
from tests.support.cluster import ACTION, NAMESPACE, Cluster

SCALER = "sd21-g5-cuda-hpa"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster with the AWS sample's application."""
    made = Cluster(ManualClock(NOW))
    yield made
    made.close()


@pytest.fixture
def session(cluster: Cluster, tmp_path: Path) -> Iterator[KubeSession]:
    """The controller's own session."""
    made = cluster.session(tmp_path)
    yield made
    made.close()


def _received(obj: Object) -> Object:
    """An object as it enters: what of it is not fit to be shown is replaced."""
    received: Object = decode(json.dumps(obj).encode())
    return received


def observed(cluster: Cluster) -> Snapshot:
    """A snapshot of the Ingress and scalers as they are now."""
    app = application(namespace=NAMESPACE)
    made = snapshot(app, routing=observe_ingress(app, cluster.ingress()))
    workloads = WorkloadView()
    units = dict(made.units)
    for unit in app.units:
        assert unit.scaled_object is not None
        workloads.scaled_object("ADDED", _received(cluster.store.get("ScaledObject", unit.scaled_object, namespace=NAMESPACE)))
        units[unit.name] = replace(units[unit.name], scaler=workloads.scaler(NAMESPACE, unit))
    return replace(made, units=units)


def actions(cluster: Cluster, **changes: object) -> tuple[Action, ...]:
    """The plan of a failover with a floor and a target to raise."""
    decision = Decision(
        verb=Verb.FAILOVER,
        mode=Mode.CAPACITY,
        reason=Reason.SHORTAGE_PROVEN,
        details={},
        evidence={},
        guards=(),
        targets=CAPACITY_TARGETS,
        floors={"sd21-g5-cuda": Claim("sd21-g5-cuda", 4, ClaimReason.MISSING)},
        keda_targets={"sd21-g5-cuda": "45"},
    )
    return plan(replace(decision, **changes), observed(cluster)).due  # type: ignore[arg-type]


class Written:
    """Collects what the applier shows."""

    def __init__(self) -> None:
        self.seen: list[tuple[Resource, Object]] = []

    def __call__(self, resource: Resource, obj: Object) -> None:
        self.seen.append((resource, obj))


def test_a_plan_is_sent_byte_for_byte(cluster: Cluster, session: KubeSession) -> None:
    """Each object is one PATCH with the plan's own bodies, query and content type, in order, and a deadline; the answers are shown."""
    written = Written()
    applier = KubeApplier(session, written)
    planned = actions(cluster)
    assert [action.resource for action in planned] == ["scaledobjects.keda.sh", "scaledobjects.keda.sh", "ingresses.networking.k8s.io"]
    floor, target, route = planned
    for together in ([floor, target], [route]):
        applier.apply(together, deadline_s=5)
    records = cluster.api.audit.records(verb="patch")
    assert [record.body for record in records] == [f"{floor.body[:-1]},{target.body[1:]}".encode(), route.body.encode()]
    assert [record.content_type for record in records] == [target.content_type, route.content_type]
    assert [record.query for record in records] == [
        "fieldManager=failoverctl&timeout=5000ms",
        "fieldManager=failoverctl&force=true&timeout=5000ms",
    ]
    assert [(record.access.namespace, record.access.name) for record in records] == [(one.namespace, one.name) for one in (floor, route)]
    assert [resource.name for resource, _ in written.seen] == [floor.resource, route.resource]
    assert written.seen[-1][1] == cluster.ingress()
    scaler = cluster.store.get("ScaledObject", "sd21-g5-cuda-hpa", namespace=NAMESPACE)
    assert scaler["spec"]["minReplicaCount"] == 4
    (trigger,) = scaler["spec"]["triggers"]
    assert (trigger["metadata"]["targetMetricValue"], trigger["authenticationRef"]) == ("45", {"name": "keda-aws"})


def test_the_floor_and_the_target_of_one_object_are_one_request(cluster: Cluster, session: KubeSession) -> None:
    """All operations of both, one write, and managedFields that name us as the owner of the floor."""
    floor, target, _ = actions(cluster)
    before = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)
    KubeApplier(session, Written()).apply([floor, target], deadline_s=5)
    (record,) = cluster.api.audit.records(verb="patch")
    assert json.loads(record.body) == [*json.loads(floor.body), *json.loads(target.body)]
    after = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)
    (trigger,) = after["spec"]["triggers"]
    assert (after["spec"]["minReplicaCount"], trigger["metadata"]["targetMetricValue"]) == (4, "45")
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert field_owners(after, "spec", "minReplicaCount") == ["failoverctl"]


@pytest.mark.parametrize("written", ['SELECT SUM("sd21-g5-cuda-counter")\nFROM "sd21"', 'SUM("sd21-g5-cuda-counter") \u200b' + "x" * 5000])
def test_a_trigger_whose_text_is_not_kept_as_it_is_gets_its_target(written: str, cluster: Cluster, session: KubeSession) -> None:
    """An expression over several lines, as YAML invites to write it, or one with a character that nobody sees."""
    trigger = {"type": "aws-cloudwatch", "metadata": {"expression": written, "targetMetricValue": "94"}}
    cluster.store.patch("ScaledObject", SCALER, {"spec": {"triggers": [trigger]}}, namespace=NAMESPACE)
    floor, target, _ = actions(cluster)
    KubeApplier(session, Written()).apply([floor, target], deadline_s=5)
    (after,) = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)["spec"]["triggers"]
    assert after["metadata"] == {"expression": written, "targetMetricValue": "45"}


def test_of_a_floor_and_a_target_both_are_written_or_none(cluster: Cluster, session: KubeSession) -> None:
    """A person changed the trigger meanwhile: its floor stays as well, until the next plan."""
    floor, target, _ = actions(cluster)
    other = {"type": "cron", "metadata": {"targetMetricValue": "1"}}
    cluster.store.patch("ScaledObject", SCALER, {"spec": {"triggers": [other]}}, namespace=NAMESPACE)
    before = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)
    with pytest.raises(Conflict):
        KubeApplier(session, Written()).apply([target, floor], deadline_s=5)
    assert cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE) == before


def test_our_own_write_is_seen_at_once_and_not_undone(cluster: Cluster, session: KubeSession) -> None:
    """Before any watch delivers it, and an event that was on its way changes nothing back."""
    view = ClusterView(cluster.clock, lambda: None)
    before = dict(cluster.ingress())
    view.listed(INGRESSES, None, [before])
    applier = KubeApplier(session, lambda resource, obj: view.changed(resource, None, "MODIFIED", obj))
    applier.apply([actions(cluster)[-1]], deadline_s=5)
    for late in ("MODIFIED", "ADDED"):
        view.changed(INGRESSES, None, late, before)
    view.listed(INGRESSES, None, [before])
    seen = observe_ingress(application(namespace=NAMESPACE), view.routing_object(application(namespace=NAMESPACE)))
    assert (seen.targets, seen.marker, seen.writer, seen.foreign) == (CAPACITY_TARGETS, "capacity", "failoverctl", False)


def test_a_write_in_between_is_a_conflict(cluster: Cluster, session: KubeSession) -> None:
    """The patch carries the version it was planned on: the first writer wins, and nothing is shown."""
    written = Written()
    (*_, route) = actions(cluster)
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {"someone": "else"}}}, namespace=NAMESPACE)
    action = cluster.ingress()["metadata"]["annotations"][ACTION]
    with pytest.raises(Conflict):
        KubeApplier(session, written).apply([route], deadline_s=5)
    assert cluster.ingress()["metadata"]["annotations"][ACTION] == action
    assert written.seen == []


def test_a_reordered_trigger_is_a_conflict(cluster: Cluster, session: KubeSession) -> None:
    """The JSON patch tests the version: another trigger in the place of the observed one is left alone."""
    target = actions(cluster)[1]
    other = {"type": "cron", "metadata": {"targetMetricValue": "1"}}
    cluster.store.patch("ScaledObject", "sd21-g5-cuda-hpa", {"spec": {"triggers": [other]}}, namespace=NAMESPACE)
    with pytest.raises(Conflict):
        KubeApplier(session, Written()).apply([target], deadline_s=5)
    scaler = cluster.store.get("ScaledObject", "sd21-g5-cuda-hpa", namespace=NAMESPACE)
    assert scaler["spec"]["triggers"] == [other]


def _recreated(cluster: Cluster) -> Object:
    """The ScaledObject after it was deleted and created again from its manifest."""
    found = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)
    cluster.store.delete("ScaledObject", SCALER, namespace=NAMESPACE)
    kept = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
    return cluster.store.create("ScaledObject", {**found, "metadata": kept})


@pytest.mark.parametrize("number", [0, 1], ids=["floor", "target"])
def test_a_scaled_object_that_was_created_again_is_left_alone(number: int, cluster: Cluster, session: KubeSession) -> None:
    action = actions(cluster)[number]
    _recreated(cluster)
    before = cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)
    with pytest.raises(Conflict):
        KubeApplier(session, Written()).apply([action], deadline_s=5)
    assert cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE) == before


def test_a_floor_does_not_create_a_scaled_object_that_was_deleted(cluster: Cluster, session: KubeSession) -> None:
    """As a server-side apply without the uid would."""
    floor = actions(cluster)[0]
    cluster.store.delete("ScaledObject", SCALER, namespace=NAMESPACE)
    with pytest.raises(NotFound):
        KubeApplier(session, Written()).apply([floor], deadline_s=5)
    assert SCALER not in {one["metadata"]["name"] for one in cluster.store.list("ScaledObject", namespace=NAMESPACE)}


def test_a_floor_that_a_person_raised_meanwhile_is_not_overwritten(cluster: Cluster, session: KubeSession) -> None:
    """A patch has no conflicts of fields, so that only the version tells. The next plan is made from what is there now."""
    floor = actions(cluster)[0]
    cluster.store.patch("ScaledObject", SCALER, {"spec": {"minReplicaCount": 9}}, namespace=NAMESPACE)
    with pytest.raises(Conflict):
        KubeApplier(session, Written()).apply([floor], deadline_s=5)
    assert cluster.store.get("ScaledObject", SCALER, namespace=NAMESPACE)["spec"]["minReplicaCount"] == 9
    assert "raise-floor" not in {action.kind.value for action in actions(cluster)}


@pytest.mark.parametrize(("status", "error"), [(500, Unavailable), (503, Unavailable), (429, Unavailable), (409, Conflict)])
def test_a_refusal_is_passed_on(status: int, error: type[RemoteError], cluster: Cluster, session: KubeSession) -> None:
    """Nothing is retried here: the caller observes again before it decides."""
    written = Written()
    (*_, route) = actions(cluster)
    cluster.api.fail_next(1, status=status, matcher=lambda access: access.verb == "patch")
    with pytest.raises(error):
        KubeApplier(session, written).apply([route], deadline_s=5)
    assert (len(cluster.api.audit.records(verb="patch")), written.seen) == (1, [])


@pytest.mark.parametrize("resource", ["secrets", "ingresses", "", "pods.exec"])
def test_what_is_no_resource_of_ours_is_not_sent(resource: str, cluster: Cluster, session: KubeSession) -> None:
    """An action that names something else is refused before any request."""
    (*_, route) = actions(cluster)
    before = len(cluster.api.audit.records())
    with pytest.raises(Rejected, match="no such resource"):
        KubeApplier(session, Written()).apply([replace(route, resource=resource)], deadline_s=5)
    assert len(cluster.api.audit.records()) == before
