"""Reads a route and the objects beside it: routing action, standby rules, last writer, and where the load balancer must show the action."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from controller.clients.kube import LISTENER_RULE_CONFIGURATIONS
from controller.foreign import shown
from controller.objects import Object, entries, field_owners, integer, items, mapping, namespace_of, text
from controller.policy.model import Application, RoutingObservation
from controller.policy.plan import FIELD_MANAGER
from controller.policy.text import listing
from controller.routing.annotations import NUDGED_AT
from controller.routing.attributes import keeps_clients
from controller.routing.conditions import Condition, merged
from controller.routing.gateway.backends import action_of, read, rule_index, rules_of, services_of
from controller.routing.gateway.gateways import Attached, attached, gateways_of, overlooked, refused
from controller.routing.gateway.grants import ungranted
from controller.routing.gateway.settings import attributes, target_group
from controller.routing.marks import marked
from controller.routing.port import Asked, Beside, LiveRule

RULE: Final = "rule"
"""Of `RoutingObservation.kept`: the index of the application's rule."""
ANNOTATED: Final = "annotations"
"""Of `RoutingObservation.kept`: the route has annotations, of which it names the one of a nudge."""

Matcher = Callable[[Mapping[str, Any]], Iterator[Condition]]


def observe(application: Application, obj: Object | None, beside: Beside) -> RoutingObservation:
    """See `controller.routing.port.RoutingPort.observe`."""
    if obj is None:
        return RoutingObservation(exists=False)
    index = rule_index(obj, application.route.part)
    rule, home = _rule(obj, index), namespace_of(obj)
    action = action_of(rule, home, application.namespace)
    targets, _, problem = read(action) if action else ((), 0, "the rule has no backends")
    managers, annotations = writers(obj), mapping(obj, "metadata", "annotations")
    stated = {one: target_group(one, application.namespace, obj, beside) for one in application.services}
    kept = ((RULE, str(index)), *(((ANNOTATED, NUDGED_AT if NUDGED_AT in annotations else ""),) if annotations else ()))
    return replace(
        marked(obj),
        action=action,
        targets=targets,
        stickiness_s=stickiness(rule, home, beside),
        settings_elsewhere=True,
        problem=problem,
        unused="" if index is not None else _unused(application, obj),
        kept=kept if index is not None else (),
        writer=shown(managers[-1]) if managers else "",
        foreign=bool(managers) and FIELD_MANAGER not in managers,
        ungranted=tuple(ungranted(application, beside)),
        standby=tuple(sorted(_standby(application, obj, index))),
        sticky=tuple(one for one in application.services if keeps_clients(attributes(stated[one]))),
        blocked=refused(obj, beside),
    )


def writers(obj: Object) -> list[str]:
    """The field managers that own a route's rules, the last writer last."""
    return field_owners(obj, "spec", "rules")


def asked(application: Application, obj: Object, beside: Beside, matcher: Matcher) -> Asked:
    """See `controller.routing.port.RoutingPort.asked`."""
    rule = _rule(obj, rule_index(obj, application.route.part))
    listeners, stacks = list(attached(obj, beside)), gateways_of(obj)
    matches, addresses = entries(rule, "matches") or [{}], entries(configuration(rule, namespace_of(obj), beside), "spec", "conditions")
    found: dict[frozenset[Condition], LiveRule] = {}
    for index, match in enumerate(matches):
        for host in dict.fromkeys(host for one in listeners for host in one.hosts):
            live = _live(host, [*matcher(match), *_sources(addresses, index)], listeners)
            found[live.conditions] = live
    return Asked(
        hostnames=tuple(dict.fromkeys(one.balancer for one in listeners if one.balancer)),
        rules=tuple(found.values()),
        stacks=stacks,
        reported=tuple(("Gateway", namespace, name) for namespace, name in stacks),
        group=None,
        overlooked=overlooked(obj),
    )


def _live(host: str, conditions: list[Condition], listeners: list[Attached]) -> LiveRule:
    """The load balancer has a rule for each host."""
    all_of = merged([*conditions, *([("host-header", frozenset({host.lower()}))] if host else [])])
    paths = sorted(value for name, values in conditions if name == "path-pattern" for value in values)
    at = frozenset((one.balancer, one.port) for one in listeners if host in one.hosts and one.balancer)
    return LiveRule(all_of, " ".join(filter(None, (host, *paths))) or "/*", at)


def _unused(application: Application, obj: Object) -> str:
    """See `RoutingObservation.unused`."""
    named = listing(shown(one) for one in rules_of(obj)) if rules_of(obj) else "none at all"
    route = application.route
    return f"the {route.kind} has no rule {route.part}, but {named}: correct spec.route.rule of the application file"


def _rule(obj: Object, index: int | None) -> Mapping[str, Any]:
    return {} if index is None else mapping(items(obj, "spec", "rules")[index])


def _standby(application: Application, obj: Object, index: int | None) -> set[str]:
    """The application's Services that other rules of the route name with the same port: a route has one target group for each."""
    ports, home = application.ports, namespace_of(obj)
    others = (rule for place, rule in enumerate(items(obj, "spec", "rules")) if place != index)
    named = (one for rule in others for one in services_of(mapping(rule), home, application.namespace))
    return {service for service, port in named if ports.get(service) == port}


def configuration(rule: Mapping[str, Any], namespace: str, beside: Beside) -> Object | None:
    """The ListenerRuleConfiguration that a rule's filters name."""
    named = (text(one, "extensionRef", "name") for one in entries(rule, "filters") if text(one, "type") == "ExtensionRef")
    return next((found for name in named if (found := beside.one(LISTENER_RULE_CONFIGURATIONS, namespace, name))), None)


def stickiness(rule: Mapping[str, Any], namespace: str, beside: Beside) -> int:
    """The stickiness of a rule's target groups, seconds; 0 for none."""
    for action in entries(configuration(rule, namespace, beside), "spec", "actions"):
        stated = mapping(action, "forwardConfig", "targetGroupStickinessConfig")
        if stated.get("enabled") is True:
            return integer(stated, "durationSeconds") or 0
    return 0


def _sources(conditions: list[dict[str, Any]], match: int) -> Iterator[Condition]:
    """The addresses that a ListenerRuleConfiguration adds to one of the rule's matches."""
    for one in conditions:
        if text(one, "field") == "source-ip" and (one.get("matchIndexes") is None or match in items(one, "matchIndexes")):
            yield "source-ip", frozenset(str(value) for value in items(one, "sourceIPConfig", "values"))
