"""Checks of KEDA."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import (
    API_SERVICES,
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
)
from controller.objects import Object, items, mapping, name_of, namespace_of, text
from controller.policy import text as words
from controller.signals.workloads import TRIGGER_TYPE
from failover_setup.doctor.cluster.components import KEDA, KEDA_METRICS, step
from failover_setup.doctor.cluster.observe import METRICS_API, ClusterObservation
from failover_setup.doctor.cluster.presence import absent, described, kinds, missing_altogether, runs, stopped
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown, warning

Reference = tuple[str, str, str]
"""Kind, namespace ("" for cluster-scoped) and name of an authentication."""


def keda(observed: ClusterObservation) -> Iterator[Finding]:
    """KEDA's operator and its metrics server run, in a supported version, and watch every application's namespace."""
    level = Level.PROBLEM if _wanted(observed) else Level.WARNING
    found = {component: observed.deployment(component) for component in (KEDA, KEDA_METRICS)}
    wrong: list[Finding] = []
    for component, workload in found.items():
        if workload is None:
            wrong.append(absent(observed, component, level))
            if component is KEDA:
                break  # without the operator the metrics server does not matter
        else:
            wrong += [*stopped(component, workload), *runs(component, workload)]
    operator = found[KEDA]
    if operator is not None:
        watched = {part.strip() for part in operator.environment.get("WATCH_NAMESPACE", "").split(",")} - {""}
        unwatched = sorted({one.namespace for one in observed.applications} - watched) if watched else []
        if unwatched:
            wrong.append(
                problem(
                    f"it watches only {words.listing(sorted(watched))}; {words.listing(unwatched)} has applications", "set watchNamespace"
                )
            )
    yield from wrong or [ok("; ".join(described(workload) for workload in found.values() if workload is not None))]


def _wanted(observed: ClusterObservation) -> bool:
    return any(unit.scaled_object for unit in observed.units)


def keda_kinds(observed: ClusterObservation) -> Iterator[Finding]:
    """KEDA's kinds are served, and the API of external metrics belongs to KEDA."""
    if missing_altogether(observed, KEDA, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS):
        return
    yield from kinds(observed, SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS, component=KEDA)
    service = next((mapping(one, "spec", "service") for one in observed.objects(API_SERVICES)), None)
    if service is None:
        yield problem(
            f"APIService {METRICS_API} does not exist: no HPA of KEDA's gets a value", f"install KEDA's metrics server: {step(KEDA)}"
        )
    elif "keda" not in text(service, "name"):
        yield problem(
            f"external metrics belong to {text(service, 'namespace')}/{text(service, 'name') or 'the API server'}, not to KEDA",
            f"remove its APIService {METRICS_API}: only one component can serve it",
        )


def keda_authentication(observed: ClusterObservation) -> Iterator[Finding]:
    """Every trigger on CloudWatch names an authentication that exists and uses the operator's AWS role."""
    users: dict[Reference, list[str]] = {}
    bare: list[str] = []
    for scaled, trigger in _triggers(observed):
        reference = mapping(trigger, "authenticationRef")
        if reference:
            kind = text(reference, "kind") or TRIGGER_AUTHENTICATIONS.kind
            space = "" if kind == CLUSTER_TRIGGER_AUTHENTICATIONS.kind else namespace_of(scaled)
            users.setdefault((kind, space, text(reference, "name")), []).append(name_of(scaled))
        elif text(trigger, "metadata", "identityOwner") != "operator":
            bare.append(name_of(scaled))
    wrong = [finding for reference, names in users.items() for finding in _of_reference(observed, reference, names)]
    if bare:
        wrong.append(warning(f"no authenticationRef in {words.listing(bare)}: KEDA has no credentials and reads nothing", _fix()))
    if wrong:
        yield from wrong
    elif users:
        yield ok(words.listing(f"{kind} {name}" for kind, _, name in users))


def _triggers(observed: ClusterObservation) -> Iterator[tuple[Object, Object]]:
    """The applications' ScaledObjects, each with each of its triggers on CloudWatch."""
    ours = {(app.namespace, unit.scaled_object) for app in observed.applications for unit in app.units if unit.scaled_object}
    for scaled in observed.objects(SCALED_OBJECTS):
        if (namespace_of(scaled), name_of(scaled)) in ours:
            yield from ((scaled, one) for one in items(scaled, "spec", "triggers") if text(one, "type") == TRIGGER_TYPE)


def _of_reference(observed: ClusterObservation, reference: Reference, names: list[str]) -> Iterator[Finding]:
    """What is wrong with an authentication that ScaledObjects name."""
    kind, space, name = reference
    what = f"{kind} {name}, which {words.listing(names)} use,"
    resource = CLUSTER_TRIGGER_AUTHENTICATIONS if kind == CLUSTER_TRIGGER_AUTHENTICATIONS.kind else TRIGGER_AUTHENTICATIONS
    if resource.name in observed.unreadable:
        yield unknown(f"{what} cannot be read: {observed.unreadable[resource.name]}", f"grant `list` on {resource.name}")
        return
    found = next((one for one in observed.objects(resource) if (namespace_of(one), name_of(one)) == (space, name)), None)
    if found is None:
        yield problem(f"{what} does not exist", _fix())
    elif text(found, "spec", "podIdentity", "provider") == "aws-eks":
        yield warning(f"{what} has the provider aws-eks, which newer versions of KEDA do not support", _fix())


def _fix() -> str:
    return f"create a TriggerAuthentication with spec.podIdentity.provider: aws, and name it in authenticationRef: {step(KEDA)}"
