"""The routing port: the plan that is shown is the request that is sent, whatever the kind of the routing object."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.clients.kube import INGRESSES
from controller.policy.decision import conclusion as planned
from controller.policy.model import ActionKind, RoutingObservation, Verb
from controller.policy.plan import describe
from controller.routing.conclusion import conclude
from controller.routing.ingress.read import actions, read_action, writers
from controller.routing.kinds import DEFAULT, KINDS, port_of_action, routing_port
from controller.routing.names import action_key
from tests.policy.support import proven, shortage, with_scalers
from tests.support.applications import CAPACITY_TARGETS, NOW, application, memory, snapshot

SHORT = shortage(with_scalers(snapshot()))
KNOWN = memory(units=proven(NOW - 60))


def test_the_routing_action_gets_its_request_and_nothing_else_changes() -> None:
    """People read the plan before they let it be applied."""
    before, after = planned.conclude(KNOWN, SHORT), conclude(KNOWN, SHORT)
    assert after.decision.verb is Verb.FAILOVER
    assert replace(after, plan=before.plan) == before
    others = [one for one in after.plan.actions if one.kind is not ActionKind.ROUTE]
    assert others == [one for one in before.plan.actions if one.kind is not ActionKind.ROUTE]
    assert [one.kind for one in after.plan.actions] == [one.kind for one in before.plan.actions]
    bare, whole = before.plan.routing, after.plan.routing
    assert bare is not None
    assert whole is not None
    assert (bare.resource, bare.body, bare.after) == ("", "", ""), "the policy knows no text"
    assert (whole.resource, describe(whole)) == (INGRESSES.name, "Ingress sd21 routing action")
    written = json.loads(whole.body)["metadata"]["annotations"]
    assert written[action_key("weighted-routing")] == whole.after
    assert routing_port(SHORT.application).read(whole.after) == (CAPACITY_TARGETS, 0, "")
    assert port_of_action(whole) is routing_port(SHORT.application)


def test_what_is_remembered_is_the_action_as_it_was_written() -> None:
    """Else the next pass would take it for somebody else's change, and nothing would be lowered before it was drained anew."""
    made = conclude(KNOWN, SHORT)
    assert made.plan.routing is not None
    kept = made.routed(NOW + 1)
    shown = replace(
        SHORT, now=NOW + 2, routing=replace(SHORT.routing, action=made.plan.routing.after, targets=CAPACITY_TARGETS, marker="capacity")
    )
    assert conclude(kept, shown).memory.changed_at == kept.changed_at


def test_a_plan_without_a_routing_action_stays_as_it_is() -> None:
    """Nearly every pass ends so."""
    assert conclude(memory(), snapshot()) == planned.conclude(memory(), snapshot())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_an_object_of_the_api_server(kind: str) -> None:
    """Events regard it, and `kubectl` finds it by that name."""
    assert KINDS[kind].resource.namespaced
    assert KINDS[kind].owned(application(), RoutingObservation(exists=False)).startswith("/")
    assert KINDS[kind].observe(application(), None).exists is False


def test_an_application_is_routed_by_an_ingress() -> None:
    """The field of the application file names no other kind yet."""
    assert routing_port(application()) is DEFAULT
    assert DEFAULT.resource is INGRESSES


def test_the_actions_of_an_ingress_are_found_by_name() -> None:
    """`init` takes the weights of cost mode from another action than the live one. One that is not text cannot be read."""
    key = action_key("b")
    owned = [{"manager": "git", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{key}": {}}}}}]
    found = {"metadata": {"annotations": {key: "no JSON", action_key("a"): 5, "other/actions.c": "{}"}, "managedFields": owned}}
    assert actions(found) == ["a", "b"]
    assert read_action(found, "a")[2] == f"annotation {action_key('a')} is missing"
    assert read_action(found, "b") == ((), 0, "the action is not JSON")
    assert (writers(found, "a"), writers(found, "b")) == ([], ["git"])
    assert actions({}) == []
