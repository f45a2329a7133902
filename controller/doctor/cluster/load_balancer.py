"""Checks of the AWS Load Balancer Controller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import INGRESS_CLASSES, NAMESPACES, TARGET_GROUP_BINDINGS
from controller.doctor.cluster.components import LOAD_BALANCER_CONTROLLER, step
from controller.doctor.cluster.observe import ClusterSeen
from controller.doctor.cluster.presence import deployed, kinds, missing_altogether
from controller.doctor.report import Finding, Level, ok, problem, warning
from controller.policy import text as words
from controller.signals.objects import mapping, name_of, text

CLASS_CONTROLLER: Final = "ingress.k8s.aws/alb"
READINESS_LABEL: Final = "elbv2.k8s.aws/pod-readiness-gate-inject"

# Each turns a Service or an action that is missing from "503 for everybody, and reported as a success" into "the old rules stay".
_STRICT: Final[Mapping[str, str]] = {
    "tolerate-non-existent-backend-service": "tolerateNonExistentBackendService",
    "tolerate-non-existent-backend-action": "tolerateNonExistentBackendAction",
}


def load_balancer_controller(seen: ClusterSeen) -> Iterator[Finding]:
    """The AWS Load Balancer Controller runs, in a version that is known here."""
    yield from deployed(seen, LOAD_BALANCER_CONTROLLER, Level.PROBLEM)


def load_balancer_kinds(seen: ClusterSeen) -> Iterator[Finding]:
    """TargetGroupBindings are served, and an IngressClass leads to the controller."""
    if missing_altogether(seen, LOAD_BALANCER_CONTROLLER, TARGET_GROUP_BINDINGS):
        return
    yield from kinds(seen, TARGET_GROUP_BINDINGS, component=LOAD_BALANCER_CONTROLLER)
    if INGRESS_CLASSES.name in seen.unreadable:
        return  # the check of the Ingress says what can be told without it
    classes = [name_of(one) for one in seen.objects(INGRESS_CLASSES) if text(one, "spec", "controller") == CLASS_CONTROLLER]
    if not classes:
        fix = f"let its chart make one (createIngressClassResource: true): {step(LOAD_BALANCER_CONTROLLER)}"
        yield problem(f"no IngressClass of {CLASS_CONTROLLER}: nobody serves an Ingress of class alb", fix)


def load_balancer_flags(seen: ClusterSeen) -> Iterator[Finding]:
    """What is missing keeps the old rules instead of answering 503, and every application's namespace is watched."""
    workload = seen.deployment(LOAD_BALANCER_CONTROLLER)
    if workload is None:
        return
    tolerant = [flag for flag in _STRICT if workload.flag(flag) != "false"]
    if tolerant:
        values = words.listing(f"{_STRICT[flag]}: false" for flag in tolerant)
        flags = words.listing(f"--{flag}" for flag in tolerant)
        yield warning(
            f"not false: {flags}. What does not exist becomes a 503 for everybody, reported as a success",
            f"set {values}: {step(LOAD_BALANCER_CONTROLLER)}",
        )
    only = workload.flag("watch-namespace") or ""
    outside = sorted({one.namespace for one in seen.applications if only and one.namespace != only})
    if outside:
        yield problem(f"it watches namespace {only} alone; {words.listing(outside)} has applications", "take --watch-namespace away")
    if not tolerant and not outside:
        yield ok("a missing Service or action keeps the old rules")


def readiness_gates(seen: ClusterSeen) -> Iterator[Finding]:
    """New pods of every application wait until the load balancer calls them healthy."""
    workload = seen.deployment(LOAD_BALANCER_CONTROLLER)
    if workload is not None and workload.flag("enable-pod-readiness-gate-inject") == "false":
        yield warning(
            "--enable-pod-readiness-gate-inject is false: no pod gets a readiness gate",
            f"set enablePodReadinessGateInject: true: {step(LOAD_BALANCER_CONTROLLER)}",
        )
        return
    labels: dict[str, Mapping[str, Any]] = {name_of(one): mapping(one, "metadata", "labels") for one in seen.objects(NAMESPACES)}
    spaces = sorted({one.namespace for one in seen.applications})
    for space in spaces:
        if space not in labels:
            yield problem(f"namespace {space} of an application does not exist", "create it, or correct metadata.namespace")
    open_ = [space for space in spaces if space in labels and labels[space].get(READINESS_LABEL) != "enabled"]
    if open_:
        commands = "; ".join(f"kubectl label namespace {space} {READINESS_LABEL}=enabled" for space in open_)
        yield warning(
            f"no readiness gates in {words.listing(open_)}: a rollout may end old pods before the load balancer knows the new ones",
            f"{commands}; it holds for pods made from then on",
        )
    if spaces and not open_ and set(spaces) <= labels.keys():
        yield ok(f"injected in {words.listing(spaces)}")
