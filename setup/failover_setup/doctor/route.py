"""Checks of a route of the Gateway API, its Gateways and its backends."""

from __future__ import annotations

import json
from collections.abc import Iterator

from controller.clients.kube import GATEWAYS, REFERENCE_GRANTS
from controller.objects import condition, entries, items, mapping, text
from controller.policy import text as words
from controller.policy.model import Backend
from controller.policy.routing import needed
from controller.routing.gateway.backends import rule_index, services_of
from controller.routing.gateway.gateways import balancers, gateways_of, overlooked
from controller.routing.gateway.grants import grant_spec
from failover_setup.doctor import services
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Finding, ok, problem, unknown, warning


def route(observed: Observation) -> Iterator[Finding]:
    """The route of the application file exists and has the rule."""
    application, routed = observed.application, observed.application.route
    if not observed.obj:
        fix = "create it, or correct metadata.namespace and spec.route of the application file"
        yield problem(f"{application.routing_object} does not exist", fix)
    elif observed.routing.unused:
        what, _, fix = observed.routing.unused.partition(": ")
        yield problem(what, fix)
    elif routed.part.isdigit():
        name = "give the rule a name, and spec.route.rule that name: a rule that somebody adds before it moves the index"
        yield warning(f"the rule is named by its index, {routed.part}", name)
    else:
        yield ok(f"has the rule {routed.part}")


def gateways(observed: Observation) -> Iterator[Finding]:
    """Each Gateway of the route exists, is accepted and programmed, and has a load balancer."""
    named = gateways_of(observed.obj)
    if not named:
        yield problem("the route names no Gateway", "name one in spec.parentRefs")
    for namespace, name in named:
        found = observed.beside.one(GATEWAYS, namespace, name)
        where = f"Gateway {namespace}/{name}"
        if found is None:
            yield problem(f"{where} does not exist, or may not be read", "create it, or grant `list` on gateways")
        elif refused := [kind for kind in ("Accepted", "Programmed") if text(condition(found, kind), "status") == "False"]:
            why = text(condition(found, refused[0]), "message") or "no message"
            yield problem(f"{where}: {refused[0]} is False: {why}", "see the events of the Gateway; until then no mode change reaches it")
        elif not balancers(found):
            yield problem(f"{where} has no address: no load balancer serves it", "see the log of the load-balancer controller")
        else:
            yield ok(f"{where} has {words.listing(balancers(found))}")


def accepted(observed: Observation) -> Iterator[Finding]:
    """The load-balancer controller has taken up the route as it is, and resolves all its backends."""
    which, reconciles = (observed.asked.reported, observed.routing.uid, observed.now), observed.reconciles
    said = observed.routing.blocked or reconciles.blocked(*which) or reconciles.undone(*which)
    if said:
        yield problem(said, "resolve it; until then the controller changes no mode that it concerns")
    elif not items(observed.obj, "status", "parents"):
        yield unknown(
            "no controller says anything of it", "is the AWS Load Balancer Controller 2.14 or later, with the Gateway API's definitions?"
        )
    elif overlooked(observed.obj) is not None:
        yield warning("the last change is not taken up yet", "wait a moment; else see the events of the Gateway")
    else:
        yield ok("accepted, and all references are resolved")


def granted(observed: Observation) -> Iterator[Finding]:
    """A ReferenceGrant lets the route name each of the application's Services, where these are in another namespace."""
    application = observed.application
    if application.routing_namespace == application.namespace:
        yield ok("the route is in the namespace of the Services")
    elif observed.routing.ungranted:
        seen = f"no ReferenceGrant in namespace {application.namespace} lets the route name {words.listing(observed.routing.ungranted)}"
        spec = json.dumps(grant_spec(application))
        yield problem(seen, f"create a {REFERENCE_GRANTS.kind} in namespace {application.namespace} with this spec: {spec}")
    else:
        yield ok(f"a ReferenceGrant in namespace {application.namespace} lets the route name every Service")


def _named(observed: Observation) -> set[tuple[str, int]]:
    """The Services of the application's namespace that the route's rules name, with their ports."""
    application = observed.application
    rules = map(mapping, items(observed.obj, "spec", "rules"))
    return {one for rule in rules for one in services_of(rule, application.routing_namespace, application.namespace)}


def backends(observed: Observation) -> Iterator[Finding]:
    """Every backend of the route is a Service that exists with that port."""
    named = _named(observed)
    absent = sorted(f"{name}:{port}" for name, port in named if not services.exists(observed, Backend(name, port)))
    if absent:
        fix = "create it, or remove it: the load balancer gives its share to the others, and the route's references stay unresolved"
        yield problem(f"rules name {words.listing(absent)}, and there is no such Service with that port", fix)
    else:
        yield ok(f"{len(named)} Services, and all exist")


def target_groups(observed: Observation) -> Iterator[Finding]:
    """The load-balancer controller has created a target group of the route's Gateways for every Service that its rules name."""
    named, bound = _named(observed), observed.target_groups
    wanted = [(one.service, one.port) for one in needed(observed.application) if (one.service, one.port) in named]
    missing = [f"{service}:{port}" for service, port in wanted if (service, port) not in bound]
    if missing:
        fix = "see the events of the Gateway; a binding made by hand, or for something else, does not count"
        yield problem(f"no TargetGroupBinding of its Gateways for {words.listing(missing)}", fix)
    else:
        yield ok(f"{len(wanted)} target group(s)")


def bypass(observed: Observation) -> Iterator[Finding]:
    """No rule but the application's and the standby rules names a Service of the application."""
    application = observed.application
    home, namespace = application.routing_namespace, application.namespace
    own = {(one.service, one.port) for one in needed(application)}
    mine, rules = rule_index(observed.obj, application.route.part), [mapping(rule) for rule in items(observed.obj, "spec", "rules")]
    beside = [rule for place, rule in enumerate(rules) if place != mine and services_of(rule, home, namespace) & own]
    open_ = [
        text(rule, "name") or "without a name" for rule in beside if not all(_headers(one) for one in entries(rule, "matches") or [{}])
    ]
    if open_:
        sends = f"rule {words.listing(open_)} sends requests to the application's Services and does not follow the mode"
        yield warning(sends, "nothing if it is intended; a standby rule matches a header")
    else:
        yield ok("all requests go through the rule")


def _headers(match: object) -> bool:
    return bool(items(match, "headers"))
