"""The standby rules: which are missing, and the patch that adds them."""

from __future__ import annotations

from typing import Any

from controller.policy.model import Backend, Route
from controller.routing.ingress.standby import Rule, completed, live_rule, remedy, standby_patch, standby_rule
from controller.routing.port import Remedy
from tests.support.applications import application, routing

ALL = Backend("sd21-all", 80)
NAMED = Backend("sd21-all", "http")
LIVE = live_rule("weighted-routing")


def _ingress(*rules: Rule) -> dict[str, Any]:
    return {"spec": {"rules": list(rules)}}


def test_a_rule_has_the_port_as_the_action_names_it() -> None:
    """80 and "http" are two target groups."""
    ports = [standby_rule(one)["http"]["paths"][0]["backend"]["service"]["port"] for one in (ALL, NAMED)]
    assert ports == [{"number": 80}, {"name": "http"}]
    assert standby_rule(ALL)["host"] == "sd21-all.standby.invalid"


def test_a_rule_is_whole_and_one_that_no_request_reaches() -> None:
    """With another Service in it, the target group that a failover needs would be unregistered when it comes."""
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "sd21-all", "port": {"number": 80}}}}
    assert standby_rule(ALL) == {"host": "sd21-all.standby.invalid", "http": {"paths": [path]}}


def test_the_patch_appends_and_writes_nothing_else() -> None:
    patch = standby_patch("weighted-routing", [LIVE], [ALL])
    assert patch == [{"op": "add", "path": "/spec/rules/-", "value": standby_rule(ALL)}]
    assert standby_patch("weighted-routing", [LIVE, standby_rule(ALL)], [ALL]) == []


def test_a_rule_with_another_port_is_replaced_where_it_is() -> None:
    """The test fails where somebody has moved it meanwhile."""
    patch = standby_patch("weighted-routing", [standby_rule(NAMED), LIVE], [ALL])
    host = standby_rule(ALL)["host"]
    assert [one["op"] for one in patch] == ["test", "replace"]
    assert patch[0] == {"op": "test", "path": "/spec/rules/0/host", "value": host}
    assert patch[1]["path"].startswith("/spec/rules/0")
    assert completed("weighted-routing", [standby_rule(NAMED), LIVE], [ALL]) == [standby_rule(ALL), LIVE]


def test_an_ingress_without_rules_gets_the_live_one_too() -> None:
    assert standby_patch("weighted-routing", [], [ALL]) == [{"op": "add", "path": "/spec/rules", "value": [LIVE, standby_rule(ALL)]}]


def test_no_rule_is_added_for_what_does_not_exist_or_is_not_known() -> None:
    made = application()
    first, second, *rest = (ALL, *(unit.backend for unit in made.units))
    exists = {first: True, second: False, **dict.fromkeys(rest)}
    found = remedy(made, routing(standby=()), _ingress(LIVE), exists)
    assert found == Remedy(
        rules=(LIVE, standby_rule(first)),
        patch=({"op": "add", "path": "/spec/rules/-", "value": standby_rule(first)},),
        absent=(second,),
        unknown=tuple(rest),
    )
    nothing = remedy(made, routing(standby=()), _ingress(LIVE), dict.fromkeys(exists, False))
    assert (nothing.rules, nothing.patch) == ((LIVE,), ())


def test_an_ingress_without_rules_is_left_alone_while_no_service_exists() -> None:
    """The live rule alone would send requests to an action whose Services are not there. It is named after the application's own action."""
    made = application(route=Route("sd21", "own-action"))
    exists = {ALL: True, **{unit.backend: False for unit in made.units}}
    live = live_rule("own-action")
    found = remedy(made, routing(standby=()), _ingress(), exists)
    assert (found.rules, found.patch) == (
        (live, standby_rule(ALL)),
        ({"op": "add", "path": "/spec/rules", "value": [live, standby_rule(ALL)]},),
    )
    assert remedy(made, routing(standby=()), _ingress(), dict.fromkeys(exists, False)).patch == ()
