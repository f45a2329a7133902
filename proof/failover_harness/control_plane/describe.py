"""Describes the state of a cluster, for the message of a test that failed or timed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from controller.clients.kube import DEPLOYMENTS, ENDPOINT_SLICES, PODS, KubeSession
from controller.errors import RemoteError
from controller.objects import condition, dig, items, mapping, name_of, text

Object = dict[str, Any]


def describe(session: KubeSession, namespace: str, pools: tuple[str, ...] = ()) -> str:
    """The workloads of a namespace, one object per line, with what each still lacks.

    Args:
        session: A session that may read everything.
        namespace: The namespace.
        pools: NodePools whose nodes are shown too.
    """
    replica_sets = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    lines = [
        *_each(session, DEPLOYMENTS.path(namespace), _deployment),
        *_each(session, replica_sets, _replica_set),
        *_each(session, PODS.path(namespace), _pod),
        *_each(session, ENDPOINT_SLICES.path(namespace), _slice),
        *(_each(session, "/api/v1/nodes", lambda node: _node(node, pools)) if pools else ()),
    ]
    return "\n".join(lines)


def _each(session: KubeSession, path: str, words: Callable[[Object], str]) -> Iterator[str]:
    try:
        found = session.request("GET", path)["items"]
    except RemoteError as error:
        yield f"{path}: {error}"
        return
    if not found:
        yield f"{path}: none"
    yield from (line for one in found if (line := words(one)))


def _deployment(obj: Object) -> str:
    seen, made = dig(obj, "status", "observedGeneration"), dig(obj, "metadata", "generation")
    late = "" if seen == made else f", the controller manager has not seen it (generation {made}, observed {seen})"
    status = mapping(obj, "status")
    return f"Deployment {name_of(obj)}: {status.get('readyReplicas', 0)} ready of {dig(obj, 'spec', 'replicas')}{late}"


def _replica_set(obj: Object) -> str:
    status = mapping(obj, "status")
    return f"ReplicaSet {name_of(obj)}: {status.get('replicas', 0)} pods of {dig(obj, 'spec', 'replicas')}"


def _pod(obj: Object) -> str:
    scheduled = condition(obj, "PodScheduled")
    verdict = text(scheduled, "reason") or text(scheduled, "status") or "the scheduler has not processed it"
    where = text(obj, "spec", "nodeName") or f"no node ({verdict})"
    ready = text(condition(obj, "Ready"), "status") or "unknown: no kubelet has processed it"
    ending = ", being deleted" if dig(obj, "metadata", "deletionTimestamp") else ""
    return f"Pod {name_of(obj)}: {text(obj, 'status', 'phase')}, {where}, ready {ready}{ending}"


def _slice(obj: Object) -> str:
    endpoints = items(obj, "endpoints")
    ready = sum(dig(one, "conditions", "ready") is not False for one in endpoints)
    return f"EndpointSlice {name_of(obj)}: {ready} ready of {len(endpoints)}"


def _node(obj: Object, pools: tuple[str, ...]) -> str:
    pool = mapping(obj, "metadata", "labels").get("karpenter.sh/nodepool")
    if pool not in pools:
        return ""
    taints = ", ".join(text(one, "key") for one in items(obj, "spec", "taints"))
    return f"Node {name_of(obj)}: of {pool}, ready {text(condition(obj, 'Ready'), 'status')}, taints {taints or 'none'}"
