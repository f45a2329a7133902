"""Writes docs/permissions.md, the purpose of each granted permission and the symptoms of its absence: ``python -m tools.permissions``.

Tests observe what the rows below say: tests/deploy/test_permissions.py removes every permission in turn on the emulated API,
tests/cluster/test_permissions.py on a real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from controller.policy.model import WorkloadKind
from controller.signals.workload_kinds import WORKLOADS
from failover_testbed.kube_api.auth import Rule

ROOT: Final = Path(__file__).parents[1]
BASE: Final = ROOT / "deploy" / "kustomize" / "base"
_OBJECTS: Final = "objects.yaml"
DOCUMENT: Final = ROOT / "docs" / "permissions.md"

CLUSTER: Final = "cluster"
APPLICATION: Final = "application"
ROUTE: Final = "route"
EVENTS: Final = "default"
SYSTEM: Final = "failover-system"
_PLACES: Final = {
    CLUSTER: "The cluster",
    EVENTS: "Namespace `default`: events about cluster-scoped objects",
    APPLICATION: "Each application's namespace",
    SYSTEM: "The controller's own namespace, `failover-system`",
}
_OF_ROUTE: Final = "The route's namespace"
# A ClusterRole applies where it is bound: these by a RoleBinding in every namespace that has an application, or has a route and none.
_BOUND_IN: Final = {"failoverctl-application": APPLICATION, "failoverctl-route": ROUTE}


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """A verb on a resource in one place.

    Attributes:
        place: `CLUSTER`, `APPLICATION`, `ROUTE`, or a namespace.
        group: API group, "" for core.
        resource: Plural.
        verb: RBAC verb.
        names: Object names to which the rule restricts it; empty for all.
    """

    place: str
    group: str
    resource: str
    verb: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {f'{self.resource}.{self.group}'.rstrip('.')} in {self.place}"


def granted(folder: Path = BASE) -> list[Permission]:
    """The permissions of the manifests, in order, but for those on the applications themselves: see `granted_on_objects`."""
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    files = (folder / name for name in listed if name != _OBJECTS)
    documents = [one for file in files if file.is_file() for one in yaml.safe_load_all(file.read_text()) if one]
    return [permission for one in documents for permission in permissions_of(one)]


def granted_on_objects() -> list[dict[str, Any]]:
    """The ClusterRoles on FailoverApplication objects: the controller's, and those of teams."""
    return [one for one in yaml.safe_load_all((BASE / _OBJECTS).read_text()) if one["kind"] == "ClusterRole"]


def rules(permissions: Iterable[Permission], namespace: str) -> list[Rule]:
    """The permissions as rules of the emulated API.

    Args:
        permissions: Some of `granted`.
        namespace: The only application namespace.
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


def granted_for_routes() -> list[Permission]:
    """The permissions that applications with a route need in addition: those of the component `deploy/kustomize/routes`."""
    return [one for one in _of_component() if one.place != ROUTE]


def granted_in_routes_namespace() -> list[Permission]:
    """The permissions in a namespace that has the route of an application and no application."""
    role = yaml.safe_load((BASE.with_name("routes-dry-run") / "cluster-role.yaml").read_text())
    return [*permissions_of(role), *(one for one in _of_component() if one.place == ROUTE)]


def _of_component() -> list[Permission]:
    return [one for name in ("routes-dry-run", "routes") for one in _patched(BASE.with_name(name) / "kustomization.yaml")]


def _patched(component: Path) -> Iterator[Permission]:
    for patch in yaml.safe_load(component.read_text())["patches"]:
        added = [one["value"] for one in yaml.safe_load(patch["patch"])]
        yield from permissions_of({"kind": patch["target"]["kind"], "metadata": {"name": patch["target"]["name"]}, "rules": added})


def reading_rules(namespace: str) -> list[Rule]:
    """The rules of the dry run's manifests."""
    return rules((one for one in granted() if one.verb in {"get", "list", "watch"}), namespace)


def permissions_of(role: dict[str, Any]) -> Iterator[Permission]:
    """The permissions of a Role or ClusterRole; none for other objects."""
    if role["kind"] not in {"Role", "ClusterRole"}:
        return
    place = role["metadata"]["namespace"] if role["kind"] == "Role" else _BOUND_IN.get(role["metadata"]["name"], CLUSTER)
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Permission(place, group, resource, verb, tuple(rule.get("resourceNames", ())))


# --- what is seen -------------------------------------------------------------------------------------------------------------------------

DEGRADED, ALERT, REASON, LOG, METRIC, NOTIFIER = "degraded", "alert", "reason", "log", "metric", "notifier"
READINESS = "readiness"
_WHERE: Final = {
    DEGRADED: "`{}` in `failoverctl status`, the application's ConfigMap and `/status`",
    ALERT: "alert `{}` in Slack, Events and `failoverctl status`",
    READINESS: "`/readyz` fails: {}",
    REASON: "reason `{}`",
    LOG: "log event `{}`",
    METRIC: "metric `{}`",
    NOTIFIER: "notifier `{}` not ok, with its error, in `failoverctl status` and `/status`",
}


@dataclass(frozen=True, slots=True)
class Row:
    """The description of a permission.

    Attributes:
        purpose: What the controller uses it for.
        without: What does not work without it.
        seen: The symptoms: pairs of a place and a name in it.
    """

    purpose: str
    without: str
    seen: tuple[tuple[str, str], ...]


_FAILED: Final = 'failoverctl_actions_total{{kind="{}",result="failed"}}'
_KARPENTER: Final = ((DEGRADED, "karpenter absent"), (ALERT, "absent/karpenter"), (LOG, "watch.refused"))
_WORKLOADS: Final = ((DEGRADED, "workloads absent"), (ALERT, "absent/workloads"), (LOG, "watch.refused"))
_BLIND: Final = "The controller detects no shortages and changes no mode."
_UNSAVED: Final = ((ALERT, "state-unsaved"), (LOG, "state.unsaved"), (LOG, "status.unsaved"))
_LEASE: Final = ((READINESS, "cannot take part in the election"), (REASON, "NotLeader"), (LOG, "election.no_answer"))

# Rows for list and watch together, because one is useless without the other.
_WATCHED: Final[dict[tuple[str, str], Row]] = {
    (CLUSTER, "nodeclaims"): Row("What each NodeClaim requested, refused or launched.", _BLIND, _KARPENTER),
    (CLUSTER, "nodepools"): Row("What a unit may be launched as, and limits.", _BLIND, _KARPENTER),
    **dict.fromkeys(
        ((CLUSTER, "ec2nodeclasses"), (CLUSTER, "nodeclasses")),
        Row(
            "In which zones a NodePool has subnets. A kind that is not installed is not asked for.",
            "A zone without a subnet counts among those that must be named for a proof by name: such a shortage is proven later.",
            ((DEGRADED, "node-classes absent"), (LOG, "watch.refused")),
        ),
    ),
    (EVENTS, "events"): Row("Karpenter's events about refusals: the first sign of a shortage.", _BLIND, _KARPENTER),
    (APPLICATION, "events"): Row(
        "Karpenter's events about pods: NodePools at their limit. The load-balancer controller's events about the Ingress: its errors.",
        _BLIND,
        _KARPENTER,
    ),
    (APPLICATION, "pods"): Row("Pods that wait for a node: demand.", _BLIND, _WORKLOADS),
    (APPLICATION, "deployments"): Row("Wanted and ready replicas.", _BLIND, _WORKLOADS),
    (APPLICATION, "endpointslices"): Row(
        "Ready endpoints of every Service that may receive traffic.",
        "No mode change: the controller cannot know whether the receiving side is ready.",
        _WORKLOADS,
    ),
    (APPLICATION, "services"): Row(
        "Whether a Service exists with the port that the action names.",
        "Modes still change; the controller notices a missing receiving Service only by its endpoints.",
        ((DEGRADED, "services absent"), (LOG, "watch.refused")),
    ),
    (APPLICATION, "ingresses"): Row(
        "The routing action, the mode, standby rules and overrides.",
        "The controller decides nothing.",
        (
            (DEGRADED, "routing absent"),
            (ALERT, "absent/routing"),
            (REASON, "RoutingObjectMissing"),
            (ALERT, "held/RoutingObjectMissing"),
            (LOG, "watch.refused"),
        ),
    ),
    (APPLICATION, "scaledobjects"): Row(
        "Floors and targets of KEDA.",
        "The traffic follows the mode, the replicas do not.",
        ((DEGRADED, "keda absent"), (LOG, "watch.refused")),
    ),
    (APPLICATION, "targetgroupbindings"): Row(
        "Which target groups the load-balancer controller, or EKS Auto Mode, has made. A kind that is not installed is not asked for.",
        "Modes still change; the controller does not notice a missing target group, and cannot verify a mode change.",
        ((DEGRADED, "target-group-bindings absent"), (LOG, "watch.refused")),
    ),
}
_VERBS: Final[dict[tuple[str, str, str], Row]] = {
    (APPLICATION, "ingresses", "patch"): Row(
        "The mode change: routing action and mode in one patch.",
        "No mode changes; the controller retries with growing pauses.",
        ((ALERT, "action-failed"), (LOG, "action.failed"), (METRIC, _FAILED.format("route"))),
    ),
    (APPLICATION, "scaledobjects", "patch"): Row(
        "Replica floors and targets that follow the mode.",
        "The traffic follows the mode, the replicas do not.",
        ((ALERT, "action-failed"), (LOG, "action.failed"), (METRIC, _FAILED.format("raise-floor"))),
    ),
    (APPLICATION, "events", "create"): Row(
        "Events on the Ingress: what `kubectl describe ingress` shows.",
        "No Events; the other notifiers continue.",
        ((NOTIFIER, "events"), (LOG, "notifier.gave_up")),
    ),
    (APPLICATION, "events", "patch"): Row(
        "Increasing the count of an Event that repeats within ten minutes.",
        "Repetitions do not appear as Events.",
        ((NOTIFIER, "events"), (LOG, "notifier.gave_up")),
    ),
    (SYSTEM, "configmaps", "get"): Row(
        "Reading the stored memory.",
        "The state is unknown, so the controller holds.",
        ((REASON, "SignalsStale"), (ALERT, "held/SignalsStale"), (LOG, "state.unreadable")),
    ),
    (SYSTEM, "configmaps", "list"): Row(
        "Reading the stored memory of all applications at once, when a replica begins to lead.",
        "The controller reads each application's memory by a request of its own: with 1,000 applications a takeover is slower.",
        ((LOG, "state.unlisted"),),
    ),
    (SYSTEM, "configmaps", "create"): Row(
        "The first write of memory and process status.",
        "Memory is lost at a restart, `failoverctl status` shows no controller.",
        _UNSAVED,
    ),
    (SYSTEM, "configmaps", "update"): Row("Every later write of these.", "As without `create`.", _UNSAVED),
    (SYSTEM, "leases", "get"): Row("Who leads.", "This replica never leads.", _LEASE),
    (SYSTEM, "leases", "create"): Row("The first leader of an installation.", "No replica leads if the Lease does not exist.", _LEASE),
    (SYSTEM, "leases", "update"): Row("Taking over and renewing the Lease.", "No replica leads.", _LEASE),
}


def row_of(permission: Permission) -> Row | None:
    """The row of a permission, None if there is none."""
    found = _VERBS.get((permission.place, permission.resource, permission.verb))
    watched = _WATCHED.get((permission.place, permission.resource)) if permission.verb in {"list", "watch"} else None
    return found or watched


def rows() -> set[tuple[str, str, str]]:
    """Place, resource and verb of every row."""
    return {*_VERBS, *((*key, verb) for key in _WATCHED for verb in ("list", "watch"))}


# --- the document -------------------------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """# Permissions

The permissions of the controller's ServiceAccount (`deploy/kustomize/base`), why it has them, and what happens without them. The controller
uses every permission. Tests remove each in turn to check the last columns: the controller continues, takes no action without evidence, and
names the missing permission. The full text is the API server's (`... cannot list resource "pods" ...`). Generated by
`python -m tools.permissions`.

An API server that has just started refuses granted requests for some seconds. Data that the controller could read before count as missing
only after 15 s; until then it forgets nothing. `plan`, `status`, `doctor APPLICATION` and `run --dry-run` need only the read permissions:
`deploy/kustomize/dry-run`, or the chart with `dryRun=true`. The last section lists what `doctor` also reads of the cluster's components.
"""

_ON_OBJECTS: Final = """
## The applications themselves

The controller reads FailoverApplication objects of all namespaces, and changes nothing of them but their status. Without `list` and `watch`
it starts no application, goes on with those that run, and reports which permission is missing. Without `patch` no status is written; modes
still change. Teams get theirs by Kubernetes' own roles: `failoverctl-view` is part of `view`, `failoverctl-edit` of `edit` and `admin`. A
RoleBinding to `edit` in one namespace lets a team own its applications there and in no other. Write access to an application decides
which Ingress, route and ScaledObjects of its namespace the controller changes.

| ClusterRole | permission |
|---|---|
"""

_WORKLOAD_KINDS: Final = """
## Units that are not Deployments

The controller lists and watches each kind that an application file names in `workload`, in the application's namespace. Without the
permission, or without the CRD, it changes no mode of the applications that name the kind (`workloads absent`); the others go on. A Rollout
also needs `deployments`, because it may name one (`workloadRef`). The chart grants the kinds that `applications.workloads` names. With the
plain manifests, add the component `deploy/kustomize/workloads`:

| permission |
|---|
"""

_ROUTES: Final = """
## Applications with an HTTPRoute or a GRPCRoute

An application file names a `route` in the place of an `ingress`. The controller lists, watches and patches the routes of that kind in the
application's namespace, and reads what belongs to them. It reads Gateways in all namespaces, because they may be another team's. Without a
permission for the kind of route it decides nothing for these applications (`routing absent`); the others go on. An application with a route
needs no permission on `ingresses`. The load-balancer controller reports its errors as Events in the Gateway's namespace: the controller
reads them only where that is a namespace with an application or the route of one. The chart grants the kinds that `applications.routes`
names: the Ingress alone unless you set it. With the plain manifests, add the component `deploy/kustomize/routes`; over the dry run's,
`deploy/kustomize/routes-dry-run`:

| permission | where |
|---|---|
"""

_APART: Final = """
A route may be in a namespace without applications (`route.namespace`). There the controller needs only these: the chart grants them in the
namespaces that `applications.routeNamespaces` names. With the plain manifests, apply `deploy/kustomize/route`. Grants are read
only for such applications, and without that permission the controller changes nothing for them (`reference-grants absent`):

| permission | where |
|---|---|
"""

_DOCTOR: Final = """
## What `doctor` reads of the cluster

For people and pipelines, not for the controller: `deploy/kustomize/doctor` is a ClusterRole with exactly these. The report says "cannot
tell" about what it may not read. Every authenticated client may read which kinds are served. With AWS credentials it also calls
`ec2:DescribeCapacityReservations` once, for the reservations that Karpenter leaves unused; without the permission it says so.

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
        parts.append(f"\n## {title}\n\n| permission | purpose | without it | symptoms |\n|---|---|---|---|\n")
        parts += [_line(one) for one in dict.fromkeys(_merged(permission) for permission in everything if permission.place == place)]
    doctor = yaml.safe_load((ROOT / "deploy" / "kustomize" / "doctor" / "cluster-role.yaml").read_text())
    parts.append(_ON_OBJECTS)
    for role in granted_on_objects():
        verbs = (f"`{name}.{rule['apiGroups'][0]}`: {', '.join(rule['verbs'])}" for rule in role["rules"] for name in rule["resources"])
        parts.append(f"| `{role['metadata']['name']}` | {'; '.join(verbs)} |\n")
    parts.append(_WORKLOAD_KINDS)
    others = (one for kind, one in WORKLOADS.items() if kind is not WorkloadKind.DEPLOYMENT)
    parts += [f"| `{one.name}`: list, watch |\n" for one in others]
    parts.append(_ROUTES)
    parts += _lines(granted_for_routes())
    parts.append(_APART)
    parts += _lines(granted_in_routes_namespace())
    parts.append(_DOCTOR)
    parts += [f"| {_named(one)}: {one.verb} |\n" for one in permissions_of(doctor)]
    return "".join(parts)


def _lines(permissions: Iterable[Permission]) -> Iterator[str]:
    """A line for each resource and place."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for one in permissions:
        verbs.setdefault((_PLACES.get(one.place, _OF_ROUTE), _named(one)), []).append(one.verb)
    yield from (f"| {named}: {', '.join(some)} | {place} |\n" for (place, named), some in verbs.items())


def _merged(permission: Permission) -> tuple[Permission, str]:
    """A permission, and all verbs of its row."""
    if permission.verb in {"list", "watch"} and (permission.place, permission.resource) in _WATCHED:
        return Permission(permission.place, permission.group, permission.resource, "list", permission.names), "list, watch"
    return permission, permission.verb


def _line(merged: tuple[Permission, str]) -> str:
    permission, verbs = merged
    row = row_of(permission)
    if row is None:
        raise ValueError(f"no row for {permission}: add its purpose and the symptoms of its absence in tools/permissions.py")
    seen = "; ".join(_WHERE[where].format(what) for where, what in row.seen)
    return f"| {_named(permission)}: {verbs} | {row.purpose} | {row.without} | {seen} |\n"


def _named(permission: Permission) -> str:
    only = f", only `{'`, `'.join(permission.names)}`" if permission.names else ""
    return f"`{f'{permission.resource}.{permission.group}'.rstrip('.')}`{only}"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
