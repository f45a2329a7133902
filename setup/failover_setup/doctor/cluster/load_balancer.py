"""Checks of the AWS Load Balancer Controller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, INGRESS_CLASSES, NAMESPACES, TARGET_GROUP_BINDINGS
from controller.objects import mapping, name_of, text
from controller.policy import text as words
from controller.signals.load_balancer.turns import expected_load
from failover_setup.doctor.cluster.components import LOAD_BALANCER_CONTROLLER, step
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.cluster.presence import deployed, kinds, missing_altogether
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown, warning

CLASS_CONTROLLER: Final = "ingress.k8s.aws/alb"
AUTO_CLASS_CONTROLLER: Final = "eks.amazonaws.com/alb"
READINESS_LABEL: Final = "elbv2.k8s.aws/pod-readiness-gate-inject"
AUTO_READINESS_LABEL: Final = "eks.amazonaws.com/pod-readiness-gate-inject"

# If one is false, a missing Service or action leaves the old rules in place. Otherwise every request gets a 503, reported as a success.
_STRICT: Final[Mapping[str, str]] = {
    "tolerate-non-existent-backend-service": "tolerateNonExistentBackendService",
    "tolerate-non-existent-backend-action": "tolerateNonExistentBackendAction",
}


def load_balancer_controller(observed: ClusterObservation) -> Iterator[Finding]:
    """The AWS Load Balancer Controller runs, in a supported version."""
    if _only_auto(observed):
        yield unknown("EKS Auto Mode runs it outside the cluster, which does not show its version, flags and logs")
        return
    yield from deployed(observed, LOAD_BALANCER_CONTROLLER, Level.PROBLEM)


def verification_budget(observed: ClusterObservation) -> Iterator[Finding]:
    """The controller's budget of ELBv2 calls verifies every application at least every ten minutes."""
    if not observed.applications:
        return
    if observed.elbv2_calls_per_s is None:
        yield ok("verification is off (aws.apis)")
        return
    load = expected_load(observed.applications, observed.elbv2_calls_per_s)
    if load.too_much:
        yield warning(load.words(), load.remedy())
    else:
        yield ok(f"enough for {load.servable} applications, of which there are {load.applications}")


def _only_auto(observed: ClusterObservation) -> bool:
    """Whether EKS Auto Mode alone makes load balancers."""
    return observed.auto_mode and observed.deployment(LOAD_BALANCER_CONTROLLER) is None


def load_balancer_kinds(observed: ClusterObservation) -> Iterator[Finding]:
    """TargetGroupBindings are served, and an IngressClass names the controller."""
    only_auto = _only_auto(observed)
    if not only_auto and missing_altogether(observed, LOAD_BALANCER_CONTROLLER, TARGET_GROUP_BINDINGS):
        return
    yield from kinds(observed, AUTO_TARGET_GROUP_BINDINGS if only_auto else TARGET_GROUP_BINDINGS, component=LOAD_BALANCER_CONTROLLER)
    if INGRESS_CLASSES.name in observed.unreadable:
        return  # the check `ingress-class` covers what can be known without them
    controllers = {text(one, "spec", "controller") for one in observed.objects(INGRESS_CLASSES)}
    if only_auto and AUTO_CLASS_CONTROLLER not in controllers:
        yield problem(
            f"no IngressClass of {AUTO_CLASS_CONTROLLER}: EKS Auto Mode serves no Ingress",
            f"create one with spec.controller: {AUTO_CLASS_CONTROLLER}",
        )
    elif not only_auto and CLASS_CONTROLLER not in controllers:
        fix = f"let its chart create one (createIngressClassResource: true): {step(LOAD_BALANCER_CONTROLLER)}"
        yield problem(f"no IngressClass of {CLASS_CONTROLLER}: nothing serves an Ingress of class alb", fix)


def load_balancer_flags(observed: ClusterObservation) -> Iterator[Finding]:
    """A missing action or Service keeps the old rules instead of answering 503, and every application's namespace is watched."""
    workload = observed.deployment(LOAD_BALANCER_CONTROLLER)
    if workload is None:
        return
    tolerant = [flag for flag in _STRICT if workload.flag(flag) != "false"]
    if tolerant:
        values = words.listing(f"{_STRICT[flag]}: false" for flag in tolerant)
        flags = words.listing(f"--{flag}" for flag in tolerant)
        yield warning(
            f"not false: {flags}. If a Service or action is missing, every request gets a 503, reported as a success",
            f"set {values}: {step(LOAD_BALANCER_CONTROLLER)}",
        )
    only = workload.flag("watch-namespace") or ""
    spaces = {space for one in observed.applications for space in (one.namespace, one.routing_namespace)}
    unwatched = sorted(spaces - {only}) if only else []
    if unwatched:
        yield problem(f"it watches only namespace {only}; {words.listing(unwatched)} has applications", "remove --watch-namespace")
    if not tolerant and not unwatched:
        yield ok("a missing Service or action keeps the old rules")


def readiness_gates(observed: ClusterObservation) -> Iterator[Finding]:
    """New pods of every application are not ready until the load balancer reports them healthy."""
    workload = observed.deployment(LOAD_BALANCER_CONTROLLER)
    if workload is not None and workload.flag("enable-pod-readiness-gate-inject") == "false":
        yield warning(
            "--enable-pod-readiness-gate-inject is false: no pod gets a readiness gate",
            f"set enablePodReadinessGateInject: true: {step(LOAD_BALANCER_CONTROLLER)}",
        )
        return
    labels: dict[str, Mapping[str, Any]] = {name_of(one): mapping(one, "metadata", "labels") for one in observed.objects(NAMESPACES)}
    spaces = sorted({one.namespace for one in observed.applications})
    for space in spaces:
        if space not in labels:
            yield problem(f"namespace {space} of an application does not exist", "create it, or correct metadata.namespace")
    enabling = [*([] if _only_auto(observed) else [READINESS_LABEL]), *([AUTO_READINESS_LABEL] if observed.auto_mode else [])]
    open_ = [space for space in spaces if space in labels and not any(labels[space].get(one) == "enabled" for one in enabling)]
    if open_:
        label = AUTO_READINESS_LABEL if _only_auto(observed) else READINESS_LABEL
        commands = "; ".join(f"kubectl label namespace {space} {label}=enabled" for space in open_)
        yield warning(
            f"no readiness gates in {words.listing(open_)}: a rollout may end old pods before the load balancer knows the new ones",
            f"{commands}; it applies to pods created afterwards",
        )
    if spaces and not open_ and set(spaces) <= labels.keys():
        yield ok(f"injected in {words.listing(spaces)}")
