"""What the real load-balancer controller makes of objects that somebody deletes, and what follows for the traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from controller.clients.kube import INGRESSES, SERVICES, TARGET_GROUP_BINDINGS
from controller.policy.model import Verdict
from controller.routing.annotations import MARKER, NUDGED_AT
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.objects import ACTION, CAPACITY
from tests.world.balanced import BalancedStack, alerts, verdict

BOTH = pytest.mark.parametrize("balancing", [False, True], ids=["strict", "tolerant"], indirect=True)
"""Both settings of ``--tolerate-non-existent-backend-service``."""


@contextmanager
def _deleted(stack: BalancedStack, service: str) -> Iterator[None]:
    """A Service is gone, and made again on exit."""
    path = SERVICES.path(stack.namespace, service)
    found = stack.session.get(SERVICES, stack.namespace, service)
    stack.session.request("DELETE", path)
    yield
    metadata = {name: found["metadata"][name] for name in ("name", "namespace", "labels") if name in found["metadata"]}
    spec = {name: value for name, value in found["spec"].items() if not name.startswith("clusterIP")}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    kubectl(stack.plane, "apply", "--server-side", "-f", "-", stdin=json.dumps(body))


@BOTH
def test_the_capacity_service_is_deleted_in_capacity_mode(balanced: BalancedStack) -> None:
    """The traffic goes back to the units at once. A strict controller says why it builds nothing, and follows once the Service is back."""
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 60, balanced.report)
        wait_for("capacity mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
        with _deleted(balanced, CAPACITY):
            wait_for("cost mode", lambda: balanced.mode() == "cost", 60, balanced.report)
            if not balanced.tolerant:
                wait_for("its words", lambda: f'Service "{CAPACITY}" not found' in str(alerts(service)), 60, balanced.report)
            else:
                wait_for("the units serve", lambda: balanced.live().keys() == set(balanced.targets()), 60, balanced.report)
        wait_for("nothing is lost any more", lambda: "blackhole" not in alerts(service), 90, balanced.report)
        wait_for("the load balancer follows", lambda: set(balanced.live()) == set(balanced.targets()), 90, balanced.report)


@BOTH
def test_a_units_service_is_deleted_in_cost_mode(balanced: BalancedStack) -> None:
    """The mode stays, and the others get its share; it gets traffic again once its Service is back and a target is healthy."""
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
        with _deleted(balanced, "sd21-inf2"):
            wait_for("the action without it", lambda: "sd21-inf2" not in balanced.targets(), 60, balanced.report)
            assert "missing/sd21-inf2/Service" in alerts(service)
            if not balanced.tolerant:
                wait_for("its words", lambda: 'Service "sd21-inf2" not found' in str(alerts(service)), 60, balanced.report)
            else:
                wait_for("the others serve", lambda: "sd21-inf2" not in balanced.live(), 60, balanced.report)
        wait_for("it serves again", lambda: balanced.live().get("sd21-inf2", 0) > 0, 120, balanced.report)
    assert balanced.mode() in {"", "cost"}


def _nudged(stack: BalancedStack) -> bool:
    """Whether the Ingress has a nudge; until then the capacity Service keeps no binding, also not after a late reconciliation."""
    if NUDGED_AT in stack.ingress()["metadata"]["annotations"]:
        return True
    for one in stack.session.request("GET", TARGET_GROUP_BINDINGS.path(stack.namespace))["items"]:
        if one["spec"]["serviceRef"]["name"] == CAPACITY and "deletionTimestamp" not in one["metadata"]:
            stack.session.request("DELETE", TARGET_GROUP_BINDINGS.path(stack.namespace, one["metadata"]["name"]))
    return False


def test_a_target_group_binding_that_is_deleted_is_made_again(balanced: BalancedStack) -> None:
    """The load-balancer controller watches none, and would come to it hours later: a nudge makes it reconcile.

    Only where our controller has written the Ingress, or its target groups may be on their way: so somebody deletes the action first.
    """
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
        balanced._patch(INGRESSES, "sd21", {"metadata": {"annotations": {ACTION: None}}})
        wait_for("it is ours", lambda: MARKER in balanced.ingress()["metadata"]["annotations"], 60, balanced.report)
        wait_for("the nudge", partial(_nudged, balanced), 60, balanced.report)
        wait_for("its targets", lambda: balanced.targets_of(CAPACITY) == balanced.endpoints(CAPACITY) > 0, 60, balanced.report)
