"""Checks of KEDA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.clients.kube import (
    API_SERVICES,
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
)
from controller.doctor.cluster.components import KEDA, KEDA_METRICS, step
from controller.doctor.cluster.look import METRICS_API, ClusterSeen
from controller.doctor.cluster.presence import absent, described, kinds, missing_altogether, runs, stopped
from controller.doctor.report import Finding, Level, ok, problem, unknown, warning
from controller.policy import text as words
from controller.signals.objects import Object, items, mapping, name_of, namespace_of, text

_CLOUDWATCH = "aws-cloudwatch"


def keda(seen: ClusterSeen) -> Iterator[Finding]:
    """KEDA's operator and its metrics server run, in a version that is known here, and watch every application's namespace."""
    level = Level.PROBLEM if _wanted(seen) else Level.WARNING
    found = {component: seen.deployment(component) for component in (KEDA, KEDA_METRICS)}
    wrong: list[Finding] = []
    for component, workload in found.items():
        if workload is None:
            wrong.append(absent(seen, component, level))
            if component is KEDA:
                break  # without its operator nothing else of it is worth a line
        else:
            wrong += [*stopped(component, workload), *runs(component, workload)]
    operator = found[KEDA]
    if operator is not None:
        watched = {part.strip() for part in operator.environment.get("WATCH_NAMESPACE", "").split(",")} - {""}
        outside = sorted({one.namespace for one in seen.applications} - watched) if watched else []
        if outside:
            wrong.append(
                problem(
                    f"it watches {words.listing(sorted(watched))} alone; {words.listing(outside)} has applications", "set watchNamespace"
                )
            )
    yield from wrong or [ok("; ".join(described(workload) for workload in found.values() if workload is not None))]


def _wanted(seen: ClusterSeen) -> bool:
    return any(unit.scaled_object for unit in seen.units)


def keda_kinds(seen: ClusterSeen) -> Iterator[Finding]:
    """Its kinds are served, and the API of external metrics is its own."""
    if missing_altogether(seen, KEDA, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS):
        return
    yield from kinds(seen, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, component=KEDA)
    service = next((mapping(one, "spec", "service") for one in seen.objects(API_SERVICES)), None)
    if service is None:
        yield problem(
            f"there is no APIService {METRICS_API}: no HPA of KEDA's gets a value", f"install KEDA's metrics server: {step(KEDA)}"
        )
    elif "keda" not in text(service, "name"):
        yield problem(
            f"external metrics belong to {text(service, 'namespace')}/{text(service, 'name') or 'the API server'}, not to KEDA",
            f"take {METRICS_API} away from it: only one can serve it",
        )


def keda_authentication(seen: ClusterSeen) -> Iterator[Finding]:
    """Every trigger on CloudWatch names an authentication that exists and takes the operator's AWS role."""
    known = {("TriggerAuthentication", namespace_of(one), name_of(one)): one for one in seen.objects(TRIGGER_AUTHENTICATIONS)} | {
        ("ClusterTriggerAuthentication", "", name_of(one)): one for one in seen.objects(CLUSTER_TRIGGER_AUTHENTICATIONS)
    }
    ours = {(app.namespace, unit.scaled_object) for app in seen.applications for unit in app.units if unit.scaled_object}
    findings: list[Finding] = []
    count = 0
    for scaled in seen.objects(SCALED_OBJECTS):
        if (namespace_of(scaled), name_of(scaled)) not in ours:
            continue
        for trigger in items(scaled, "spec", "triggers"):
            if text(trigger, "type") == _CLOUDWATCH:
                count += 1
                findings += _of_trigger(seen, scaled, trigger, known)
    if count:
        yield from findings or [ok(f"{count} trigger(s) on CloudWatch")]


def _of_trigger(seen: ClusterSeen, scaled: Object, trigger: Any, known: dict[tuple[str, str, str], Object]) -> Iterator[Finding]:  # noqa: ANN401 - JSON
    reference = mapping(trigger, "authenticationRef")
    what = f"the CloudWatch trigger of ScaledObject {name_of(scaled)}"
    if not reference:
        if text(trigger, "metadata", "identityOwner") != "operator":
            yield warning(f"{what} has no authenticationRef: without credentials of its own KEDA reads nothing", _fix())
        return
    kind = text(reference, "kind") or "TriggerAuthentication"
    space = "" if kind.startswith("Cluster") else namespace_of(scaled)
    listed = CLUSTER_TRIGGER_AUTHENTICATIONS if kind.startswith("Cluster") else TRIGGER_AUTHENTICATIONS
    if listed.name in seen.unreadable:
        yield unknown(f"{what} uses {kind} {text(reference, 'name')}: {seen.unreadable[listed.name]}", f"grant `list` on {listed.name}")
        return
    found = known.get((kind, space, text(reference, "name")))
    if found is None:
        yield problem(f"{what} uses {kind} {text(reference, 'name')}, which does not exist", _fix())
        return
    provider = text(found, "spec", "podIdentity", "provider")
    if provider == "aws-eks":
        yield warning(f"{kind} {name_of(found)} uses the provider aws-eks, which newer versions of KEDA no longer have", _fix())


def _fix() -> str:
    return f"a TriggerAuthentication with spec.podIdentity.provider: aws, named in authenticationRef: {step(KEDA)}"
