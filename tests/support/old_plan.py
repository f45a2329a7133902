"""The former writing and reading of the Ingress, beside which the port runs in every test of this commit."""

from __future__ import annotations

import json

from controller.objects import Object
from controller.policy import text
from controller.policy.model import Action, Application, Decision, Plan, RoutingObservation, Snapshot, Verb
from controller.policy.plan import FIELD_MANAGER
from controller.routing import conclusion
from controller.routing.annotations import MARKER, NUDGED_AT, RETURN_STEP
from controller.routing.ingress import adapter, read
from tests.support import old_ingress
from tests.support.old_routing import action_key, format_action


def _same(action: Action, decision: Decision, snapshot: Snapshot) -> None:
    routing, application = snapshot.routing, snapshot.application
    written = {MARKER: str(decision.mode)}
    if decision.return_step:
        written[RETURN_STEP] = str(decision.return_step)
    if decision.verb is Verb.NUDGE:
        written[NUDGED_AT] = text.number(snapshot.now)
    after = format_action(decision.targets, decision.stickiness_s)
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": application.ingress,
            "namespace": application.namespace,
            "uid": routing.uid,
            "resourceVersion": routing.resource_version,
            "annotations": {**dict(routing.kept), action_key(application.action): after, **written},
        },
    }
    assert action.body == json.dumps(body, separators=(",", ":"))
    assert (action.resource, action.namespace, action.name) == ("ingresses.networking.k8s.io", application.namespace, application.ingress)
    assert (action.content_type, action.query) == ("application/apply-patch+yaml", (("fieldManager", FIELD_MANAGER), ("force", "true")))
    assert (action.before, action.after, action.mode) == (routing.action, after, decision.mode)


def compare() -> None:
    """From now on every plan and every reading in this process is compared with the former code."""
    exact, observe = conclusion.exact, read.observe

    def plan(made: Plan, snapshot: Snapshot) -> Plan:
        found = exact(made, snapshot)
        if found.routing is not None:
            _same(found.routing, made.decision, snapshot)
        return found

    def seen(application: Application, obj: Object | None) -> RoutingObservation:
        found = observe(application, obj)
        assert found == old_ingress.observe_ingress(application, obj)
        return found

    conclusion.exact = plan
    read.observe = seen
    vars(adapter)["observe"] = seen
