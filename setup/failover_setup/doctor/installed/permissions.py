"""What the controller's ServiceAccount must be allowed, and what it must not: what docs/permissions.md says, for some applications."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from controller.clients.kube import (
    CONFIG_MAPS,
    EVENTS,
    FAILOVER_APPLICATIONS,
    LEASES,
    SCALED_OBJECTS,
    KubeSession,
    Resource,
)
from controller.objects import dig
from controller.policy.model import Application
from controller.policy.text import listing
from controller.routing.kinds import routing_port
from controller.service.leadership import LEASE_NAME
from controller.signals.watches import wanted_lists
from failover_setup.doctor.installed.observe import Installation
from failover_setup.doctor.report import Finding, ok, problem

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_READS: Final = ("get", "list", "watch")
_WRITES: Final = ("create", "update", "patch", "delete", "deletecollection")
_RBAC: Final = "rbac.authorization.k8s.io"
_NEVER: Final = (
    *(("", "secrets", verb) for verb in (*_READS, *_WRITES)),
    ("", "pods/exec", "create"),
    ("", "serviceaccounts/token", "create"),
    ("", "serviceaccounts", "impersonate"),
    *((_RBAC, "roles", verb) for verb in ("create", "update", "escalate", "bind")),
    *((_RBAC, "rolebindings", verb) for verb in ("create", "update")),
)
"""In each namespace: what would give it the rights of others."""
_NEVER_AT_ALL: Final = (
    ("*", "*", "*"),
    ("", "nodes", "delete"),
    *((_RBAC, "clusterroles", verb) for verb in ("create", "update", "escalate", "bind")),
    *((_RBAC, "clusterrolebindings", verb) for verb in ("create", "update")),
)


@dataclass(frozen=True, slots=True, order=True)
class Permission:
    """A verb on a resource.

    Attributes:
        verb: RBAC verb.
        group: API group, "" for core.
        resource: Plural, with the subresource after a slash.
        namespace: "" for all, and for kinds without one.
        name: The object's; "" for any.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        named = f" {self.name}" if self.name else ""
        return f"{self.verb} {f'{self.resource}.{self.group}'.rstrip('.')}{named} in {self.namespace or 'the cluster'}"


def _on(resource: Resource, namespace: str | None, *verbs: str, part: str = "", name: str = "") -> Iterator[Permission]:
    yield from (Permission(verb, resource.group, resource.plural + part, namespace or "", name) for verb in verbs)


def needed(applications: Iterable[Application], namespace: str, *, cluster_wide: bool, dry_run: bool = False) -> set[Permission]:
    """Everything that the controller does for some applications.

    Args:
        applications: The applications.
        namespace: The controller's own.
        cluster_wide: See `controller.signals.watches.Watches`.
        dry_run: Whether it carries nothing out: then it only reads.
    """
    applications = list(applications)
    found = {one for wanted in wanted_lists(applications, cluster_wide=cluster_wide) for one in _watched(wanted.resource, wanted.namespace)}
    found |= {*_on(FAILOVER_APPLICATIONS, None, *_READS), *_on(CONFIG_MAPS, namespace, "get", "list")}
    found |= {*_on(LEASES, namespace, "get", name=LEASE_NAME)}
    if dry_run:
        return found
    found |= {*_on(FAILOVER_APPLICATIONS, None, "patch", part="/status"), *_on(CONFIG_MAPS, namespace, "create", "update")}
    found |= {*_on(LEASES, namespace, "create"), *_on(LEASES, namespace, "update", name=LEASE_NAME)}
    for one in applications:
        found |= {*_on(routing_port(one).resource, one.routing_namespace, "patch"), *_on(SCALED_OBJECTS, one.namespace, "patch")}
        found |= {*_on(EVENTS, one.routing_namespace, "create", "patch")}
    return found


def _watched(resource: Resource, namespace: str | None) -> Iterator[Permission]:
    return _on(resource, namespace, "list", "watch")


def excessive(granted: Iterable[Permission]) -> set[Permission]:
    """What it must not be allowed beside the permissions that it needs: other writes on the same objects, and the rights of others."""
    granted = set(granted)
    kinds = {(one.group, one.resource.partition("/")[0], one.namespace) for one in granted}
    writes = {Permission(verb, *kind) for kind in kinds for verb in _WRITES}
    spaces = {one.namespace for one in granted if one.namespace}
    of_others = {Permission(verb, group, resource, space) for space in spaces for group, resource, verb in _NEVER}
    return (writes | of_others | {Permission(verb, group, resource) for group, resource, verb in _NEVER_AT_ALL}) - granted


def _allowed(session: KubeSession, user: str, permission: Permission) -> bool:
    """Asks the API server.

    Raises:
        RemoteError: It gives no answer.
    """
    _, _, namespace, _ = user.split(":")
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    resource, _, part = permission.resource.partition("/")
    about = {"verb": permission.verb, "group": permission.group, "resource": resource, "subresource": part}
    about |= {"namespace": permission.namespace, "name": permission.name}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": about},
    }
    return dig(session.request("POST", _REVIEWS, body=json.dumps(body)), "status", "allowed") is True


def _of(found: Installation) -> set[Permission]:
    wide = found.settings.kubernetes.cluster_wide
    return needed(found.applications, found.namespace, cluster_wide=wide, dry_run=found.dry_run)


def permissions_granted(found: Installation) -> Iterator[Finding]:
    """RBAC allows the controller's ServiceAccount everything that docs/permissions.md lists for these applications."""
    asked, user = sorted(_of(found)), found.user
    if missing := [str(one) for one in asked if not _allowed(found.session, user, one)]:
        fix = "apply the chart with the namespaces and kinds of your applications (applications.namespaces, routes and workloads)"
        yield problem(f"{user} may not {listing(missing)}", fix)
    else:
        yield ok(f"{user} is allowed all {len(asked)} that it needs")


def permissions_denied(found: Installation) -> Iterator[Finding]:
    """RBAC allows it no other write on these kinds, no Secret, and nothing that would give it the rights of others."""
    asked, user = sorted(excessive(_of(found))), found.user
    if wide := [str(one) for one in asked if _allowed(found.session, user, one)]:
        fix = f"kubectl get rolebindings,clusterrolebindings -A -o wide | grep {found.account}, and remove the binding that grants it"
        yield problem(f"{user} may {listing(wide)}", fix)
    else:
        yield ok(f"{user} is denied all {len(asked)} that it must not have")
