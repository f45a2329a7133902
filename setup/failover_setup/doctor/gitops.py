"""The configuration that makes a GitOps tool ignore the fields that the controller writes, for the objects of an application file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from controller.policy.model import Application, RoutingObservation, Unit
from controller.routing.kinds import routing_port
from failover_setup.doctor.gitops_tools import GitOps

_FLOOR: Final = "/spec/minReplicaCount"


def ignore_snippet(tool: GitOps, application: Application, places: Mapping[str, int], routing: RoutingObservation | None = None) -> str:
    """The YAML to merge into the tool's own objects.

    Args:
        tool: The tool.
        application: The application whose objects it must ignore.
        places: By unit, the index of the trigger on its counter in its ScaledObject, if known. For other units the first trigger is
            assumed, and the comment states that.
        routing: The routing object as observed; None: it could not be read.

    Returns:
        YAML documents with comments.
    """
    owned = routing_port(application).owned(application, routing or RoutingObservation(exists=False))
    made = _argocd(application, owned) if tool is GitOps.ARGOCD else _flux(application, places, owned)
    return "---\n".join(f"{_comment(comment)}{yaml.safe_dump(body, sort_keys=False, width=200)}" for comment, body in made)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" if line else "#\n" for line in text.splitlines())


def _scaled(application: Application) -> Iterator[tuple[Unit, str]]:
    """The units whose scaling the controller sets, and the ScaledObjects' names."""
    yield from ((unit, unit.scaled_object) for unit in application.units if unit.scaled_object)


_ARGOCD: Final = """Argo CD: merge this into spec of the Application that syncs {key}.
Keep {field} in Git as in cost mode: a new {kind} needs it.
Without RespectIgnoreDifferences a sync for any other reason would write it back.
Argo CD syncs a list of a custom resource as a whole (argoproj/argo-cd#17694). So with the
entries for ScaledObjects it does not apply a change of spec.triggers in Git. Apply such a
change by hand.
deploy/gitops/argocd-health.lua tells Argo CD the health of the FailoverApplication itself."""


def _index(owned: str) -> str:
    """What a pointer into a list needs to be known of."""
    return _BY_INDEX if "/rules/" in owned else ""


def _named(application: Application) -> dict[str, str]:
    """The words of a comment."""
    port = routing_port(application)
    return {"key": application.key, "field": port.field(application), "kind": port.resource.kind}


def _argocd(application: Application, owned: str) -> Iterator[tuple[str, dict[str, Any]]]:
    port, name = routing_port(application), application.route.name
    pointers = {"jsonPointers": [owned]}
    ignored = [_argocd_object(application.routing_namespace, port.resource.group, port.resource.kind, name) | pointers]
    for unit, name in _scaled(application):
        entry = _argocd_object(application.namespace, "keda.sh", "ScaledObject", name) | {"jsonPointers": [_FLOOR]}
        if unit.counter_metric:
            entry["jqPathExpressions"] = [".spec.triggers[].metadata.targetMetricValue"]
        ignored.append(entry)
    options = ["RespectIgnoreDifferences=true", "ApplyOutOfSyncOnly=true"]
    yield (
        _ARGOCD.format(**_named(application)) + _index(owned),
        {"spec": {"ignoreDifferences": ignored, "syncPolicy": {"syncOptions": options}}},
    )


def _argocd_object(namespace: str, group: str, kind: str, name: str) -> dict[str, Any]:
    return {"group": group, "kind": kind, "name": name, "namespace": namespace}


_KUSTOMIZATION: Final = """Flux, kustomize-controller 1.9 or later: merge this into the Kustomization that syncs {key}.
Keep {field} in Git as in cost mode: a new {kind} needs it.
Before 1.9 Flux cannot ignore a field that is in Git. Annotate these objects in Git with
kustomize.toolkit.fluxcd.io/ssa: IfNotPresent instead; Flux then creates them and never
changes them again.
deploy/gitops/flux-health.yaml tells Flux the health of the FailoverApplication itself."""
_HELM_RELEASE: Final = """Flux, if a HelmRelease creates these objects: merge this into it. It stops the correction of drift.
An upgrade of the release still writes the chart's values, and the controller corrects them."""
_BY_INDEX: Final = """
The pointer has the index that the rule has now. A rule that Git inserts before it moves the
index, and the tool would write the backends of another rule: change the pointer with it."""
_ASSUMED: Final = """
triggers/0 is assumed to be the trigger on the counter of: {units}.
The ScaledObject could not be read; correct the index if it is another."""


def _flux(application: Application, places: Mapping[str, int], owned: str) -> Iterator[tuple[str, dict[str, Any]]]:
    port = routing_port(application)
    ignored = [_flux_rule(application.routing_namespace, port.resource.kind, application.route.name, [owned])]
    assumed = []
    for unit, name in _scaled(application):
        paths = [_FLOOR]
        if unit.counter_metric:
            paths.append(f"/spec/triggers/{places.get(unit.name, 0)}/metadata/targetMetricValue")
            assumed += [] if unit.name in places else [unit.name]
        ignored.append(_flux_rule(application.namespace, "ScaledObject", name, paths))
    note = _ASSUMED.format(units=", ".join(assumed)) if assumed else ""
    yield _KUSTOMIZATION.format(**_named(application)) + _index(owned) + note, {"spec": {"ignore": ignored}}
    yield _HELM_RELEASE, {"spec": {"driftDetection": {"mode": "enabled", "ignore": [*ignored]}}}


def _flux_rule(namespace: str, kind: str, name: str, paths: list[str]) -> dict[str, Any]:
    return {"paths": paths, "target": {"kind": kind, "name": name, "namespace": namespace}}
