"""Every permission that the manifests grant, what it is for, and how its absence shows: ``python -m tools.permissions``.

The rows below are what tests observed (tests/deploy/test_permissions.py takes every permission away in turn on the emulated API,
tests/cluster/test_permissions.py on a real one); docs/permissions.md is generated from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from failover_testbed.kube_api.auth import Rule

ROOT: Final = Path(__file__).parents[1]
BASE: Final = ROOT / "deploy" / "kustomize" / "base"
DOCUMENT: Final = ROOT / "docs" / "permissions.md"

CLUSTER: Final = "cluster"
APPLICATION: Final = "application"
EVENTS: Final = "default"
SYSTEM: Final = "failover-system"
_PLACES: Final = {
    CLUSTER: "The cluster",
    EVENTS: "Namespace `default`: events about cluster-scoped objects",
    APPLICATION: "Each application's namespace",
    SYSTEM: "The controller's own namespace, `failover-system`",
}
# A ClusterRole holds where it is bound: this one by a RoleBinding in every application's namespace.
_BOUND_BY_APPLICATION: Final = "failoverctl-application"


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """One verb on one resource in one place.

    Attributes:
        place: `CLUSTER`, `APPLICATION`, or a namespace.
        group: API group, "" for core.
        resource: Plural.
        verb: As RBAC names it.
        names: What the rule restricts it to; empty for all.
    """

    place: str
    group: str
    resource: str
    verb: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} in {self.place}"


def granted(folder: Path = BASE) -> list[Permission]:
    """The permissions of the manifests, in their order."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    documents = [one for name in listed for one in yaml.safe_load_all((folder / name).read_text()) if one]
    return [permission for one in documents for permission in permissions_of(one)]


def rules(permissions: Iterable[Permission], namespace: str) -> list[Rule]:
    """The permissions as the emulated API takes them.

    Args:
        permissions: Some of `granted`.
        namespace: The one application namespace that there is.
    """
    spaces = {APPLICATION: frozenset({namespace}), CLUSTER: frozenset[str]()}
    return [
        Rule(
            groups=frozenset({one.group}),
            resources=frozenset({one.resource}),
            verbs=frozenset({one.verb}),
            names=frozenset(one.names),
            namespaces=spaces.get(one.place, frozenset({one.place})),
        )
        for one in permissions
    ]


def reading_rules(namespace: str) -> list[Rule]:
    """What the manifests of the dry run grant, as `rules`."""
    return rules((one for one in granted() if one.verb in {"get", "list", "watch"}), namespace)


def permissions_of(role: dict[str, Any]) -> Iterator[Permission]:
    """The permissions of one Role or ClusterRole; none of any other object."""
    if role["kind"] not in {"Role", "ClusterRole"}:
        return
    cluster = APPLICATION if role["metadata"]["name"] == _BOUND_BY_APPLICATION else CLUSTER
    place = role["metadata"]["namespace"] if role["kind"] == "Role" else cluster
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Permission(place, group, resource, verb, tuple(rule.get("resourceNames", ())))


# --- what is seen -------------------------------------------------------------------------------------------------------------------------

DEGRADED, ALERT, REASON, LOG, METRIC, NOTIFIER = "degraded", "alert", "reason", "log", "metric", "notifier"
READINESS = "readiness"
_WHERE: Final = {
    DEGRADED: "`{}` in `failoverctl status`, the status ConfigMap and `/status`",
    ALERT: "alert `{}` in Slack, Events and `failoverctl status`",
    READINESS: "`/readyz` fails: {}",
    REASON: "reason `{}`",
    LOG: "log event `{}`",
    METRIC: "metric `{}`",
    NOTIFIER: "notifier `{}` not ok, with its error, in `failoverctl status` and `/status`",
}


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one permission.

    Attributes:
        purpose: What it is for.
        without: What no longer works.
        seen: Where that shows: pairs of a place and the name that it has there.
    """

    purpose: str
    without: str
    seen: tuple[tuple[str, str], ...]


_FAILED: Final = 'failoverctl_actions_total{{kind="{}",result="failed"}}'
_KARPENTER: Final = ((DEGRADED, "karpenter absent"), (ALERT, "absent/karpenter"), (LOG, "watch.refused"))
_WORKLOADS: Final = ((DEGRADED, "workloads absent"), (ALERT, "absent/workloads"), (LOG, "watch.refused"))
_BLIND: Final = "No shortage is seen any more, so nothing is switched."
_UNSAVED: Final = ((ALERT, "state-unsaved"), (LOG, "state.unsaved"), (LOG, "status.unsaved"))
_LEASE: Final = ((READINESS, "cannot take part in the election"), (REASON, "NotLeader"), (LOG, "election.no_answer"))

# What is listed and watched: what for, what is lost, where it shows. Without one of the two verbs the other is of no use.
_WATCHED: Final[dict[tuple[str, str], Row]] = {
    (CLUSTER, "nodeclaims"): Row("What each refused or successful launch was asked for as.", _BLIND, _KARPENTER),
    (CLUSTER, "nodepools"): Row("What a unit may be launched as, and limits.", _BLIND, _KARPENTER),
    (EVENTS, "events"): Row("Karpenter's events about refused launches: the first sign of a shortage.", _BLIND, _KARPENTER),
    (APPLICATION, "events"): Row(
        "Karpenter's events about pods: NodePools at their limit. The load-balancer controller's about the Ingress: whether it could act.",
        _BLIND,
        _KARPENTER,
    ),
    (APPLICATION, "pods"): Row("Pods that wait for a node: demand.", _BLIND, _WORKLOADS),
    (APPLICATION, "deployments"): Row("Wanted and ready replicas.", _BLIND, _WORKLOADS),
    (APPLICATION, "endpointslices"): Row(
        "Ready endpoints of every Service that may receive traffic.",
        "No switch: nobody knows whether the receiving side is ready.",
        _WORKLOADS,
    ),
    (APPLICATION, "services"): Row(
        "Whether a Service exists with the port that the action names.",
        "Switches are still made; that a receiving Service is missing is noticed by its endpoints only.",
        ((DEGRADED, "services absent"), (LOG, "watch.refused")),
    ),
    (APPLICATION, "ingresses"): Row(
        "The routing action, the mode, standby rules and overrides.",
        "Nothing is decided.",
        (
            (DEGRADED, "ingress absent"),
            (ALERT, "absent/ingress"),
            (REASON, "IngressMissing"),
            (ALERT, "held/IngressMissing"),
            (LOG, "watch.refused"),
        ),
    ),
    (APPLICATION, "scaledobjects"): Row(
        "Floors and targets of KEDA.",
        "Traffic is switched, replicas are left to whoever sets them.",
        ((DEGRADED, "keda absent"), (LOG, "watch.refused")),
    ),
    (APPLICATION, "targetgroupbindings"): Row(
        "Which target groups the load-balancer controller has made.",
        "Switches are still made; that a target group does not exist yet is not noticed, and no switch can be verified.",
        ((DEGRADED, "target-group-bindings absent"), (LOG, "watch.refused")),
    ),
}
_VERBS: Final[dict[tuple[str, str, str], Row]] = {
    (APPLICATION, "ingresses", "patch"): Row(
        "The switch: routing action and mode in one patch.",
        "Nothing is switched; it is tried again with growing pauses.",
        ((ALERT, "action-failed"), (LOG, "action.failed"), (METRIC, _FAILED.format("route"))),
    ),
    (APPLICATION, "scaledobjects", "patch"): Row(
        "Replica floors and targets that follow the mode.",
        "Traffic is switched, replicas stay as they are.",
        ((ALERT, "action-failed"), (LOG, "action.failed"), (METRIC, _FAILED.format("raise-floor"))),
    ),
    (APPLICATION, "events", "create"): Row(
        "Events on the Ingress: what `kubectl describe ingress` shows.",
        "No Events; the other notifiers go on.",
        ((NOTIFIER, "events"), (LOG, "notifier.gave_up")),
    ),
    (APPLICATION, "events", "patch"): Row(
        "Counting an Event up that happens again within ten minutes.",
        "Repetitions are not shown as Events.",
        ((NOTIFIER, "events"), (LOG, "notifier.gave_up")),
    ),
    (SYSTEM, "configmaps", "get"): Row(
        "Reading the stored memory.",
        "Unknown state: everything is held.",
        ((REASON, "SignalsStale"), (ALERT, "held/SignalsStale"), (LOG, "state.unreadable")),
    ),
    (SYSTEM, "configmaps", "create"): Row(
        "The first write of memory and status.", "Memory is lost at a restart, `failoverctl status` shows no controller.", _UNSAVED
    ),
    (SYSTEM, "configmaps", "update"): Row("Every later write of memory and status.", "As without `create`.", _UNSAVED),
    (SYSTEM, "leases", "get"): Row("Who leads.", "This replica never leads.", _LEASE),
    (SYSTEM, "leases", "create"): Row("The first leader of an installation.", "Nobody leads where the Lease does not exist.", _LEASE),
    (SYSTEM, "leases", "update"): Row("Taking the Lease over and renewing it.", "Nobody leads.", _LEASE),
}


def row_of(permission: Permission) -> Row | None:
    """What is known of a permission, None where that is nothing."""
    found = _VERBS.get((permission.place, permission.resource, permission.verb))
    watched = _WATCHED.get((permission.place, permission.resource)) if permission.verb in {"list", "watch"} else None
    return found or watched


def rows() -> set[tuple[str, str, str]]:
    """Everything that there is a row for: place, resource, verb."""
    return {*_VERBS, *((*key, verb) for key in _WATCHED for verb in ("list", "watch"))}


# --- the document -------------------------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """# Permissions

What the controller's ServiceAccount may do (`deploy/kustomize/base`), why, and what happens without it. Every permission is used, and every
one was taken away in turn to see what the last columns say: the controller runs on, does nothing that it cannot justify, and names what it
lacks; the full text is the API server's own (`... cannot list resource "pods" ...`). Generated: `python -m tools.permissions`.

An API server that has just started refuses for some seconds what is granted. What could be read before counts as missing only after 15 s;
until then nothing is forgotten. `plan`, `status`, `doctor APPLICATION` and `run --dry-run` need the reading ones only:
`deploy/kustomize/dry-run`, or the chart with `dryRun=true`. What `doctor` reads of the cluster's components besides is at the end.
"""

_DOCTOR: Final = """
## What `doctor` reads of the cluster

For people and pipelines, not for the controller: `deploy/kustomize/doctor` is a ClusterRole with exactly these. What may not be read is
"cannot tell" in the report. Which kinds are served is told to everybody who is authenticated.

| permission |
|---|
"""


def document() -> str:
    """docs/permissions.md.

    Raises:
        ValueError: A permission has no row.
    """
    parts = [_INTRODUCTION]
    everything = granted()
    for place, title in _PLACES.items():
        parts.append(f"\n## {title}\n\n| permission | what it is for | without it | how that shows |\n|---|---|---|---|\n")
        parts += [_line(one) for one in dict.fromkeys(_merged(permission) for permission in everything if permission.place == place)]
    doctor = yaml.safe_load((ROOT / "deploy" / "kustomize" / "doctor" / "cluster-role.yaml").read_text())
    parts.append(_DOCTOR)
    parts += [f"| {_named(one)}: {one.verb} |\n" for one in permissions_of(doctor)]
    return "".join(parts)


def _merged(permission: Permission) -> tuple[Permission, str]:
    """A permission and the verbs that it shares its row with."""
    if permission.verb in {"list", "watch"}:
        return Permission(permission.place, permission.group, permission.resource, "list", permission.names), "list, watch"
    return permission, permission.verb


def _line(merged: tuple[Permission, str]) -> str:
    permission, verbs = merged
    row = row_of(permission)
    if row is None:
        raise ValueError(f"no row for {permission}: say in tools/permissions.py what it is for and how its absence shows")
    seen = "; ".join(_WHERE[where].format(what) for where, what in row.seen)
    return f"| {_named(permission)}: {verbs} | {row.purpose} | {row.without} | {seen} |\n"


def _named(permission: Permission) -> str:
    only = f", only `{'`, `'.join(permission.names)}`" if permission.names else ""
    return f"`{f'{permission.resource}.{permission.group}'.rstrip('.')}`{only}"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
