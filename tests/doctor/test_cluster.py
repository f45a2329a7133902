"""Each check of the cluster's components on a cluster without faults, and on one with a single fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controller.clients.kube import (
    API_SERVICES,
    AUTO_NODE_CLASSES,
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    INGRESS_CLASSES,
    NAMESPACES,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
)
from controller.policy.model import Application, Reservation
from failover_setup.doctor.cluster.account import Account
from failover_setup.doctor.cluster.checks import CLUSTER_CHECKS, examine_cluster
from failover_setup.doctor.cluster.components import KARPENTER, NVIDIA_PLUGIN
from failover_setup.doctor.cluster.observe import AUTO_KINDS, KINDS, ClusterObservation
from failover_setup.doctor.cluster.workload import find, older, read, tolerates
from failover_setup.doctor.report import Level, Result
from failover_testbed.cluster import components, manifests
from tests.support.applications import NOW, application, seed_units

BAD, WARN, DUNNO, OK = Level.PROBLEM, Level.WARNING, Level.UNKNOWN, Level.OK


@dataclass
class Complete:
    """A cluster with every component and a node for every NodePool. A test changes it before it observes it."""

    apps: list[Application] = field(default_factory=lambda: [application(units=seed_units())])
    served: set[str] = field(default_factory=lambda: {kind.name for kind in KINDS})
    groups: set[str] = field(default_factory=lambda: {kind.api_version for kind in KINDS})
    homes: tuple[str, ...] = ()
    unreadable: dict[str, str] = field(default_factory=dict)
    listed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    account: Account = field(default_factory=lambda: Account((), ""))

    def __post_init__(self) -> None:
        made = [copy.deepcopy({**one, "status": components.all_well(one)}) for one in components.workloads()]
        classes, node_class, metrics = components.cluster_scoped()
        (app,) = self.apps
        pools = {unit.node_pool: unit.instance_type for unit in app.units}
        self.listed = {
            DEPLOYMENTS.name: [one for one in made if one["kind"] == "Deployment"],
            DAEMON_SETS.name: [one for one in made if one["kind"] == "DaemonSet"],
            INGRESS_CLASSES.name: [classes],
            API_SERVICES.name: [metrics],
            NAMESPACES.name: [components.namespace(app.namespace, gated=True)],
            NODE_POOLS.name: [manifests.node_pool(name, (kind,), {}) for name, kind in pools.items()],
            NODE_CLASSES.name: [node_class],
            NODES.name: [node(f"node-{name}", name, kind) for name, kind in pools.items()],
            SCALED_OBJECTS.name: [manifests.scaled_object(app, unit, 1) for unit in app.units if unit.scaled_object],
            TRIGGER_AUTHENTICATIONS.name: [components.trigger_authentication(app.namespace)],
            CLUSTER_TRIGGER_AUTHENTICATIONS.name: [],
        }

    budget, wide = 1.0, False

    def too_many(self) -> None:
        """More applications than the budget of ELBv2 calls can verify."""
        self.apps, self.budget = [*self.apps] * 8, 0.1

    def scattered(self, *, wide: bool = False) -> None:
        """Applications in ten namespaces."""
        self.apps, self.wide, self.budget = [replace(self.apps[0], namespace=f"shop-{number}") for number in range(10)], wide, 10.0
        names = [*{"shop", *(one.namespace for one in self.apps)}]
        self.listed["namespaces"] = [
            {"metadata": {"name": name, "labels": {"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"}}} for name in names
        ]

    def observed(self) -> ClusterObservation:
        known = (self.apps, frozenset(self.groups), frozenset(self.served), self.listed, self.homes, self.unreadable, self.account)
        return ClusterObservation(NOW, "https://api", *known, elbv2_calls_per_s=self.budget, cluster_wide=self.wide)

    def one(self, name: str) -> dict[str, Any]:
        """An object by its name."""
        (found,) = [one for some in self.listed.values() for one in some if one["metadata"]["name"] == name]
        return found

    def container(self, name: str) -> dict[str, Any]:
        """The container of a workload."""
        found: dict[str, Any] = self.one(name)["spec"]["template"]["spec"]["containers"][0]
        return found

    def drop(self, *names: str) -> None:
        """Removes objects."""
        for kind, some in self.listed.items():
            self.listed[kind] = [one for one in some if one["metadata"]["name"] not in names]


def node(name: str, pool: str, instance_type: str) -> dict[str, Any]:
    device = "aws.amazon.com/neuron" if instance_type.startswith(("inf", "trn")) else "nvidia.com/gpu"
    return {
        "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": pool}},
        "status": {"allocatable": {"cpu": "4", device: "1"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def results(made: Complete, check: str) -> list[Result]:
    return [result for result in examine_cluster(made.observed()).results if result.check.name == check]


@pytest.mark.parametrize("check", CLUSTER_CHECKS, ids=lambda check: check.name)
def test_every_check_passes_without_faults(check: Any) -> None:
    """Otherwise people would learn to ignore it."""
    assert [(one.finding.level, one.finding.fix) for one in results(Complete(), check.name)] == [(OK, "")]


def status(made: Complete, name: str, **values: int) -> None:
    made.one(name)["status"].update(values)


def image(made: Complete, name: str, text: str) -> None:
    made.container(name)["image"] = text


def env(made: Complete, name: str, **values: str | None) -> None:
    pairs = {one["name"]: one["value"] for one in made.container(name)["env"]} | values
    made.container(name)["env"] = [{"name": key, "value": value} for key, value in pairs.items() if value is not None]


def flag(made: Complete, old: str, new: str | None) -> None:
    arguments = made.container("aws-load-balancer-controller")["args"]
    made.container("aws-load-balancer-controller")["args"] = [one for one in arguments if not one.startswith(old)] + ([new] if new else [])


def taint(made: Complete, **tolerations: str) -> None:
    spec = made.one("inf2")["spec"]["template"]["spec"]
    spec["taints"] = [{"key": "team", "value": "a", "effect": "NoSchedule"}]
    made.one("neuron-device-plugin")["spec"]["template"]["spec"]["tolerations"] = [tolerations] if tolerations else []


def trigger(made: Complete) -> dict[str, Any]:
    found: dict[str, Any] = made.one("sd21-inf2-hpa")["spec"]["triggers"][0]
    return found


def bare(made: Complete, name: str) -> None:
    made.one(name)["status"]["allocatable"] = {"cpu": "4", "nvidia.com/gpu": "0"}


def all_of(*faults: Callable[[Complete], object]) -> Callable[[Complete], None]:
    def make(made: Complete) -> None:
        for fault in faults:
            fault(made)

    return make


def without_applications(made: Complete) -> None:
    """No application file."""
    made.apps = []


def without_scaling(made: Complete) -> None:
    units = tuple(replace(unit, scaled_object=None) for unit in seed_units())
    made.apps = [application(units=units)]


LBC = "aws-load-balancer-controller"
GPU_NODES = ("node-g5", "node-g6")


def auto_mode(made: Complete) -> None:
    """EKS Auto Mode in place of one's own Karpenter and load-balancer controller."""
    made.drop("karpenter", LBC)
    made.groups = (made.groups - {"elbv2.k8s.aws/v1beta1", "karpenter.k8s.aws/v1"}) | {"eks.amazonaws.com/v1"}
    made.served = (made.served - {"targetgroupbindings.elbv2.k8s.aws", "ec2nodeclasses.karpenter.k8s.aws"}) | {
        one.name for one in AUTO_KINDS
    }
    made.one("alb")["spec"]["controller"] = "eks.amazonaws.com/alb"
    for one in made.listed[NODE_POOLS.name]:
        one["spec"]["template"]["spec"]["nodeClassRef"] = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "accelerators"}
    ready = {"type": "Ready", "status": "True", "reason": "Ready"}
    made.listed[AUTO_NODE_CLASSES.name] = [{"metadata": {"name": "accelerators"}, "status": {"conditions": [ready]}}]
    for one in made.listed[NAMESPACES.name]:
        one["metadata"]["labels"] = {"eks.amazonaws.com/pod-readiness-gate-inject": "enabled"}


def in_auto_mode(*faults: Callable[[Complete], object]) -> Callable[[Complete], None]:
    return all_of(auto_mode, *faults)


def unready(made: Complete) -> None:
    condition = {"type": "Ready", "status": "False", "reason": "SubnetsNotFound", "message": "SubnetSelector did not match any Subnets\n"}
    made.one("accelerators")["status"]["conditions"] = [condition]


def own_label(made: Complete) -> None:
    made.one("inf2")["spec"]["template"]["spec"]["requirements"].append(
        {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["inf2"]}
    )


FAULTS: tuple[tuple[str, Level, str, Callable[[Complete], object]], ...] = (
    ("watch-scope", WARN, "108 watches for 10 namespaces: 90 threads and connections, about 15 MiB, more", lambda m: m.scattered()),
    ("watch-scope", OK, "18 watches for 10 namespaces", lambda m: m.scattered(wide=True)),
    ("verification-budget", WARN, "is enough for 7 every 10 min", lambda m: m.too_many()),
    ("karpenter", BAD, "Karpenter is not installed", lambda m: m.drop("karpenter")),
    ("karpenter", BAD, "has no ready pod, 2 wanted", lambda m: status(m, "karpenter", readyReplicas=0)),
    ("karpenter", WARN, "has 1 of 2 pods ready", lambda m: status(m, "karpenter", readyReplicas=1)),
    ("karpenter", WARN, "is being updated", lambda m: m.one("karpenter")["metadata"].update(generation=2)),
    ("karpenter", BAD, "is scaled to 0", all_of(lambda m: m.one("karpenter")["spec"].update(replicas=0))),
    ("karpenter", BAD, "Karpenter is 1.2.4; versions before 1.3.0", lambda m: image(m, "karpenter", "mirror/karpenter/controller:v1.2.4")),
    ("karpenter", OK, "version 1.3.0", lambda m: image(m, "karpenter", "mirror:5000/karpenter/controller:1.3.0@sha256:0")),
    ("karpenter", OK, "version unknown", lambda m: image(m, "karpenter", "mirror:5000/karpenter/controller:latest")),
    (
        "karpenter",
        DUNNO,
        "not in kube-system, keda; other namespaces",
        all_of(lambda m: m.drop("karpenter"), lambda m: setattr(m, "homes", ("kube-system", "keda"))),
    ),
    ("karpenter", DUNNO, "EKS Auto Mode", all_of(lambda m: m.drop("karpenter"), lambda m: m.groups.add("eks.amazonaws.com/v1"))),
    ("karpenter", DUNNO, "may not be listed", lambda m: m.unreadable.update({DEPLOYMENTS.name: "deployments.apps may not be listed"})),
    ("auto-mode", BAD, "correct nodeClassRef of the NodePools", in_auto_mode(lambda m: m.drop("accelerators"))),
    ("auto-mode", BAD, "is not ready: SubnetSelector did not match any Subnets", in_auto_mode(unready)),
    ("auto-mode", WARN, "use the labels of eks.amazonaws.com: eks.amazonaws.com/instance-family", in_auto_mode(own_label)),
    ("auto-mode", DUNNO, "AUTO_MODE_COMPUTE_LOGS", in_auto_mode()),
    (
        "karpenter-kinds",
        BAD,
        "nodeclasses of eks.amazonaws.com/v1 are not",
        in_auto_mode(lambda m: m.served.discard(AUTO_NODE_CLASSES.name)),
    ),
    ("load-balancer-controller", DUNNO, "EKS Auto Mode runs it outside", in_auto_mode()),
    ("load-balancer-kinds", OK, "targetgroupbindings.eks.amazonaws.com/v1", in_auto_mode()),
    ("load-balancer-kinds", BAD, "no IngressClass of eks.amazonaws.com/alb", in_auto_mode(lambda m: m.drop("alb"))),
    ("readiness-gates", OK, "injected in shop", in_auto_mode()),
    (
        "readiness-gates",
        WARN,
        "kubectl label namespace shop eks.amazonaws.com/pod-readiness-gate-inject=enabled",
        in_auto_mode(lambda m: m.one("shop")["metadata"].update(labels={"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"})),
    ),
    (
        "karpenter-kinds",
        BAD,
        "nodepools, nodeclaims of karpenter.sh/v1 are not served; the group is served as karpenter.sh/v1beta1",
        all_of(
            lambda m: m.served.difference_update({"nodepools.karpenter.sh", "nodeclaims.karpenter.sh"}),
            lambda m: m.groups.add("karpenter.sh/v1beta1"),
        ),
    ),
    ("karpenter-settings", WARN, "no interruption queue", lambda m: env(m, "karpenter", INTERRUPTION_QUEUE=None)),
    (
        "capacity-reservations",
        WARN,
        "selects no reservation: on-demand launches of NodePool inf2 refuse cr-1 (inf2.xlarge, us-west-2a, 1 of 2 free)",
        all_of(
            lambda m: env(m, "karpenter", FEATURE_GATES="ReservedCapacity=true"),
            lambda m: setattr(m, "account", Account((Reservation("cr-1", "inf2.xlarge", "us-west-2a", 1, 2),), "")),
        ),
    ),
    (
        "capacity-reservations",
        DUNNO,
        "whether the account has some that are refused is not known: IAM does not allow it",
        all_of(
            lambda m: env(m, "karpenter", FEATURE_GATES="ReservedCapacity=true"),
            lambda m: setattr(m, "account", Account(problem="IAM does not allow it")),
        ),
    ),
    ("capacity-reservations", OK, "feature gate ReservedCapacity off", lambda m: setattr(m, "account", Account())),
    ("load-balancer-controller", BAD, "is not installed", lambda m: m.drop(LBC)),
    (
        "load-balancer-controller",
        BAD,
        "versions before 2.12.0",
        lambda m: image(m, LBC, "602401143452.dkr.ecr.us-west-2.amazonaws.com/amazon/aws-load-balancer-controller:v2.11.0"),
    ),
    (
        "load-balancer-kinds",
        BAD,
        "targetgroupbindings of elbv2.k8s.aws/v1beta1 are not served",
        lambda m: m.served.discard("targetgroupbindings.elbv2.k8s.aws"),
    ),
    ("load-balancer-kinds", BAD, "no IngressClass of ingress.k8s.aws/alb", lambda m: m.drop("alb")),
    (
        "load-balancer-flags",
        WARN,
        "not false: --tolerate-non-existent-backend-service",
        lambda m: flag(m, "--tolerate-non-existent-backend-service", None),
    ),
    (
        "load-balancer-flags",
        WARN,
        "set tolerateNonExistentBackendAction: false",
        lambda m: flag(m, "--tolerate-non-existent-backend-action", "--tolerate-non-existent-backend-action=true"),
    ),
    (
        "load-balancer-flags",
        BAD,
        "watches only namespace web; shop has applications",
        lambda m: flag(m, "--watch-namespace", "--watch-namespace=web"),
    ),
    ("load-balancer-flags", OK, "keeps the old rules", lambda m: flag(m, "--watch-namespace", "--watch-namespace=shop")),
    ("readiness-gates", WARN, "no readiness gates in shop", lambda m: m.listed.update({NAMESPACES.name: [components.namespace("shop")]})),
    ("readiness-gates", BAD, "namespace shop of an application does not exist", lambda m: m.listed.update({NAMESPACES.name: []})),
    (
        "readiness-gates",
        WARN,
        "no pod gets a readiness gate",
        lambda m: flag(m, "--enable-pod-readiness", "--enable-pod-readiness-gate-inject=false"),
    ),
    ("keda", BAD, "KEDA is not installed", lambda m: m.drop("keda-operator")),
    ("keda", WARN, "KEDA is not installed", all_of(without_scaling, lambda m: m.drop("keda-operator"))),
    ("keda", BAD, "metrics server is not installed", lambda m: m.drop("keda-operator-metrics-apiserver")),
    ("keda", BAD, "KEDA is 2.16.1; versions before 2.17.0", lambda m: image(m, "keda-operator", "ghcr.io/kedacore/keda:2.16.1")),
    ("keda", BAD, "it watches only web; shop has applications", lambda m: env(m, "keda-operator", WATCH_NAMESPACE="web")),
    ("keda-kinds", BAD, "scaledobjects of keda.sh/v1alpha1 are not served", lambda m: m.served.discard("scaledobjects.keda.sh")),
    ("keda-kinds", BAD, "APIService v1beta1.external.metrics.k8s.io does not exist", lambda m: m.listed.update({API_SERVICES.name: []})),
    (
        "keda-kinds",
        BAD,
        "belong to monitoring/datadog-cluster-agent",
        lambda m: m.one("v1beta1.external.metrics.k8s.io")["spec"].update(
            service={"name": "datadog-cluster-agent", "namespace": "monitoring"}
        ),
    ),
    (
        "keda-authentication",
        BAD,
        "sd21-g5-cuda-hpa use, does not exist",
        lambda m: m.listed.update({TRIGGER_AUTHENTICATIONS.name: []}),
    ),
    ("keda-authentication", WARN, "no authenticationRef in sd21-inf2-hpa", lambda m: trigger(m).pop("authenticationRef")),
    (
        "keda-authentication",
        OK,
        "TriggerAuthentication keda-aws",
        all_of(lambda m: trigger(m).pop("authenticationRef"), lambda m: trigger(m)["metadata"].update(identityOwner="operator")),
    ),
    (
        "keda-authentication",
        BAD,
        "ClusterTriggerAuthentication keda-aws, which sd21-inf2-hpa use, does not exist",
        lambda m: trigger(m)["authenticationRef"].update(kind="ClusterTriggerAuthentication"),
    ),
    (
        "keda-authentication",
        WARN,
        "has the provider aws-eks",
        lambda m: m.one("keda-aws")["spec"]["podIdentity"].update(provider="aws-eks"),
    ),
    (
        "nvidia-device-plugin",
        BAD,
        "is not installed",
        all_of(lambda m: m.drop("nvidia-device-plugin"), lambda m: bare(m, "node-g5")),
    ),
    ("nvidia-device-plugin", OK, "their image includes the plugin", lambda m: m.drop("nvidia-device-plugin")),
    ("nvidia-device-plugin", BAD, "is not installed", lambda m: m.drop("nvidia-device-plugin", *GPU_NODES)),
    ("nvidia-device-plugin", WARN, "is not installed", all_of(without_applications, lambda m: m.drop("nvidia-device-plugin"))),
    (
        "nvidia-device-plugin",
        BAD,
        "1 ready node(s) of the units' NodePools offer no nvidia.com/gpu: node-g5",
        lambda m: bare(m, "node-g5"),
    ),
    ("nvidia-device-plugin", WARN, "has 1 of 2 pods ready", lambda m: status(m, "nvidia-device-plugin", desiredNumberScheduled=2)),
    (
        "nvidia-device-plugin",
        OK,
        "no node needs it at present",
        all_of(lambda m: m.drop(*GPU_NODES), lambda m: status(m, "nvidia-device-plugin", desiredNumberScheduled=0, numberReady=0)),
    ),
    (
        "neuron-device-plugin",
        BAD,
        "is not installed",
        lambda m: m.drop("neuron-device-plugin", "node-inf2", "node-trn1"),
    ),
    ("neuron-device-plugin", BAD, "does not tolerate the taint team=a:NoSchedule of NodePool inf2", taint),
    ("neuron-device-plugin", BAD, "does not tolerate", lambda m: taint(m, key="team", value="b")),
    ("neuron-device-plugin", OK, "1 of 1", lambda m: taint(m, key="team", operator="Exists", effect="NoSchedule")),
    (
        "container-insights",
        WARN,
        "is not installed",
        lambda m: m.drop("amazon-cloudwatch-observability-controller-manager", "cloudwatch-agent"),
    ),
    ("container-insights", WARN, "its agent is missing", lambda m: m.drop("cloudwatch-agent")),
    ("container-insights", WARN, "has 1 of 3 pods ready", lambda m: status(m, "cloudwatch-agent", desiredNumberScheduled=3)),
)


@pytest.mark.parametrize(("check", "level", "text", "fault"), FAULTS, ids=[f"{check}: {text[:50]}" for check, _, text, _ in FAULTS])
def test_a_fault_is_named_by_its_check_alone(check: str, level: Level, text: str, fault: Callable[[Complete], object]) -> None:
    """With its observation and its fix. A check that finds a fault reports nothing as ok."""
    made = Complete()
    fault(made)
    found = results(made, check)
    matching = [one for one in found if text in f"{one.finding.seen} | {one.finding.fix}"]
    assert [one.finding.level for one in matching] == [level], [(one.finding.level, one.finding.seen) for one in found]
    assert level in {OK, DUNNO} or matching[0].finding.fix
    if level in {BAD, WARN}:
        assert all(one.finding.level is not OK for one in found if check not in {"load-balancer-kinds", "keda-kinds"})


def test_every_check_has_a_fault() -> None:
    """A check that never finds a fault checks nothing."""
    assert {check for check, level, _, _ in FAULTS if level in {BAD, WARN}} == {check.name for check in CLUSTER_CHECKS}


def test_an_empty_cluster_is_reported_once_for_each_component() -> None:
    """Kinds that are missing together with their component are not a second problem."""
    made = Complete(served=set(), groups=set())
    made.apps, made.listed = [], {}
    found = [(one.check.name, one.finding.level) for one in examine_cluster(made.observed()).results]
    assert found == [
        ("karpenter", BAD),
        ("load-balancer-controller", BAD),
        ("keda", WARN),
        ("nvidia-device-plugin", WARN),
        ("neuron-device-plugin", WARN),
        ("container-insights", WARN),
    ]


# --- reading workloads ------------------------------------------------------------------------------------------------------------------


def test_a_component_is_found_by_its_name_before_its_image() -> None:
    """The NVIDIA chart has three DaemonSets with one image. A Karpenter under another name is found by its image."""
    plugin = next(one for one in components.workloads() if one["metadata"]["name"] == "nvidia-device-plugin")
    side = copy.deepcopy(plugin)
    side["metadata"]["name"] = "nvidia-device-plugin-mps-control-daemon"
    found = find(NVIDIA_PLUGIN, [side, plugin])
    assert found is not None
    assert found.where == "kube-system/nvidia-device-plugin"
    own = copy.deepcopy(next(components.workloads()))
    own["metadata"] = {"name": "nodes", "namespace": "infra"}
    found = find(KARPENTER, [own])
    assert found is not None
    assert found.where == "infra/nodes"


def test_any_answer_of_the_api_server_can_be_read() -> None:
    """Empty objects, and objects with values of the wrong type."""
    strange: tuple[dict[str, Any], ...] = (
        {},
        {"spec": None, "status": []},
        {"spec": {"template": {"spec": {"containers": [None, {"image": 3, "args": [1]}]}}}},
    )
    for obj in strange:
        workload = read(obj)
        assert (workload.version, workload.ready) == ((), 0)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [(["--a=1"], "1"), (["--a", "1"], "1"), (["-a=1", "--a=2"], "2"), (["--a", "--b"], "true"), (["--ab=1"], None), (["--a"], "true")],
)
def test_flags_are_read_as_go_reads_them(arguments: list[str], value: str | None) -> None:
    """The last one counts."""
    workload = read({"spec": {"template": {"spec": {"containers": [{"image": "i", "args": arguments}]}}}})
    assert workload.flag("a") == value


def test_versions_are_compared_by_number() -> None:
    """2.9 is older than 2.12; an unknown version is not older."""
    assert older((2, 9, 0), (2, 12, 0))
    assert not older((2, 12, 0), (2, 12, 0))
    assert not older((), (2, 12, 0))
    assert not older((1, 0, 0), ())


@pytest.mark.parametrize(
    ("toleration", "yes"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "value": "1"}, True),
        ({"key": "a", "value": "2"}, False),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations_match_taints_as_in_the_scheduler(toleration: dict[str, str], yes: bool) -> None:
    """The taint is a=1:NoSchedule."""
    assert tolerates([toleration], {"key": "a", "value": "1", "effect": "NoSchedule"}) is yes
