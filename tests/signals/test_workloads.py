"""Pods, replicas, endpoints, ports and scalers, and to which unit each belongs."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, ENDPOINT_SLICES, PODS, TARGET_GROUP_BINDINGS
from controller.policy.model import Application, Backend, Route, ScalerMetric, Unit, WorkloadKind
from controller.signals.cluster import ClusterView
from controller.signals.workloads import Workload, WorkloadView
from failover_testbed.clocks import ManualClock
from tests.signals.samples import requirement, sample, waiting_pod
from tests.support.applications import application

NAMESPACE = "shop"
LBC, AUTO = TARGET_GROUP_BINDINGS.group, AUTO_TARGET_GROUP_BINDINGS.group


def deployment(name: str, labels: Mapping[str, str] | None = None, *, ready: int | None = 1, **spec: Any) -> dict[str, Any]:
    """A Deployment that selects by labels (by `app: <name>` where None)."""
    selector = {"matchLabels": dict(labels) if labels is not None else {"app": name}}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"replicas": 2, "selector": selector, **spec},
        "status": {"readyReplicas": ready},
    }


def endpoint_slice(name: str, service: str, *endpoints: Any, kind: str = "IPv4", namespace: str = NAMESPACE) -> dict[str, Any]:
    """An EndpointSlice."""
    metadata = {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}}
    return {"metadata": metadata, "addressType": kind, "endpoints": list(endpoints)}


def endpoint(address: str, *, ready: bool | None = True, pod: str = "") -> dict[str, Any]:
    """An endpoint."""
    made: dict[str, Any] = {"addresses": [address], "conditions": {"ready": ready}}
    return made | ({"targetRef": {"kind": "Pod", "name": pod}} if pod else {})


def _deploy(view: WorkloadView) -> Callable[[str, dict[str, Any]], bool]:
    """Takes a Deployment."""
    return partial(view.workload, WorkloadKind.DEPLOYMENT)


def _of(view: WorkloadView, name: str) -> Workload | None:
    """What is known of the Deployment of a unit."""
    return view.workload_of(NAMESPACE, replace(application().units[0], deployment=name))


def pending(view: WorkloadView, app: Application, *others: Application) -> dict[str, list[str]]:
    """Names of the waiting pods by unit, units without any left out."""
    sharing: Counter[str] = Counter(unit.node_pool for one in (app, *others) for unit in one.units)
    found = view.pending(app, sharing)
    return {unit: [pod.name for pod in pods] for unit, pods in found.items() if pods}


def _pools_of(view: WorkloadView, namespace: str) -> tuple[str, ...]:
    """The NodePools that the waiting pod `p` is pinned to."""
    pod = view.waiting(namespace, "p")
    assert pod is not None
    return pod.pools


@pytest.fixture
def view() -> WorkloadView:
    """An empty view."""
    return WorkloadView()


# --- pending pods ---


def test_e11_a_pending_pod_of_a_unit(view: WorkloadView) -> None:
    """E11: the pod is the unit's whose ReplicaSet owns it, and waits since its condition's transition, not since its creation."""
    unit = replace(application().units[0], node_pool="amd-neuron-inf2")
    app = replace(application(namespace="default"), units=(unit,))
    obj = sample("E11")
    obj["status"]["conditions"][0]["lastTransitionTime"] = "2026-08-25T10:05:00Z"
    view.pod("ADDED", obj)
    (pod,) = view.pending(app, {"amd-neuron-inf2": 1})["sd21-inf2"]
    assert (pod.name, pod.since) == ("sd21-inf2-6c9f7d8b5-hk2lw", 1787652300.0)


def test_the_deployments_selector_comes_first(view: WorkloadView) -> None:
    """No matter who owns it, a pod with the labels of the Deployment's selector is the Deployment's demand."""
    _deploy(view)("ADDED", deployment("sd21-inf2", {"app": "sd21", "device": "inf2"}))
    view.pod("ADDED", waiting_pod("p", labels={"app": "sd21", "device": "inf2", "more": "x"}, owner="strange-1", pools=("inf2",)))
    view.pod("ADDED", waiting_pod("q", labels={"app": "sd21"}, owner="strange-1", pools=("inf2",)))
    assert pending(view, application()) == {"sd21-inf2": ["p"]}


def test_the_owner_counts_where_the_deployment_is_not_seen(view: WorkloadView) -> None:
    """The name of the ReplicaSet is the Deployment's and the template hash, exactly."""
    labels = {"pod-template-hash": "6c9f7d8b5"}
    view.pod("ADDED", waiting_pod("p", labels=labels, owner="sd21-inf2-6c9f7d8b5", pools=("inf2",)))
    view.pod("ADDED", waiting_pod("q", labels=labels, owner="sd21-inf2-other-6c9f7d8b5", pools=("inf2",)))
    assert pending(view, application()) == {"sd21-inf2": ["p"]}


def test_a_selector_of_expressions_only_leaves_it_to_the_owner(view: WorkloadView) -> None:
    """`matchLabels` may be missing from a valid selector: it must then not match every pod, nor none."""
    obj = deployment("sd21-inf2", {})
    obj["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["sd21-inf2"]}]}
    _deploy(view)("ADDED", obj)
    labels = {"pod-template-hash": "6c9f7d8b5"}
    view.pod("ADDED", waiting_pod("p", labels=labels, owner="sd21-inf2-6c9f7d8b5", pools=("inf2",)))
    view.pod("ADDED", waiting_pod("q", labels=labels, owner="other-6c9f7d8b5", pools=("inf2",)))
    assert pending(view, application()) == {"sd21-inf2": ["p"]}


def test_the_pool_alone_counts_only_where_it_serves_one_unit(view: WorkloadView) -> None:
    """A bare pod pinned to a pool is the demand of the one unit on that pool, of nobody where two share it (g5)."""
    view.pod("ADDED", waiting_pod("p", pools=("inf2",)))
    view.pod("ADDED", waiting_pod("q", pools=("g5",)))
    assert pending(view, application()) == {"sd21-inf2": ["p"]}
    other = application(name="other", route=Route("other", "live"))
    assert pending(view, application(), other) == {}, "another application of the namespace uses the pool too"


def test_units_that_share_a_pool_are_kept_apart_by_their_deployments(view: WorkloadView) -> None:
    """g5 serves Triton and CUDA: labels decide."""
    for name in ("sd21-g5-triton", "sd21-g5-cuda"):
        _deploy(view)("ADDED", deployment(name))
        view.pod("ADDED", waiting_pod(f"{name}-1", labels={"app": name}, pools=("g5",)))
    assert pending(view, application()) == {"sd21-g5-triton": ["sd21-g5-triton-1"], "sd21-g5-cuda": ["sd21-g5-cuda-1"]}


def test_a_pod_of_another_deployment_is_nobodys(view: WorkloadView) -> None:
    """Pinned to the unit's pool, but the unit's own Deployment is known and does not select it."""
    _deploy(view)("ADDED", deployment("sd21-inf2"))
    view.pod("ADDED", waiting_pod("batch-1", labels={"app": "batch"}, owner="batch-1", pools=("inf2",)))
    assert pending(view, application()) == {}


def test_a_pod_that_may_go_to_two_pools_is_its_deployments(view: WorkloadView) -> None:
    """Its unit misses it; a shortage must then be proven of both NodePools."""
    _deploy(view)("ADDED", deployment("sd21-inf2"))
    view.pod("ADDED", waiting_pod("p", labels={"app": "sd21-inf2"}, pools=("inf2", "trn1")))
    assert _pools_of(view, NAMESPACE) == ("inf2", "trn1")
    assert pending(view, application()) == {"sd21-inf2": ["p"]}


def test_a_pod_pinned_elsewhere_is_not_the_units(view: WorkloadView) -> None:
    """The labels of one unit and the pool of another: the pool's shortage is not the unit's."""
    _deploy(view)("ADDED", deployment("sd21-inf2"))
    _deploy(view)("ADDED", deployment("sd21-g6-triton"))
    view.pod("ADDED", waiting_pod("p", labels={"app": "sd21-inf2"}, pools=("g6",)))
    assert pending(view, application()) == {}


def test_a_pod_without_a_pool_is_its_deployments(view: WorkloadView) -> None:
    """Pinned by instance family or an extended resource only: the Deployment explains it."""
    _deploy(view)("ADDED", deployment("sd21-trn1"))
    view.pod("ADDED", waiting_pod("p", labels={"app": "sd21-trn1"}))
    assert pending(view, application()) == {"sd21-trn1": ["p"]}


def _changed(change: dict[str, Any]) -> dict[str, Any]:
    pod = waiting_pod("p", labels={"app": "sd21-inf2"}, pools=("inf2",))
    for path, value in change.items():
        target = pod
        *steps, last = path.split(".")
        for step in steps:
            target = target[step]
        target[last] = value
    return pod


@pytest.mark.parametrize(
    "change",
    [
        {"spec.nodeName": "ip-10-0-0-1"},
        {"spec.schedulingGates": [{"name": "wait"}]},
        {"metadata.deletionTimestamp": "2026-08-25T10:00:00Z"},
        {"status.phase": "Running"},
        {"status.phase": "Succeeded"},
        {"status.phase": "Failed"},
        {"metadata.ownerReferences": [{"kind": "DaemonSet", "name": "d", "controller": True}]},
        {"status.conditions": []},
        {"status.conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]},
        {"status.conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulerError"}]},
        {"status.conditions": [{"type": "PodScheduled", "status": "True"}]},
        {"status.conditions": None},
        {"status": None},
    ],
)
def test_pods_that_do_not_wait_for_a_node(change: dict[str, Any], view: WorkloadView) -> None:
    """Bound, gated, leaving, finished, a DaemonSet's, or not (yet) called Unschedulable: none of them is demand."""
    _deploy(view)("ADDED", deployment("sd21-inf2"))
    view.pod("ADDED", waiting_pod("p", labels={"app": "sd21-inf2"}, pools=("inf2",)))
    assert pending(view, application()) == {"sd21-inf2": ["p"]}
    view.pod("MODIFIED", _changed(change))
    assert pending(view, application()) == {}


def test_pods_are_replaced_by_a_list_and_removed_one_by_one() -> None:
    """A list of one namespace replaces that namespace only, a list of all replaces all, and nothing is left behind."""
    whole = ClusterView(ManualClock(0.0), lambda: None)
    view = whole.workloads
    for namespace in (NAMESPACE, "other"):
        for name in ("p", "q"):
            view.pod("ADDED", waiting_pod(name, namespace=namespace, pools=("inf2",)))
    whole.listed(PODS, NAMESPACE, [waiting_pod("r", pools=("inf2",))])
    assert pending(view, application()) == {"sd21-inf2": ["r"]}
    assert _pools_of(view, "other") == ("inf2",)
    view.pod("DELETED", waiting_pod("p", namespace="other"))
    whole.listed(PODS, None, [])
    assert not view.pods()
    assert not whole.room.taken


def test_two_applications_of_one_namespace_have_their_own_pods(view: WorkloadView) -> None:
    """Each pod is demand of one application only."""
    first = application()
    units = (replace(first.units[0], name="tts", deployment="tts", backend=Backend("tts", 80)),)
    second = replace(first, name="tts", route=Route("tts", "live"), units=units)
    for name in ("sd21-inf2", "tts"):
        _deploy(view)("ADDED", deployment(name))
        view.pod("ADDED", waiting_pod(f"{name}-1", labels={"app": name}, pools=("inf2",)))
    assert pending(view, first, second) == {"sd21-inf2": ["sd21-inf2-1"]}
    assert pending(view, second, first) == {"tts": ["tts-1"]}


def test_pods_come_oldest_first(view: WorkloadView) -> None:
    """So that demand's age is the first one's."""
    _deploy(view)("ADDED", deployment("sd21-inf2"))
    for name, since in (("b", "2026-08-25T10:00:01Z"), ("a", "2026-08-25T10:00:02Z"), ("c", "2026-08-25T10:00:00Z")):
        view.pod("ADDED", waiting_pod(name, labels={"app": "sd21-inf2"}, pools=("inf2",), since=since))
    assert pending(view, application()) == {"sd21-inf2": ["c", "b", "a"]}


# --- replicas and endpoints ---


def test_a_deployment_with_the_apis_defaults(view: WorkloadView) -> None:
    """No replicas in the spec is one, no ready replicas in the status is none."""
    _deploy(view)("ADDED", {"metadata": {"name": "d", "namespace": NAMESPACE}, "spec": {}, "status": {}})
    seen = _of(view, "d")
    assert seen is not None
    assert (seen.desired, seen.ready, dict(seen.selector)) == (1, 0, {})


@pytest.mark.parametrize("value", [None, -1, True, "3", 2.5, []])
def test_a_count_of_the_wrong_type_is_the_default(value: Any, view: WorkloadView) -> None:
    """Never a number made of something else."""
    obj = deployment("d")
    obj["spec"]["replicas"] = value
    obj["status"] = {"readyReplicas": value}
    _deploy(view)("ADDED", obj)
    seen = _of(view, "d")
    assert seen is not None
    assert (seen.desired, seen.ready) == (1, 0)


def test_equal_objects_are_kept_once(view: WorkloadView) -> None:
    """A list after an outage delivers everything anew: what is kept stays. Units of the same shape share what they ask for."""
    template = {"spec": {"nodeSelector": {"node.kubernetes.io/instance-type": "inf2.xlarge"}}}
    assert _deploy(view)("ADDED", deployment("one", template=template))
    before = _of(view, "one")
    assert not _deploy(view)("ADDED", deployment("one", template=copy.deepcopy(template)))
    _deploy(view)("ADDED", deployment("other", template=copy.deepcopy(template)))
    other = _of(view, "other")
    assert before is not None
    assert other is not None
    assert _of(view, "one") is before
    assert other.placement is before.placement


def test_the_templates_pins_are_read(view: WorkloadView) -> None:
    """Zones, instance types and capacity types that the Deployment itself asks for."""
    node_selector = {
        "topology.kubernetes.io/zone": "us-west-2b",
        "node.kubernetes.io/instance-type": "inf2.xlarge",
        "karpenter.sh/capacity-type": "spot",
    }
    _deploy(view)("ADDED", deployment("d", template={"spec": {"nodeSelector": node_selector}}))
    seen = _of(view, "d")
    assert seen is not None
    assert (seen.zones, seen.instance_types, seen.capacity_types) == (("us-west-2b",), ("inf2.xlarge",), ("spot",))
    assert _deploy(view)("DELETED", deployment("d"))
    assert _of(view, "d") is None


def test_only_ready_endpoints_count_and_null_is_ready(view: WorkloadView) -> None:
    """The API says that an unknown readiness is to be taken as ready."""
    one = endpoint_slice(
        "s-1",
        "s",
        endpoint("10.0.0.1"),
        endpoint("10.0.0.2", ready=False),
        endpoint("10.0.0.3", ready=None),
        {"addresses": ["10.0.0.4"]},
        {"addresses": []},
        {"addresses": None, "conditions": None},
        None,
    )
    view.endpoint_slice("ADDED", one)
    assert view.endpoints_ready(NAMESPACE, "s") == 3


def test_an_endpoint_in_two_slices_counts_once(view: WorkloadView) -> None:
    """While a slice is split the same endpoint is in both."""
    view.endpoint_slice("ADDED", endpoint_slice("s-1", "s", endpoint("10.0.0.1"), endpoint("10.0.0.2")))
    view.endpoint_slice("ADDED", endpoint_slice("s-2", "s", endpoint("10.0.0.2"), endpoint("10.0.0.3")))
    assert view.endpoints_ready(NAMESPACE, "s") == 3


def test_a_dual_stack_pod_counts_once(view: WorkloadView) -> None:
    """A dual-stack Service has one slice a family with the same pods under other addresses."""
    view.endpoint_slice("ADDED", endpoint_slice("s-4", "s", endpoint("10.0.0.1", pod="a"), endpoint("10.0.0.2", pod="b")))
    view.endpoint_slice("ADDED", endpoint_slice("s-6", "s", endpoint("fd00::1", pod="a"), endpoint("fd00::2", pod="b"), kind="IPv6"))
    assert view.endpoints_ready(NAMESPACE, "s") == 2


def test_no_slice_is_not_no_endpoint(view: WorkloadView) -> None:
    """Not known, and known to be none, are different."""
    assert view.endpoints_ready(NAMESPACE, "s") is None
    view.endpoint_slice("ADDED", endpoint_slice("s-1", "s") | {"endpoints": None})
    assert view.endpoints_ready(NAMESPACE, "s") == 0
    view.endpoint_slice("DELETED", endpoint_slice("s-1", "s"))
    assert view.endpoints_ready(NAMESPACE, "s") is None


def test_a_slice_that_changes_its_service_leaves_the_old_one(view: WorkloadView) -> None:
    """The label may be edited; the old Service must not keep the endpoints."""
    view.endpoint_slice("ADDED", endpoint_slice("s-1", "old", endpoint("10.0.0.1")))
    assert view.endpoint_slice("MODIFIED", endpoint_slice("s-1", "new", endpoint("10.0.0.1")))
    assert (view.endpoints_ready(NAMESPACE, "old"), view.endpoints_ready(NAMESPACE, "new")) == (None, 1)


def test_namespaces_do_not_mix() -> None:
    """The same names in another namespace are other things, also when one of them is listed anew."""
    whole = ClusterView(ManualClock(0.0), lambda: None)
    view = whole.workloads
    for namespace in (NAMESPACE, "other"):
        view.endpoint_slice("ADDED", endpoint_slice("s-1", "s", endpoint("10.0.0.1"), namespace=namespace))
    whole.listed(ENDPOINT_SLICES, "other", [])
    assert (view.endpoints_ready(NAMESPACE, "s"), view.endpoints_ready("other", "s")) == (1, None)
    whole.listed(ENDPOINT_SLICES, None, [])
    assert view.endpoints_ready(NAMESPACE, "s") is None


def test_nothing_is_left_of_what_went(view: WorkloadView) -> None:
    """Namespaces come and go by the thousand in some clusters: none may leave anything behind."""
    for number in range(50):
        namespace = f"preview-{number}"
        objects = {
            view.pod: waiting_pod("p", namespace=namespace),
            view.endpoint_slice: endpoint_slice("s-1", "s", endpoint("10.0.0.1"), namespace=namespace),
            view.service: {"metadata": {"name": "s", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}},
        }
        for kind in ("ADDED", "DELETED"):
            for take, obj in objects.items():
                take(kind, obj)
        running = waiting_pod("p", namespace=namespace, nodeName="n")
        view.pod("ADDED", running)
        view.pod("DELETED", running)
    assert (view.pods(), view._slices, view.slice_services, view.services) == ([], {}, {}, {})


def test_no_kind_leaves_anything_of_a_namespace_that_went(view: WorkloadView) -> None:
    """600 bytes were left of each namespace that ever had a workload and a TargetGroupBinding."""
    metadata = {"metadata": {"name": "x", "namespace": "preview"}}
    takes: tuple[Callable[[str, dict[str, Any]], bool], ...] = (
        view.pod,
        *(partial(view.workload, kind) for kind in WorkloadKind),
        view.endpoint_slice,
        view.service,
        view.scaled_object,
        partial(view.binding, LBC),
        partial(view.binding, AUTO),
    )
    for take in takes:
        for kind in ("ADDED", "DELETED", "DELETED"):
            take(kind, {**metadata, "spec": {}})
    found = {name: kept for name, kept in vars(view).items() if isinstance(kept, dict) and kept}
    assert found == {"_workloads": {kind: {} for kind in WorkloadKind}}


def test_a_version_of_bindings_comes_twice_only_where_there_are_none(view: WorkloadView) -> None:
    """What was read of others is read again, also where all of them went in between."""
    without, seen = view.bindings_version("preview"), set()
    for _ in range(3):
        view.binding(LBC, "ADDED", _binding("b", "preview"))
        seen.add(view.bindings_version("preview"))
        view.binding(LBC, "DELETED", _binding("b", "preview"))
        assert view.bindings_version("preview") == without
    assert len(seen - {without}) == 3


# --- Services, bindings, scalers ---


def test_a_services_ports_by_number_and_name(view: WorkloadView) -> None:
    """Either literal may be in an action; null and wrong types are left out."""
    ports = [{"port": 80, "name": "http"}, {"port": 8080}, {"port": True, "name": ""}, {"port": "9"}, None]
    view.service("ADDED", {"metadata": {"name": "s", "namespace": NAMESPACE}, "spec": {"ports": ports}})
    assert view.service_ports(NAMESPACE, "s") == (80, "http", 8080)
    view.service("ADDED", {"metadata": {"name": "t", "namespace": NAMESPACE}, "spec": {"ports": None}})
    assert view.service_ports(NAMESPACE, "t") == ()
    assert view.service_ports(NAMESPACE, "u") is None


def _scaled(version: str, floor: int) -> dict[str, Any]:
    metadata = {"name": "sd21-inf2-hpa", "namespace": NAMESPACE, "resourceVersion": version}
    return {"metadata": metadata, "spec": {"minReplicaCount": floor, "triggers": []}}


def _floor(view: WorkloadView) -> int | None:
    scaler = view.scaler(NAMESPACE, application().units[0])
    return None if scaler is None else scaler.min_replicas


def test_an_earlier_state_of_a_scaled_object_does_not_undo_our_own_write(view: WorkloadView) -> None:
    """The answer to the write comes first, and the watch delivers what was there before a moment later: the floor was raised again."""
    view.scaled_object("ADDED", _scaled("5", 1))
    assert view.scaled_object("MODIFIED", _scaled("9", 4))
    assert not view.scaled_object("MODIFIED", _scaled("7", 1))
    assert not view.scaled_object("DELETED", _scaled("8", 1)), "another object of that name was deleted, before this one was made"
    assert _floor(view) == 4
    assert view.scaled_object("DELETED", _scaled("10", 4))
    assert _floor(view) is None


def test_an_answer_that_a_deletion_overtook_brings_no_scaled_object_back(view: WorkloadView) -> None:
    """Nothing would ever remove it."""
    view.scaled_object("ADDED", _scaled("5", 1))
    view.scaled_object("DELETED", _scaled("6", 1))
    assert not view.scaled_object("MODIFIED", _scaled("7", 4))
    assert _floor(view) is None


def test_bindings_of_one_namespace() -> None:
    """And that they could be listed at all is known only after a list."""
    whole = ClusterView(ManualClock(0.0), lambda: None)
    view = whole.workloads
    assert not view.bindings_known
    for namespace in (NAMESPACE, "other"):
        view.binding(LBC, "ADDED", _binding("b", namespace))
    assert [obj["spec"]["serviceRef"]["name"] for obj in view.bindings(NAMESPACE)] == [NAMESPACE]
    whole.listed(TARGET_GROUP_BINDINGS, NAMESPACE, [])
    assert (view.bindings(NAMESPACE), len(view.bindings("other")), view.bindings_known) == ([], 1, True)
    view.binding(LBC, "DELETED", _binding("b", "other"))
    assert view.bindings("other") == []


def test_the_bindings_of_two_api_groups_are_kept_apart() -> None:
    """A cluster may have the load-balancer controller and EKS Auto Mode: a list, or the end, of one kind is not one of the other."""
    whole = ClusterView(ManualClock(0.0), lambda: None)
    view = whole.workloads
    for kind in (TARGET_GROUP_BINDINGS, AUTO_TARGET_GROUP_BINDINGS):
        whole.listed(kind, None, [_binding("b", NAMESPACE, kind.group)])
    assert tuple(view.bound(NAMESPACE)) == tuple(sorted((LBC, AUTO)))
    whole.listed(TARGET_GROUP_BINDINGS, NAMESPACE, [])
    assert tuple(view.bound(NAMESPACE)) == (AUTO,)
    view.binding(LBC, "DELETED", _binding("b", NAMESPACE))
    assert tuple(view.bound(NAMESPACE)) == (AUTO,)
    view.bindings_listable(LBC, known=False)
    assert view.bindings_known
    view.bindings_listable(AUTO, known=False)
    assert not view.bindings_known


def _binding(name: str, namespace: str, service: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"serviceRef": {"name": service or namespace}}}


UNIT: Unit = application().units[0]


def scaled_object(*triggers: Any, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """The unit's ScaledObject."""
    metadata = {"name": UNIT.scaled_object, "namespace": NAMESPACE, "resourceVersion": "9", "annotations": annotations}
    return {"metadata": metadata, "spec": {**spec, "triggers": list(triggers)}}


def trigger(**metadata: Any) -> dict[str, Any]:
    """A CloudWatch trigger."""
    return {"type": "aws-cloudwatch", "metadata": metadata}


def test_a_scaler_with_kedas_defaults(view: WorkloadView) -> None:
    """Nothing but a name: zero to a hundred, no trigger, not paused."""
    view.scaled_object("ADDED", scaled_object())
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas, scaler.target, scaler.trigger_index, scaler.paused) == (0, 100, "", None, False)


@pytest.mark.parametrize(
    ("metadata", "counts"),
    [
        pytest.param({}, ScalerMetric(None, "Average"), id="KEDA's defaults"),
        pytest.param({"metricStat": "Sum", "metricStatPeriod": "60", "namespace": "own"}, ScalerMetric(60, "Sum", "own"), id="all"),
        pytest.param({"metricStatPeriod": "1m"}, ScalerMetric(None, "Average"), id="a period that KEDA refuses"),
        pytest.param(
            {"expression": 'SELECT SUM("x") FROM SCHEMA("own")', "metricStat": "Average", "namespace": "no"},
            ScalerMetric(None, "SUM"),
            id="an expression has a statistic of its own",
        ),
        pytest.param({"expression": "x" * 9000}, ScalerMetric(None, ""), id="an expression of another kind"),
    ],
)
def test_what_a_trigger_counts(view: WorkloadView, metadata: dict[str, str], counts: ScalerMetric) -> None:
    """Its target is for this, whatever the application file says."""
    view.scaled_object("ADDED", scaled_object(trigger(metricName=UNIT.counter_metric, **metadata), scaleTargetRef={"name": "sd21"}))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.metric, scaler.scales) == (counts, "Deployment sd21")


def test_a_trigger_on_something_else_than_cloudwatch_is_not_the_units(view: WorkloadView) -> None:
    """KEDA's Prometheus trigger may have a `metricName`, too: a target in its metadata changes nothing."""
    other = {"type": "prometheus", "metadata": {"metricName": UNIT.counter_metric, "threshold": "5"}}
    own = trigger(expression=f'SELECT SUM("{UNIT.counter_metric}") FROM SCHEMA("own")', targetMetricValue="105")
    view.scaled_object("ADDED", scaled_object(other, own))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.trigger_index, scaler.target) == (1, "105")


def _scaling_in(**behavior: Any) -> dict[str, Any]:
    return {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": behavior}}}


@pytest.mark.parametrize(
    ("advanced", "seconds"),
    [
        pytest.param(None, 300.0, id="nothing: the HPA's default"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=600), 600.0, id="longer"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=0), 0.0, id="at once"),
        pytest.param(_scaling_in(policies=[{"type": "Pods", "value": 1, "periodSeconds": 60}]), 300.0, id="its policies are the HPA's"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=600, selectPolicy="Min"), 600.0, id="the slowest of them too"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=600, selectPolicy="Disabled"), None, id="never"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=3601), 300.0, id="more than an HPA may have"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=-1), 300.0, id="less than nothing"),
        pytest.param(_scaling_in(stabilizationWindowSeconds="600"), 300.0, id="a string"),
        pytest.param(_scaling_in(stabilizationWindowSeconds=True, selectPolicy=["Disabled"]), 300.0, id="other types"),
        pytest.param({"horizontalPodAutoscalerConfig": {"behavior": [{"scaleDown": None}]}}, 300.0, id="another shape"),
    ],
)
def test_how_long_the_hpa_waits_before_it_removes_replicas(view: WorkloadView, advanced: Any, seconds: float | None) -> None:
    """From the behaviour that KEDA passes on to its HPA. What Kubernetes refuses for one counts as nothing."""
    view.scaled_object("ADDED", scaled_object(advanced=advanced))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert scaler.scale_in_s == seconds


@pytest.mark.parametrize(
    ("rules", "seconds"),
    [
        pytest.param({}, 0.0, id="the HPA's default"),
        pytest.param({"stabilizationWindowSeconds": 180}, 180.0, id="as rendered for planned floors"),
        pytest.param({"stabilizationWindowSeconds": 3601}, 0.0, id="more than an HPA may have"),
        pytest.param({"stabilizationWindowSeconds": "180"}, 0.0, id="a string"),
    ],
)
def test_how_long_the_hpa_waits_before_it_adds_replicas(view: WorkloadView, rules: dict[str, Any], seconds: float) -> None:
    """Apart from how long it waits before it removes some."""
    behavior = {"scaleUp": rules, "scaleDown": {"stabilizationWindowSeconds": 600}}
    view.scaled_object("ADDED", scaled_object(advanced={"horizontalPodAutoscalerConfig": {"behavior": behavior}}))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.scale_in_s, scaler.scale_out_s) == (600.0, seconds)


@pytest.mark.parametrize(("value", "seconds"), [("true", None), ("yes", None), ("false", 600.0), ("0", 600.0)])
def test_while_scale_in_is_paused_the_hpa_removes_nothing(view: WorkloadView, value: str, seconds: float | None) -> None:
    """KEDA disables scale-in in the HPA that it makes, in any spelling but false."""
    annotations = {"autoscaling.keda.sh/paused-scale-in": value}
    view.scaled_object("ADDED", scaled_object(annotations=annotations, advanced=_scaling_in(stabilizationWindowSeconds=600)))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.scale_in_s, scaler.paused) == (seconds, False)


def test_another_window_is_a_change(view: WorkloadView) -> None:
    """The next pass must know of it."""
    view.scaled_object("ADDED", scaled_object())
    assert view.scaled_object("MODIFIED", scaled_object(advanced=_scaling_in(stabilizationWindowSeconds=600)))


def test_no_scaler(view: WorkloadView) -> None:
    """The unit names none, or it does not exist, or no longer."""
    assert view.scaler(NAMESPACE, UNIT) is None
    view.scaled_object("ADDED", scaled_object())
    assert view.scaler(NAMESPACE, replace(UNIT, scaled_object=None)) is None
    assert view.scaler("other", UNIT) is None
    view.scaled_object("DELETED", scaled_object())
    assert view.scaler(NAMESPACE, UNIT) is None


def test_the_trigger_by_its_metric_name(view: WorkloadView) -> None:
    """Among several, wherever it stands; its target is the string as it is."""
    triggers = [
        {"type": "cron", "metadata": {}},
        None,
        trigger(metricName="other"),
        trigger(metricName="sd21-inf2-counter", targetMetricValue="94"),
    ]
    view.scaled_object("ADDED", scaled_object(*triggers, minReplicaCount=3, maxReplicaCount=7))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas, scaler.target, scaler.trigger_index) == (3, 7, "94", 3)


@pytest.mark.parametrize("count", [-1, 2**31, 10**17, None, "3", 3.0, True], ids=str)
def test_a_number_of_replicas_that_cannot_be_one_is_none(view: WorkloadView, count: object) -> None:
    """KEDA's defaults count then. A floor of 10**17 was remembered, and no replica could read that memory again."""
    view.scaled_object("ADDED", scaled_object(minReplicaCount=count, maxReplicaCount=count))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.min_replicas, scaler.max_replicas) == (0, 100)


def test_the_trigger_by_its_expression(view: WorkloadView) -> None:
    """The AWS sample's own form; the whole name must be there: "sd21-inf2-counter-old" and "my-sd21-inf2-counter" are other metrics."""
    wanted = 'SELECT SUM("sd21-inf2-counter") FROM SCHEMA("hw-agnostic-infer")'
    others = [
        trigger(expression=f'SELECT SUM("{name}") FROM x')
        for name in ("sd21-inf2-counter-old", "my-sd21-inf2-counter", "sd21-inf2-counters")
    ]
    view.scaled_object("ADDED", scaled_object(*others, trigger(expression=wanted, targetMetricValue="61")))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.trigger_index, scaler.target) == (3, "61")


def test_a_metric_name_goes_before_an_expression(view: WorkloadView) -> None:
    """Also where the expression's trigger stands first."""
    view.scaled_object("ADDED", scaled_object(trigger(expression='"sd21-inf2-counter"'), trigger(metricName="sd21-inf2-counter")))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert scaler.trigger_index == 1


def test_a_unit_without_a_metric_has_no_trigger(view: WorkloadView) -> None:
    """An empty name is contained in every expression: it must match none."""
    view.scaled_object("ADDED", scaled_object(trigger(expression="anything"), trigger(metricName="")))
    scaler = view.scaler(NAMESPACE, replace(UNIT, counter_metric=""))
    assert scaler is not None
    assert scaler.trigger_index is None


@pytest.mark.parametrize(
    ("annotations", "paused"),
    [
        (None, False),
        ({}, False),
        ({"autoscaling.keda.sh/paused": "true"}, True),
        ({"autoscaling.keda.sh/paused": "True"}, True),
        ({"autoscaling.keda.sh/paused": "1"}, True),
        ({"autoscaling.keda.sh/paused": "t"}, True),
        ({"autoscaling.keda.sh/paused": "yes"}, True),  # KEDA: what is no boolean pauses
        ({"autoscaling.keda.sh/paused": ""}, True),
        ({"autoscaling.keda.sh/paused": "false"}, False),
        ({"autoscaling.keda.sh/paused": "False"}, False),
        ({"autoscaling.keda.sh/paused": "F"}, False),
        ({"autoscaling.keda.sh/paused": "0"}, False),
        ({"autoscaling.keda.sh/paused-replicas": "0"}, True),
        ({"autoscaling.keda.sh/paused-replicas": ""}, True),
        ({"autoscaling.keda.sh/paused": "false", "autoscaling.keda.sh/paused-replicas": "3"}, True),
        ({"autoscaling.keda.sh/paused-scale-out": "true"}, True),
        ({"autoscaling.keda.sh/paused-scale-out": "false"}, False),
        ({"autoscaling.keda.sh/paused-scale-in": "true"}, False),  # more replicas are still allowed
    ],
)
def test_a_paused_scaler(annotations: dict[str, str] | None, view: WorkloadView, *, paused: bool) -> None:
    """As KEDA itself reads the annotations: an operator's pause in any spelling must be left alone."""
    view.scaled_object("ADDED", scaled_object(annotations=annotations))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert scaler.paused == paused


def says(**statuses: str) -> dict[str, Any]:
    """A ScaledObject with conditions as KEDA 2.20.2 writes them; those of one that it scales where nothing else is said."""
    known = {"Ready": "True", "Active": "False", "Fallback": "False", "Paused": "False", "HPAActive": "True", **statuses}
    listed = [{"type": kind, "status": status, "reason": f"{kind}Reason", "message": f"{kind} is\n so"} for kind, status in known.items()]
    return scaled_object(trigger(metricName="sd21-inf2-counter")) | {"status": {"conditions": listed}}


@pytest.mark.parametrize(
    ("statuses", "trouble", "lasting"),
    [
        pytest.param({}, "", False, id="none"),
        pytest.param({"Ready": "Unknown", "Fallback": "Unknown", "HPAActive": "Unknown"}, "", False, id="new"),
        pytest.param({"Ready": "False", "Fallback": "True"}, "KEDA calls it not ready: Ready is so", True, id="not ready"),
        pytest.param({"Fallback": "True"}, "KEDA cannot read its metric and keeps to its fallback", True, id="fallback, and ready"),
        pytest.param({"HPAActive": "False"}, "its HPA does not scale: HPAActiveReason", False, id="one question failed"),
    ],
)
def test_what_keeps_keda_from_scaling(statuses: dict[str, str], trouble: str, view: WorkloadView, *, lasting: bool) -> None:
    """From its conditions; `Ready` alone does not tell."""
    view.scaled_object("ADDED", says(**statuses))
    scaler = view.scaler(NAMESPACE, UNIT)
    assert scaler is not None
    assert (scaler.trouble, scaler.lasting) == (trouble, lasting)


def test_only_trouble_makes_a_status_a_change(view: WorkloadView) -> None:
    """KEDA writes the status at every poll."""
    assert view.scaled_object("ADDED", says())
    assert not view.scaled_object("MODIFIED", says(Active="True"))
    assert view.scaled_object("MODIFIED", says(Fallback="True"))
    assert not view.scaled_object("MODIFIED", says(Fallback="True", HPAActive="False", Active="True"))
    assert view.scaled_object("MODIFIED", says())


# --- what is no change ---


def test_only_what_decisions_need_is_a_change(view: WorkloadView) -> None:
    """The same again, a status of KEDA's, another node's heartbeat: no change. Another count, port or target: a change."""
    objects: list[tuple[Any, dict[str, Any]]] = [
        (view.pod, waiting_pod("p", pools=("inf2",))),
        (_deploy(view), deployment("sd21-inf2")),
        (view.endpoint_slice, endpoint_slice("s-1", "s", endpoint("10.0.0.1"))),
        (view.service, {"metadata": {"name": "s", "namespace": NAMESPACE}, "spec": {"ports": [{"port": 80}]}}),
        (view.scaled_object, scaled_object(trigger(metricName="m"))),
        (partial(view.binding, LBC), _binding("b", NAMESPACE)),
    ]
    for take, obj in objects:
        assert take("ADDED", obj), take
        touched = obj | {"metadata": obj["metadata"] | {"resourceVersion": "99", "managedFields": [{}]}}
        assert not take("MODIFIED", touched), take
        assert take("DELETED", touched), take
        assert not take("DELETED", obj), take
    assert view.scaled_object("ADDED", scaled_object())
    assert not view.scaled_object("MODIFIED", scaled_object() | {"status": {"a": 1}})
    assert view.scaled_object("MODIFIED", scaled_object(annotations={"autoscaling.keda.sh/paused": "true"}))


def test_a_running_pod_is_no_change(view: WorkloadView) -> None:
    """Most changes of pods in a cluster are of pods that run."""
    assert not view.pod("ADDED", waiting_pod("p", nodeName="n"))
    assert not view.pod("MODIFIED", waiting_pod("p", nodeName="n"))
    assert not view.pod("DELETED", waiting_pod("p", nodeName="n"))


def test_an_affinity_of_one_pool_is_a_pin(view: WorkloadView) -> None:
    """Node affinity pins as a node selector does."""
    pod = waiting_pod("p", pools=("inf2", "trn1"))
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms[0]["matchExpressions"].append(requirement("karpenter.sh/nodepool", "inf2"))
    view.pod("ADDED", pod)
    assert _pools_of(view, NAMESPACE) == ("inf2",)
    assert view.waiting(NAMESPACE, "unknown") is None
