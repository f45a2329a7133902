"""Each check on an application without faults, and on one with a single fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.clients.kube import DEPLOYMENTS, ENDPOINT_SLICES, SCALED_OBJECTS, SERVICES, TARGET_GROUP_BINDINGS
from controller.clock import format_rfc3339
from controller.policy.model import (
    Application,
    CapacityWeights,
    Mode,
    PlannedMode,
    PolicySettings,
    RoutingStyle,
    Strategy,
    Target,
    WorkloadKind,
)
from controller.routing.annotations import MARKER, PAUSE_REASON, PAUSED_UNTIL, PINNED_MODE
from controller.routing.attributes import ALGORITHM, LEAST_OUTSTANDING
from controller.routing.ingress.action import format_action
from controller.routing.ingress.standby import live_rule, standby_rule
from controller.routing.names import PREFIX, action_key
from controller.signals.workload_kinds import WORKLOADS
from failover_setup.doctor.checks import CHECKS, examine
from failover_setup.doctor.report import Level, Result
from tests.support.applications import COST_TARGETS, NOW, application
from tests.support.healthy import Healthy

KEY = action_key("weighted-routing")
Fault = Callable[[Healthy], object]
MINE = [check for check in CHECKS if check.applies("Ingress", exists=True)]
"""The checks of an application with an Ingress."""


def results(healthy: Healthy, check: str) -> list[Result]:
    return [result for result in examine(healthy.observed()).results if result.check.name == check]


@pytest.mark.parametrize("style", list(RoutingStyle))
@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("check", MINE, ids=lambda check: check.name)
def test_every_check_passes_without_faults(check: Any, mode: Mode, style: RoutingStyle) -> None:
    """In both modes and with both styles; otherwise people would learn to ignore it."""
    if style is RoutingStyle.IN_PLACE:
        made = Healthy(application(routing_style=style), standby=False)
        made.annotations[MARKER] = str(mode)
    else:
        made = Healthy(application(), mode)
    found = results(made, check.name)
    assert [(one.finding.level, one.finding.fix) for one in found] == [(Level.OK, "")], found


@pytest.mark.parametrize("kind", [kind for kind in WorkloadKind if kind is not WorkloadKind.DEPLOYMENT])
def test_units_of_every_kind_of_workload_are_checked(kind: WorkloadKind) -> None:
    """As Deployments are: all is well, the workload is missing, its kind is not installed, its ScaledObject scales another kind."""
    app = application()
    app = replace(app, units=tuple(replace(unit, workload_kind=kind) for unit in app.units))
    found = [(one.check.name, one.finding.seen) for one in examine(Healthy(app).observed()).results if one.finding.level is not Level.OK]
    assert found == []
    gone, absent, other = Healthy(app), Healthy(app), Healthy(app)
    gone.drop(WORKLOADS[kind].name, app.units[0].deployment)
    assert f"{app.units[0].workload} of sd21-inf2 does not exist" in [one.finding.seen for one in results(gone, "workloads")]
    absent.unreadable[WORKLOADS[kind].name] = f"{WORKLOADS[kind].name} is not installed"
    assert [(one.finding.level, one.finding.fix) for one in results(absent, "workloads")] == [
        (Level.UNKNOWN, "install it: see docs/install.md")
    ]
    target = other.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"]["scaleTargetRef"]
    target["kind"] = "Deployment"
    said = f"ScaledObject sd21-inf2-hpa scales Deployment {target['name']}, and sd21-inf2 has {app.units[0].workload}"
    assert said in [one.finding.seen for one in examine(other.observed()).results]


def rule(service: str, port: dict[str, Any], host: str = "", path: str = "/", kind: str = "Prefix") -> dict[str, Any]:
    paths = [{"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": port}}}]
    return ({"host": host} if host else {}) | {"http": {"paths": paths}}


def both(*faults: Fault) -> Fault:
    """Several changes that together are one fault."""

    def make(made: Healthy) -> None:
        for fault in faults:
            fault(made)

    return make


def exactly(made: Healthy) -> None:
    made.rules[0] = rule("weighted-routing", {"name": "use-annotation"}, path="/v1", kind="Exact")


def set_action(made: Healthy, text: str | None) -> None:
    if text is None:
        del made.annotations[KEY]
    else:
        made.annotations[KEY] = text


def without_stickiness(made: Healthy) -> None:
    action = json.loads(made.annotations[KEY])
    del action["forwardConfig"]["targetGroupStickinessConfig"]
    made.annotations[KEY] = json.dumps(action)


def owned_by(made: Healthy, *managers: str) -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{KEY}": {}}}}
    made.ingress["metadata"]["managedFields"] = [
        {"manager": name, "operation": "Apply", "time": format_rfc3339(NOW - 60 + index), "fieldsV1": fields}
        for index, name in enumerate(managers)
    ]


def marked_by(made: Healthy, manager: str) -> None:
    made.annotations[MARKER] = "cost"
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{MARKER}": {}}}}
    written = {"manager": manager, "operation": "Apply", "time": format_rfc3339(NOW - 60), "fieldsV1": fields}
    made.ingress["metadata"].setdefault("managedFields", []).append(written)


def ingress_of_group(name: str, namespace: str = "shop") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "annotations": {f"{PREFIX}/group.name": "web"}}, "spec": {"rules": []}}


def grouped(made: Healthy, *others: str, complete: bool = True) -> None:
    made.annotations[f"{PREFIX}/group.name"] = "web"
    made.group = [ingress_of_group(name) for name in others]
    made.group_complete = complete


def grouped_by_class(made: Healthy) -> None:
    """The IngressClass puts the Ingress into a group: only its target groups show that."""
    for one in made.listed[TARGET_GROUP_BINDINGS.name]:
        one["metadata"]["labels"] = {"ingress.k8s.aws/stack": "shared"}


def empty(made: Healthy, service: str) -> None:
    made.one(ENDPOINT_SLICES.name, f"{service}-x")["endpoints"] = []


def attributes(made: Healthy, text: str) -> None:
    made.one(SERVICES.name, "sd21-all")["metadata"]["annotations"] = {f"{PREFIX}/target-group-attributes": text}


def trigger(made: Healthy) -> dict[str, Any]:
    found: dict[str, Any] = made.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"]["triggers"][0]["metadata"]
    return found


def serving(image: str, model: str = "meta-llama/Llama-3.2-1B-Instruct", memory: str = "12Gi") -> Fault:
    """VLLM in the pods of sd21-inf2."""

    def make(made: Healthy) -> None:
        spec = made.one(DEPLOYMENTS.name, "sd21-inf2")["spec"]["template"]["spec"]
        limits = {"aws.amazon.com/neuron": "1", "memory": memory}
        spec["containers"] = [{"name": "vllm", "image": image, "command": ["vllm", "serve", model], "resources": {"limits": limits}}]
        made.app = replace(made.app, units=(replace(made.app.units[0], framework="neuron"), *made.app.units[1:]))

    return make


NXDI = "public.ecr.aws/neuron/pytorch-inference-vllm-neuronx:0.16.0-neuronx-py312-sdk2.31.1-ubuntu24.04"
OPTIMUM = "x/huggingface-vllm-inference-neuronx:0.11.0-optimum0.4.5-neuronx-py310-sdk2.26.1-ubuntu22.04"


def policy(**changes: Any) -> Application:
    return application(policy=PolicySettings(**changes))


SIX = json.dumps(
    {
        "type": "forward",
        "forwardConfig": {"targetGroups": [{"serviceName": one, "servicePort": 80, "weight": 1} for one in (*"abcde", "sd21-inf2")]},
    }
)
COST = format_action(COST_TARGETS, 0)
BAD, WARN, DUNNO, OK = Level.PROBLEM, Level.WARNING, Level.UNKNOWN, Level.OK


def auto_mode(made: Healthy) -> None:
    """EKS Auto Mode has made the target groups."""
    for one in made.listed[TARGET_GROUP_BINDINGS.name]:
        labels = one["metadata"]["labels"]
        one["metadata"]["labels"] = {key.replace("ingress.k8s.aws", "ingress.eks.amazonaws.com"): value for key, value in labels.items()}


def bound_in_groups(made: Healthy, group: str, others: Mapping[str, str]) -> None:
    """The Ingress is in an explicit IngressGroup; so is each binding, or in the other group that is given for it by name."""
    made.ingress["metadata"]["annotations"][f"{PREFIX}/group.name"] = group
    for one in made.listed[TARGET_GROUP_BINDINGS.name]:
        name = one["metadata"]["name"]
        one["metadata"]["labels"] = {"ingress.k8s.aws/stack": others.get(name, group)}


FAULTS: tuple[tuple[str, Level, str, Fault], ...] = (
    ("ingress", BAD, "shop/sd21 does not exist", lambda m: setattr(m, "ingress", {})),
    (
        "ingress-class",
        DUNNO,
        "class nginx",
        both(lambda m: m.ingress["spec"].update(ingressClassName="nginx"), lambda m: m.listed.update({TARGET_GROUP_BINDINGS.name: []})),
    ),
    ("ingress-class", OK, "class edge; the load-balancer controller has", lambda m: m.ingress["spec"].update(ingressClassName="edge")),
    ("ingress-class", OK, "class alb; EKS Auto Mode has made", auto_mode),
    (
        "ingress-class",
        WARN,
        "EKS Auto Mode ignores alb.ingress.kubernetes.io/group.name",
        both(auto_mode, lambda m: m.ingress["metadata"]["annotations"].update({f"{PREFIX}/group.name": "shared"})),
    ),
    (
        "ingress-class",
        DUNNO,
        "names no class",
        both(lambda m: m.ingress["spec"].pop("ingressClassName"), lambda m: m.listed.update({TARGET_GROUP_BINDINGS.name: []})),
    ),
    (
        "algorithm",
        WARN,
        "least_outstanding_requests on sd21-all, but capacityWeights ready",
        lambda m: attributes(m, f"deregistration_delay.timeout_seconds=90,{ALGORITHM}={LEAST_OUTSTANDING}"),
    ),
    (
        "algorithm",
        WARN,
        "round_robin on sd21-all, but capacityWeights ready-throughput",
        lambda m: setattr(m, "app", policy(capacity_weights=CapacityWeights.READY_THROUGHPUT)),
    ),
    (
        "algorithm",
        OK,
        "least_outstanding_requests on sd21-all",
        both(
            lambda m: attributes(m, f"{ALGORITHM}={LEAST_OUTSTANDING}"),
            lambda m: setattr(m, "app", policy(capacity_weights=CapacityWeights.READY_THROUGHPUT)),
        ),
    ),
    ("live-rule", BAD, "no rule has the backend weighted-routing", lambda m: m.rules.pop(0)),
    (
        "live-rule",
        BAD,
        "rule 1 (old) takes",
        both(exactly, lambda m: m.rules.insert(0, rule("old", {"number": 80}, path="/v1", kind="Exact"))),
    ),
    ("live-rule", BAD, "its port is 80, not use-annotation", lambda m: m.rules.__setitem__(0, rule("weighted-routing", {"number": 80}))),
    ("live-rule", BAD, "rule 1 (sd21-inf2) takes all requests", lambda m: m.rules.insert(0, rule("sd21-inf2", {"number": 80}))),
    (
        "live-rule",
        BAD,
        "rule 1 (old) takes all requests",
        lambda m: m.rules.insert(0, rule("old", {"number": 80}, path="/*", kind="ImplementationSpecific")),
    ),
    ("live-rule", WARN, "6 standby rule(s) precede the live rule 7", lambda m: m.rules.append(m.rules.pop(0))),
    ("live-rule", OK, "rule 2 forwards /*", lambda m: m.rules.insert(0, rule("admin", {"number": 80}, path="/admin"))),
    ("live-rule", OK, "rule 2 forwards /*", lambda m: m.rules.insert(0, rule("other", {"number": 80}, host="other.example"))),
    (
        "live-rule",
        BAD,
        "rule 1 (sd21-inf2) takes all requests",
        both(
            lambda m: m.rules[0].update(host="img.example.com"),
            lambda m: m.rules.insert(0, rule("sd21-inf2", {"number": 80}, host="*.example.com")),
        ),
    ),
    (
        "live-rule",
        OK,
        "rule 2 forwards",
        both(
            lambda m: m.rules[0].update(host="*.example.com"),
            lambda m: m.rules.insert(0, rule("admin", {"number": 80}, host="admin.example.com")),
        ),
    ),
    ("action", BAD, "is missing: the load balancer answers every request with an error", lambda m: set_action(m, None)),
    (
        "action",
        BAD,
        "no rule of the Ingress uses the action weighted-routing, its rules use weighted",
        lambda m: m.rules.__setitem__(0, rule("weighted", {"name": "use-annotation"})),
    ),
    ("action", BAD, "the action is not JSON", lambda m: set_action(m, "{")),
    ("action", BAD, "has weight 40.0, which is not an integer", lambda m: set_action(m, COST.replace('"weight":40', '"weight":40.0'))),
    ("action", BAD, "allowed are integers 0 to 999", lambda m: set_action(m, COST.replace('"weight":40', '"weight":1000'))),
    ("action", BAD, "may have 5 target groups, this one has 6", lambda m: set_action(m, SIX)),
    ("action", BAD, "forwards to a, b, c, d, e, which the application file does not name", lambda m: set_action(m, SIX)),
    ("action", BAD, "a Service appears twice", lambda m: set_action(m, COST.replace("sd21-trn1", "sd21-inf2"))),
    (
        "action",
        BAD,
        "sd21-inf2:'http' in the action is 80 in the application file",
        lambda m: set_action(m, COST.replace('"servicePort":80', '"servicePort":"http"', 1)),
    ),
    ("stickiness", WARN, "does not state targetGroupStickinessConfig", without_stickiness),
    (
        "stickiness",
        BAD,
        "AWS would refuse the action of cost mode: the target group of sd21-g5-cuda has stickiness.enabled=true",
        lambda m: m.annotations.update({f"{PREFIX}/target-group-attributes": "stickiness.enabled=true"}),
    ),
    (
        "stickiness",
        OK,
        "stated: off",
        lambda m: attributes(m, "stickiness.enabled=true"),  # of the capacity Service, which is alone in its action
    ),
    ("stickiness", WARN, "clients stay on a unit for 200 s", lambda m: setattr(m, "app", policy(stickiness_cost_s=200))),
    ("stickiness", WARN, "stickiness of 30 s in capacity mode", lambda m: setattr(m, "app", policy(stickiness_capacity_s=30))),
    ("mode-marker", BAD, "says 'kost'", lambda m: m.annotations.update({MARKER: "kost"})),
    ("mode-marker", BAD, "neither that of cost nor that of capacity", lambda m: set_action(m, format_action([Target("other", 80, 1)], 0))),
    ("mode-marker", WARN, "the marker says capacity, the action is that of cost", lambda m: m.annotations.update({MARKER: "capacity"})),
    ("mode-marker", WARN, "the marker says cost, as argocd-controller wrote it", lambda m: marked_by(m, "argocd-controller")),
    ("mode-marker", OK, "mode cost", lambda m: marked_by(m, "failoverctl")),
    ("field-owner", WARN, "argocd-controller resets it", lambda m: owned_by(m, "failoverctl", "argocd-controller")),
    ("field-owner", WARN, "kustomize-controller resets it", lambda m: owned_by(m, "kustomize-controller", "failoverctl")),
    ("field-owner", WARN, "failoverctl, kubectl-edit, kubectl-edit last", lambda m: owned_by(m, "failoverctl", "kubectl-edit")),
    ("field-owner", OK, "written by failoverctl", lambda m: owned_by(m, "failoverctl")),
    (
        "field-owner",
        DUNNO,
        "flux syncs the Ingress",
        lambda m: m.ingress["metadata"].update(labels={"kustomize.toolkit.fluxcd.io/name": "apps"}),
    ),
    ("field-owner", DUNNO, "argocd syncs the Ingress", lambda m: m.annotations.update({"argocd.argoproj.io/tracking-id": "x"})),
    ("field-owner", DUNNO, "does not record who wrote it", lambda m: m.ingress["metadata"].pop("managedFields")),
    (
        "override",
        WARN,
        "paused until it is lifted: drill",
        lambda m: m.annotations.update({PAUSED_UNTIL: "forever", PAUSE_REASON: "drill"}),
    ),
    ("override", WARN, "pinned to mode capacity", lambda m: m.annotations.update({PINNED_MODE: "capacity"})),
    ("override", BAD, "cannot be read, so everything is paused", lambda m: m.annotations.update({PAUSED_UNTIL: "tomorrow"})),
    ("override", OK, "no pause", lambda m: m.annotations.update({PAUSED_UNTIL: format_rfc3339(NOW - 1)})),
    ("target-type", WARN, "instance for sd21-all", lambda m: m.annotations.update({f"{PREFIX}/target-type": "instance"})),
    ("target-type", OK, "ip", lambda m: m.annotations.pop(f"{PREFIX}/target-type")),
    (
        "target-type",
        WARN,
        "instance for sd21-all",
        both(
            lambda m: m.annotations.pop(f"{PREFIX}/target-type"),
            lambda m: m.one(TARGET_GROUP_BINDINGS.name, "k8s-sd21-all")["spec"].update(targetType="instance"),
        ),
    ),
    (
        "target-type",
        DUNNO,
        "no TargetGroupBinding shows it, for sd21-all",
        both(lambda m: m.annotations.pop(f"{PREFIX}/target-type"), lambda m: m.drop(TARGET_GROUP_BINDINGS.name, "k8s-sd21-all")),
    ),
    ("target-type", WARN, "instance for sd21-inf2", lambda m: annotate(m, "sd21-inf2", "target-type", "instance")),
    ("health-check", WARN, "/health usually answers 200", lambda m: m.annotations.update({f"{PREFIX}/healthcheck-path": "/health"})),
    ("health-check", WARN, "sd21-inf2: /healthz usually", lambda m: annotate(m, "sd21-inf2", "healthcheck-path", "/healthz")),
    ("health-check", WARN, "no path is stated", lambda m: m.annotations.pop(f"{PREFIX}/healthcheck-path")),
    ("health-check", WARN, "readinessProbe checks /warm", lambda m: probe(m, "/warm")),
    ("health-check", OK, "checks /readiness", lambda m: probe(m, "/readiness")),
    ("ingress-group", WARN, "IngressGroup web is shared with shop/a, shop/b", lambda m: grouped(m, "a", "b")),
    ("ingress-group", WARN, "only this namespace may be listed", lambda m: grouped(m, complete=False)),
    ("ingress-group", OK, "has no other Ingress", grouped),
    ("ingress-group", OK, "IngressGroup shared, which the IngressClass sets, has no other Ingress", grouped_by_class),
    (
        "ingress-group",
        WARN,
        "IngressGroup shared, which the IngressClass sets, is shared with shop/a",
        both(grouped_by_class, lambda m: setattr(m, "group", [ingress_of_group("a")])),
    ),
    (
        "ingress-group",
        DUNNO,
        "no TargetGroupBinding shows whether its IngressClass sets one",
        lambda m: m.listed.update({TARGET_GROUP_BINDINGS.name: []}),
    ),
    ("load-balancer", BAD, "has no address", lambda m: m.ingress.pop("status")),
    (
        "load-balancer",
        BAD,
        "blocked: Service",
        both(lambda m: m.event("SuccessfullyReconciled", ago=60), lambda m: m.event("FailedBuildModel", 'Service "x" not found')),
    ),
    (
        "load-balancer",
        BAD,
        "blocked: throttled",
        both(lambda m: m.event("SuccessfullyReconciled", version=4), lambda m: m.event("FailedDeployModel", "throttled", version=5)),
    ),
    (
        "load-balancer",
        OK,
        "has an address, and no event reports a failure",
        both(lambda m: m.event("FailedBuildModel", version=4), lambda m: m.event("SuccessfullyReconciled", version=5)),
    ),
    ("services", BAD, "Service sd21-all does not exist", lambda m: m.drop(SERVICES.name, "sd21-all")),
    (
        "services",
        BAD,
        "Service sd21-inf2 has no port 80; it has 8080, 'web'",
        lambda m: m.one(SERVICES.name, "sd21-inf2")["spec"].update(ports=[{"port": 8080, "name": "web"}]),
    ),
    (
        "workloads",
        WARN,
        "Deployment sd21-inf2 names no NodePool",
        lambda m: m.one(DEPLOYMENTS.name, "sd21-inf2")["spec"]["template"]["spec"].pop("nodeSelector"),
    ),
    ("known-to-work", BAD, "sd21-inf2: llama-3.2-1b on inf2 with pytorch-inference-vllm-neuronx", serving(NXDI)),
    ("known-to-work", WARN, "AWS ended patches for Neuron SDK 2.26.1", serving(OPTIMUM)),
    ("known-to-work", WARN, "qwen on inf2 with huggingface-vllm-inference-neuronx:0.11.0", serving(OPTIMUM, "qwen")),
    ("known-to-work", BAD, "sd21-inf2: memory of 12.0 GiB, needed is at least 33.9 GiB", serving(OPTIMUM, "meta-llama/Llama-3.1-8B")),
    ("workloads", BAD, "Deployment sd21-inf2 of sd21-inf2 does not exist", lambda m: m.drop(DEPLOYMENTS.name, "sd21-inf2")),
    (
        "workloads",
        WARN,
        "is pinned to other",
        lambda m: pod(m, "sd21-inf2")["spec"].update(nodeSelector={"karpenter.sh/nodepool": "other"}),
    ),
    (
        "selectors",
        BAD,
        "Service sd21-inf2 (no selector) does not select",
        lambda m: m.one(SERVICES.name, "sd21-inf2")["spec"].pop("selector"),
    ),
    ("selectors", BAD, "does not select the pods of sd21-trn1", lambda m: pod(m, "sd21-trn1")["metadata"]["labels"].pop("model")),
    (
        "selectors",
        WARN,
        "selects the pods of sd21-trn1, sd21-g5-triton",
        lambda m: m.one(SERVICES.name, "sd21-inf2")["spec"].update(selector={"model": "sd21"}),
    ),
    ("endpoints", BAD, "sd21-inf2 gets traffic and has no ready endpoint", lambda m: empty(m, "sd21-inf2")),
    ("endpoints", BAD, "sd21-all has no ready endpoint: a failover is refused", lambda m: empty(m, "sd21-all")),
    (
        "endpoints",
        WARN,
        "sd21-inf2 has no ready endpoint",
        both(lambda m: empty(m, "sd21-inf2"), lambda m: set_action(m, COST.replace('"weight":40', '"weight":0'))),
    ),
    ("standby-rules", BAD, "nothing keeps sd21-all, sd21-g5-cuda", both(lambda m: m.rules.pop(), lambda m: m.rules.pop())),
    (
        "standby-rules",
        BAD,
        "the rule of sd21-all says port 'http', the application file 80",
        lambda m: m.rules.__setitem__(-1, rule("sd21-all", {"name": "http"}, host="a.invalid")),
    ),
    (
        "standby-rules",
        WARN,
        "allowed by allowUnsafeSwitch",
        both(lambda m: m.rules.pop(), lambda m: setattr(m, "app", policy(allow_unsafe_switch=True))),
    ),
    (
        "standby-rules",
        BAD,
        "nothing keeps sd21-all registered",
        both(lambda m: m.rules.pop(), lambda m: m.drop(SERVICES.name, "sd21-all")),
    ),
    ("rule-services", BAD, "rules name sd21-all:80, and", lambda m: m.drop(SERVICES.name, "sd21-all")),
    ("rule-services", BAD, "rules name other:80, and", lambda m: m.rules.append(rule("other", {"number": 80}, host="x.example"))),
    ("rule-services", BAD, "rules name sd21-all:web, and", lambda m: m.rules.append(rule("sd21-all", {"name": "web"}, host="x.example"))),
    (
        "standby-reach",
        WARN,
        "rule 1 sends any host/direct to sd21-inf2 and bypasses the action",
        lambda m: m.rules.insert(0, rule("sd21-inf2", {"number": 80}, path="/direct")),
    ),
    (
        "standby-reach",
        OK,
        "all requests go through the action",
        lambda m: m.rules.append(rule("sd21-inf2", {"number": 80}, path="/shadowed")),
    ),
    (
        "target-group-bindings",
        BAD,
        "no TargetGroupBinding of this Ingress for sd21-all:80",
        lambda m: m.drop(TARGET_GROUP_BINDINGS.name, "k8s-sd21-all"),
    ),
    (
        "target-group-bindings",
        BAD,
        "for sd21-all:80",
        lambda m: m.one(TARGET_GROUP_BINDINGS.name, "k8s-sd21-all")["metadata"].update(labels={}),
    ),
    ("target-group-bindings", BAD, "for sd21-all:80", lambda m: bound_in_groups(m, "public", {"k8s-sd21-all": "internal"})),
    ("target-group-bindings", OK, "target group(s)", lambda m: bound_in_groups(m, "public", {})),
    ("target-group-bindings", DUNNO, "no rule names a Service", lambda m: m.rules.clear()),
    ("quotas", BAD, "107 rules, AWS allows 100", lambda m: m.rules.extend(rule("x", {"number": 80}, path=f"/{n}") for n in range(100))),
    (
        "quotas",
        BAD,
        "114 rules",
        both(
            lambda m: grouped(m, "a"),
            lambda m: m.group[0]["spec"].update(rules=[rule("x", {"number": 80})] * 50),
            lambda m: m.annotations.update({f"{PREFIX}/listen-ports": '[{"HTTP":80},{"HTTPS":443}]'}),
        ),
    ),
    ("quotas", WARN, "up to 2000 at the maximum replicas", lambda m: most_replicas(m, 200)),
    (
        "scaled-objects",
        WARN,
        "ScaledObject sd21-inf2-hpa of sd21-inf2 does not exist",
        lambda m: m.drop(SCALED_OBJECTS.name, "sd21-inf2-hpa"),
    ),
    (
        "scaled-objects",
        WARN,
        "is paused",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["metadata"].update(annotations={"autoscaling.keda.sh/paused": "true"}),
    ),
    (
        "scaled-objects",
        WARN,
        "ScaledObject sd21-inf2-hpa: KEDA cannot read its metric",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa").update(status={"conditions": [{"type": "Fallback", "status": "True"}]}),
    ),
    (
        "metric-period",
        WARN,
        "the metric period is 300 s: the demand that the controller knows is up to 7 min old (3 min with 60 s)",
        lambda m: setattr(m, "app", replace(m.app, metric_period_s=300)),
    ),
    ("scaled-objects", WARN, "has no trigger on metric sd21-inf2-counter", lambda m: trigger(m).update(metricName="other")),
    ("scaled-objects", WARN, "has no targetMetricValue in quotes", lambda m: trigger(m).update(targetMetricValue=105)),
    (
        "scaled-objects",
        WARN,
        "ScaledObject sd21-inf2-hpa may scale sd21-inf2 to 0",
        both(
            lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"].update(minReplicaCount=0),
            lambda m: setattr(m, "app", replace(m.app, units=(replace(m.app.units[0], min_replicas=0), *m.app.units[1:]))),
        ),
    ),
    (
        "scaled-objects",
        WARN,
        "while no trigger of ScaledObject sd21-inf2-hpa is active, KEDA runs idleReplicaCount 0 replicas",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"].update(idleReplicaCount=0),
    ),
    (
        "scaled-objects",
        BAD,
        "trigger 0 of ScaledObject sd21-inf2-hpa counts requests in 300 s, as KEDA does where metricStatPeriod is missing",
        lambda m: trigger(m).pop("metricStatPeriod"),
    ),
    (
        "scaled-objects",
        BAD,
        "counts requests in 120 s, and the application file in 60 s: the controller leaves its target alone",
        lambda m: trigger(m).update(metricStatPeriod="120"),
    ),
    (
        "scaled-objects",
        BAD,
        "has the Average of its metric, which does not grow with the requests",
        lambda m: trigger(m).update(metricStat="Average"),
    ),
    (
        "scaled-objects",
        BAD,
        "reads CloudWatch namespace other, and the application file names hw-agnostic-infer",
        lambda m: trigger(m).update(namespace="other"),
    ),
    (
        "scaled-objects",
        BAD,
        "has metricType Value: its target is not that of one replica",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"]["triggers"][0].update(metricType="Value"),
    ),
    (
        "scaled-objects",
        BAD,
        "ScaledObject sd21-inf2-hpa scales Deployment other, and sd21-inf2 has Deployment sd21-inf2",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"]["scaleTargetRef"].update(name="other"),
    ),
    (
        "scaled-objects",
        WARN,
        "ScaledObject sd21-inf2-hpa scales by the target of scalingModifiers.formula",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"].update(
            advanced={"scalingModifiers": {"formula": "queue + gpu", "target": "2"}}
        ),
    ),
    (
        "scaled-objects",
        WARN,
        "the HPA of ScaledObject sd21-inf2-hpa never removes replicas (selectPolicy: Disabled)",
        lambda m: m.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"].update(
            advanced={"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}
        ),
    ),
    (
        "scaled-objects",
        WARN,
        "the HPA of ScaledObject sd21-inf2-hpa adds replicas after 60 s: while those that planned floors ask for start",
        lambda m: planned_floors(m, 60),
    ),
    ("scaled-objects", OK, "sd21-inf2-hpa", lambda m: planned_floors(m, 180)),
)


def planned_floors(made: Healthy, window_s: int) -> None:
    """The floors follow the cheapest fleet, and every HPA waits before it adds replicas."""
    made.app = replace(made.app, policy=replace(made.app.policy, strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE))
    for unit in made.app.units:
        behavior = {"scaleUp": {"stabilizationWindowSeconds": window_s}}
        made.one(SCALED_OBJECTS.name, str(unit.scaled_object))["spec"]["advanced"] = {
            "horizontalPodAutoscalerConfig": {"behavior": behavior}
        }


def annotate(made: Healthy, service: str, name: str, value: str) -> None:
    made.one(SERVICES.name, service)["metadata"]["annotations"] = {f"{PREFIX}/{name}": value}


def pod(made: Healthy, deployment: str) -> dict[str, Any]:
    found: dict[str, Any] = made.one(DEPLOYMENTS.name, deployment)["spec"]["template"]
    return found


def probe(made: Healthy, path: str) -> None:
    for unit in made.app.units:
        pod(made, unit.deployment)["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": path, "port": 8000}}


def most_replicas(made: Healthy, count: int) -> None:
    made.app = replace(made.app, units=tuple(replace(unit, max_replicas=count) for unit in made.app.units))
    for one in made.listed[SCALED_OBJECTS.name]:
        one["spec"]["maxReplicaCount"] = count


@pytest.mark.parametrize(("check", "level", "words", "fault"), FAULTS, ids=[f"{one[0]}: {one[2]}" for one in FAULTS])
def test_a_fault_is_found_by_its_check(check: str, level: Level, words: str, fault: Fault) -> None:
    """With its level, with words that name the place, and with a fix for a problem or warning."""
    made = Healthy(application())
    fault(made)
    found = [result.finding for result in results(made, check)]
    assert any(one.level is level and words in one.seen for one in found), found
    assert all(one.fix for one in found if one.level in {BAD, WARN})


def test_a_unit_that_a_plan_brings_back_may_run_nothing() -> None:
    """Its floor rises again before it gets requests."""
    live = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)
    made = Healthy(application(policy=live))
    made.app = replace(made.app, units=(replace(made.app.units[0], min_replicas=0), *made.app.units[1:]))
    made.one(SCALED_OBJECTS.name, "sd21-inf2-hpa")["spec"].update(minReplicaCount=0)
    assert not any("to 0" in result.finding.seen for result in results(made, "scaled-objects"))


def test_every_check_can_fail() -> None:
    """A check that only ever reports ok checks nothing."""
    assert {one[0] for one in FAULTS if one[1] is not OK} == {check.name for check in MINE}


def test_a_kind_that_cannot_be_listed_is_never_reported_as_absent() -> None:
    """A missing permission to list Services does not mean that there are none."""
    made = Healthy(application())
    made.listed = {}
    made.unreadable = {one.name: f"{one.name} is not installed" for check in MINE for one in check.needs}
    found = {result.check.name: result.finding for result in examine(made.observed()).results}
    for check in MINE:
        if check.needs:
            assert found[check.name].level is Level.UNKNOWN
            assert all(f"{one.name} is not installed" in found[check.name].seen for one in check.needs)


def test_without_an_ingress_only_the_checks_that_do_not_need_it_run() -> None:
    """One problem instead of fifteen that repeat it."""
    made = Healthy(application())
    made.ingress = {}
    report = examine(made.observed())
    assert {result.check.name for result in report.results} == {check.name for check in CHECKS if check.applies("Ingress", exists=False)}
    assert report.remedy.patch == ()


def test_standby_rules_with_their_own_actions_count() -> None:
    """The other way to write standby rules: two actions with a condition that no request matches."""
    made = Healthy(application(), standby=False)
    targets = {"standby-cost": list(COST_TARGETS), "standby-capacity": [Target("sd21-all", 80, 1)]}
    for name, some in targets.items():
        made.annotations[action_key(name)] = format_action(some, 0)
        made.annotations[f"{PREFIX}/conditions.{name}"] = '[{"field":"source-ip","sourceIPConfig":{"values":["192.0.2.1/32"]}}]'
        made.rules.append(rule(name, {"name": "use-annotation"}, host=f"{name}.example"))
    report = examine(made.observed())
    assert {result.finding.level for result in report.results} == {Level.OK}
    assert report.remedy.patch == ()


def test_the_patch_replaces_a_standby_rule_of_another_port_literal_and_appends_the_others() -> None:
    """It leaves every other rule in place, with its host, path and type."""
    made = Healthy(application(), standby=False)
    own = rule("weighted-routing", {"name": "use-annotation"}, host="sd21.example", path="/v1", kind="Exact")
    other = {"host": "sd21-all.standby.invalid", "http": standby_rule(replace(made.app.capacity, port="http"))["http"]}
    made.ingress["spec"]["rules"] = [own, other]
    report = examine(made.observed())
    assert list(report.remedy.patch[:2]) == [
        {"op": "test", "path": "/spec/rules/1/host", "value": "sd21-all.standby.invalid"},
        {"op": "replace", "path": "/spec/rules/1", "value": standby_rule(made.app.capacity)},
    ]
    assert [one["path"] for one in report.remedy.patch[2:]] == ["/spec/rules/-"] * 5
    assert list(report.remedy.rules) == [own, standby_rule(made.app.capacity), *(standby_rule(unit.backend) for unit in made.app.units)]


def test_an_ingress_without_rules_gets_the_live_rule_too() -> None:
    """A JSON patch cannot append to a list that does not exist."""
    made = Healthy(application())
    del made.ingress["spec"]["rules"]
    report = examine(made.observed())
    assert [(one["op"], one["path"]) for one in report.remedy.patch] == [("add", "/spec/rules")]
    assert report.remedy.patch[0]["value"] == list(report.remedy.rules)
    assert report.remedy.rules[0] == live_rule("weighted-routing")
    assert len(report.remedy.rules) == 7
