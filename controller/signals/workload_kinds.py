"""The kinds of workload that a deployment unit may be, each in the shape of a Deployment.

A kind differs in four things: where its pods' template is, how it selects its pods, through which owners they are its own, and how many of
them a replica takes. All else that is read is the same: `spec.replicas` is what the scale subresource sets, `status.readyReplicas` counts
what is ready. Names and labels are those of argoproj/argo-rollouts v1.9 and kubernetes-sigs/lws v0.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from controller.clients.kube import DEPLOYMENTS, LEADER_WORKER_SETS, ROLLOUTS, STATEFUL_SETS, Resource
from controller.objects import Object, dig, integer, items, mapping, name_of, text
from controller.policy.model import Application, WorkloadKind

WORKLOADS: Final[Mapping[WorkloadKind, Resource]] = {
    WorkloadKind(resource.kind): resource for resource in (DEPLOYMENTS, ROLLOUTS, STATEFUL_SETS, LEADER_WORKER_SETS)
}

SIZE: Final = "podsPerReplica"
"""Where `as_deployment` puts how many pods a replica has; it is not a field of Kubernetes."""

_SET: Final = "leaderworkerset.sigs.k8s.io/name"
_GROUP: Final = "leaderworkerset.sigs.k8s.io/group-index"
_WORKER: Final = "leaderworkerset.sigs.k8s.io/worker-index"
_HASHES: Final = {WorkloadKind.DEPLOYMENT: "pod-template-hash", WorkloadKind.ROLLOUT: "rollouts-pod-template-hash"}
"""The label by which each kind tells its ReplicaSets apart, and whose value ends their names."""


class Owner(NamedTuple):
    """What keeps a pod, at the end of the chain of owners: kind and name, "" where nobody does."""

    kind: str
    name: str


def kinds_of(applications: Iterable[Application]) -> frozenset[Resource]:
    """The kinds that must be read for these applications. A Rollout may take its template from a Deployment (`spec.workloadRef`)."""
    used = {unit.workload_kind for one in applications for unit in one.units}
    return frozenset(WORKLOADS[kind] for kind in used) | ({DEPLOYMENTS} if WorkloadKind.ROLLOUT in used else frozenset())


def as_deployment(obj: Object) -> Object:
    """A workload of any kind with its selector and its template where a Deployment has them.

    The template's labels are those of the pods that serve, its spec is that of the pods that need accelerators: of a LeaderWorkerSet the
    leader's labels, and the spec of the workers, or of a leader that is alone.
    """
    groups = mapping(obj, "spec", "leaderWorkerTemplate")
    if not groups:
        return obj
    size, workers = max(1, integer(groups, "size") or 1), mapping(groups, "workerTemplate")
    leader = mapping(groups, "leaderTemplate") or workers
    labels = {**mapping(leader, "metadata", "labels"), _SET: name_of(obj), _WORKER: "0"}
    template = {"metadata": {"labels": labels}, "spec": mapping(workers if size > 1 else leader, "spec")}
    spec = {"replicas": dig(obj, "spec", "replicas"), "selector": {"matchLabels": {_SET: name_of(obj)}}, "template": template, SIZE: size}
    return {"metadata": mapping(obj, "metadata"), "spec": spec, "status": mapping(obj, "status")}


def template_source(obj: Object) -> str:
    """The Deployment from which a Rollout takes its selector and its template, "" where it has its own."""
    reference = mapping(obj, "spec", "workloadRef")
    return text(reference, "name") if text(reference, "kind") == DEPLOYMENTS.kind else ""


def as_deployments(listed: Mapping[str, Sequence[Object]]) -> dict[Owner, Object]:
    """All workloads in the shape of a Deployment, by kind and name. A Rollout has the template of the Deployment that it names.

    Args:
        listed: Objects, by the resource's name.
    """
    found = {Owner(kind, name_of(one)): as_deployment(one) for kind, what in WORKLOADS.items() for one in listed.get(what.name, ())}
    for owner, obj in found.items():
        source = mapping(found.get(Owner(WorkloadKind.DEPLOYMENT, template_source(obj))), "spec")
        if source:
            found[owner] = {**obj, "spec": {**mapping(obj, "spec"), **{key: mapping(source, key) for key in ("selector", "template")}}}
    return found


def is_part(owner: Owner, obj: Object, workloads: Mapping[Owner, Object]) -> bool:
    """Whether a workload is only a part of another: a LeaderWorkerSet's StatefulSet, the Deployment of which a Rollout has its template.

    Args:
        owner: Its kind and name.
        obj: The object.
        workloads: All of its namespace.
    """
    source = owner.kind == WorkloadKind.DEPLOYMENT and owner.name in map(template_source, workloads.values())
    return source or (owner.kind == WorkloadKind.STATEFUL_SET and _SET in mapping(obj, "metadata", "labels"))


def owner_of(pod: Object) -> Owner:
    """What keeps a pod, as the names and labels of its first owner say.

    A ReplicaSet is named after its Deployment or Rollout. A leader's StatefulSet has the name of its LeaderWorkerSet, those of its workers
    are named after the leader's pod: the label tells.
    """
    labels = mapping(pod, "metadata", "labels")
    first = next((one for one in items(pod, "metadata", "ownerReferences") if dig(one, "controller") is True), None)
    kind, name = text(first, "kind"), text(first, "name")
    if kind == STATEFUL_SETS.kind and text(labels, _SET):
        return Owner(WorkloadKind.LEADER_WORKER_SET, text(labels, _SET))
    for owner, label in _HASHES.items() if kind == "ReplicaSet" else ():
        ending = f"-{text(labels, label)}"
        if len(ending) > 1 and name.endswith(ending):
            return Owner(owner, name.removesuffix(ending))
    return Owner(kind, name)


def replica_of(pod: Object) -> str:
    """The group of a LeaderWorkerSet that a pod is part of, "" where a pod is a replica of its own."""
    labels = mapping(pod, "metadata", "labels")
    return text(labels, _GROUP) if text(labels, _SET) else ""
