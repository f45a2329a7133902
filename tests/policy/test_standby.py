"""The Services that need a standby rule."""

from __future__ import annotations

from dataclasses import replace

from controller.policy.model import Backend, RoutingStyle
from controller.policy.routing import existence, lacking
from tests.support.applications import CAPACITY_TARGETS, COST_TARGETS, SERVICES, application, routing, snapshot

ALL = Backend("sd21-all", 80)


def test_what_the_action_names_needs_no_rule_where_it_always_names_all() -> None:
    made = application(routing_style=RoutingStyle.IN_PLACE)
    assert lacking(made, routing(standby=())) == ()
    assert lacking(made, routing(standby=SERVICES[:2], targets=COST_TARGETS[2:])) == ()
    other = tuple(replace(target, port="http") for target in COST_TARGETS[:1])
    assert lacking(made, routing(standby=SERVICES[2:], targets=(*other, *COST_TARGETS[1:]))) == (made.units[0].backend,)
    assert lacking(made, routing(standby=(), targets=CAPACITY_TARGETS)) == tuple(unit.backend for unit in made.units)


def test_otherwise_every_service_needs_one() -> None:
    made = application()
    assert lacking(made, routing(standby=())) == (ALL, *(unit.backend for unit in made.units))
    assert lacking(made, routing(standby=SERVICES)) == (ALL,)


def test_whether_a_service_exists_is_what_was_observed() -> None:
    made = snapshot(routing=routing(capacity_exists=None))
    name = made.application.units[0].name
    made = replace(made, units={**made.units, name: replace(made.units[name], service_exists=False)})
    found = existence(made)
    assert found[ALL] is None
    assert found[made.application.units[0].backend] is False
    assert found[made.application.units[1].backend] is True
