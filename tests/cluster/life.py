"""Runs the controller through all its functions on the real server, and reports the permissions that it used."""

from __future__ import annotations

from typing import Any, Final

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS
from controller.errors import NotFound
from controller.service.leadership import LEASE_NAME
from controller.service.status import NAME as STATUS_NAME
from failover_harness.control_plane.audit import Entry
from failover_harness.waiting import wait_for
from tests.cluster.stack import Stack
from tests.support.cluster import Collector
from tests.support.observed import Observed
from tools.permissions import APPLICATION, CLUSTER, SYSTEM, Permission, granted

LEADING: Final[dict[str, Any]] = {"leader_election": {"enabled": True}}


def usable() -> set[Permission]:
    """The permissions of the manifests that the control plane has a use for: it lacks EKS Auto Mode, whose CRDs are not public."""
    return {one for one in granted() if one.group != AUTO_TARGET_GROUP_BINDINGS.group}


def whole_life(stack: Stack) -> set[Permission]:
    """Start, election, failover with KEDA, state, status, Events and their repetition, an override and the fallback.

    Returns:
        The permissions that its requests used, in the manifests' form.

    Raises:
        AssertionError: A step did not happen, or a request was refused.
    """
    forget_everything(stack)
    collector = Collector()
    with stack.controller(sinks=(collector,), **LEADING) as service:
        wait_for("leadership", service._leadership.leads)
        stack.shortage()
        wait_for("capacity mode", lambda: stack.mode() == "capacity")
        wait_for("KEDA's targets", lambda: stack.scaled("sd21-inf2")[1] == "89.2")
        for count, until in enumerate(("forever", None, "forever", None), start=1):  # the second time increases an Event's count
            stack.annotate(paused_until=until)
            wait_for("the message about it", lambda count=count: Observed.overrides(collector) == count)  # type: ignore[misc]
        wait_for("the repetition", lambda: any(one.resource == "events" and one.verb == "patch" for one in stack.audit()))
        stack.launch("sd21-inf2")
        wait_for("cost mode", lambda: stack.mode() == "cost")
        wait_for("the memory", lambda: len(stack.memory().get("mode_changes", [])) == 2)
    entries = stack.audit()
    assert [one for one in entries if one.code in {401, 403}] == []
    return {_permission(one, stack) for one in entries if not one.resource.startswith("/")}  # every client may read discovery


def forget_everything(stack: Stack) -> None:
    """Deletes what earlier runs left in the controller's namespace, as in a new installation."""
    space = stack.installation.namespace
    paths = (
        f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases/{LEASE_NAME}",
        f"/api/v1/namespaces/{space}/configmaps/{STATUS_NAME}",
    )
    for path in paths:
        try:
            stack.session.request("DELETE", path)
        except NotFound:
            continue


def _permission(entry: Entry, stack: Stack) -> Permission:
    """The permission of a request in the manifests' form: with the name only if a rule restricts it."""
    places = {"": CLUSTER, stack.namespace: APPLICATION, stack.installation.namespace: SYSTEM}
    needed = Permission(places.get(entry.namespace, entry.namespace), entry.group, entry.resource, entry.verb)
    named = Permission(needed.place, needed.group, needed.resource, needed.verb, (entry.name,))
    return named if named in granted() else needed
