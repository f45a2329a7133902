"""Turns the application file of an Ingress into that of a route: of its text only what names the routing object changes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import yaml

from controller.catalog.application import ApplicationFile
from controller.catalog.loader import Source, parse_definitions
from controller.errors import ConfigError
from controller.objects import Object, integer, items, mapping, text
from controller.routing.annotations import PAUSE_REASON, PAUSED_BY, PAUSED_UNTIL, PIN_REASON, PINNED_BY, PINNED_MODE, PINNED_UNTIL
from controller.routing.kinds import DEFAULT, KINDS
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.routing import Routing, explained, read_routing

_STICKINESS: Final = ("stickinessCostSeconds", "stickinessCapacitySeconds")
_OVERRIDE: Final = (PAUSED_UNTIL, PAUSE_REASON, PAUSED_BY, PINNED_MODE, PINNED_UNTIL, PIN_REASON, PINNED_BY)


@dataclass(frozen=True, slots=True)
class Moved:
    """The application file for the route.

    Attributes:
        text: The file.
        notes: What a person should know, a sentence each without its full stop.
    """

    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Edit:
    """A replacement in the text, from one character to another."""

    start: int
    end: int
    new: str


def moved(source: Source, observed: Observation, routing: Routing, ingress: Object | None) -> Moved:
    """Rewrites an application file.

    Args:
        source: The file with the application of the Ingress.
        observed: The objects around the route.
        routing: The route's live routing.
        ingress: The Ingress that the file names; None where it cannot be read.

    Raises:
        ConfigError: The file is not valid, or not written in lines; or it has no application with an Ingress in that namespace, or several.
    """
    routed = routing.routed
    content, root, model = _chosen(source, routed.services_in, routed.name)
    spec = _value(root, "spec")
    route = explained(routing)["route"].value
    ours = f"route: {yaml.safe_dump(route, default_flow_style=True, sort_keys=False, width=10_000).strip()}\n"
    edits = [_line(content, spec, "ingress", new=ours), _line(content, spec, "action"), *_unsticking(content, spec)]
    ports, unknown = _ports(spec, observed)
    changed = content
    for edit in sorted([*edits, *ports], key=lambda one: one.start, reverse=True):
        changed = changed[: edit.start] + edit.new + changed[edit.end :]
    if _others(content) != _others(changed):
        raise ConfigError(f"{source.file}: not rewritten, because other values would change: write one field a line")
    notes = [*_named(model, routing), *unknown, *_compared(model, observed, routing, ingress)]
    if any(len(one.new) == 0 for one in edits[2:]):
        notes.append(f"{' and '.join(_STICKINESS)} are left out: the rule's ListenerRuleConfiguration states the stickiness")
    return Moved(changed, tuple(notes))


def ingress_of(source: Source, namespace: str, name: str) -> str:
    """The Ingress of the application that a route is to take over.

    Args:
        source: The file.
        namespace: The namespace of the Services.
        name: The route's name.

    Raises:
        ConfigError: As `moved`.
    """
    return _chosen(source, namespace, name)[2].spec.routed.name


def _chosen(source: Source, namespace: str, name: str) -> tuple[str, yaml.MappingNode, ApplicationFile]:
    """The text, and its only application with an Ingress in a namespace; of several that whose Ingress has the name of the route."""
    definitions = parse_definitions([source], ApplicationFile)
    try:
        content = source.content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source.file}: is not UTF-8") from error
    found = {}
    for node in yaml.compose_all(content, Loader=yaml.SafeLoader):
        document = yaml.safe_load(yaml.serialize(node))
        if text(document, "spec", "ingress") and text(document, "metadata", "namespace") == namespace:
            found[text(document, "spec", "ingress")] = node
    ingress = name if name in found or len(found) != 1 else next(iter(found))
    chosen = found.get(ingress)
    if isinstance(chosen, yaml.MappingNode):
        return content, chosen, definitions[f"{namespace}/{ingress}"].model
    there = f"several, for the Ingresses {', '.join(sorted(found))}: give the route the name of its Ingress" if found else "none"
    raise ConfigError(f"{source.file}: wanted is an application with an Ingress in namespace {namespace}, found {there}")


def _others(content: str) -> list[object]:
    """All values of a file except those that may change."""
    documents = [one for one in yaml.safe_load_all(content) if one]
    for spec in (one["spec"] for one in documents):
        policy = {key: value for key, value in (spec.pop("policy", None) or {}).items() if key not in _STICKINESS}
        spec |= {"policy": policy, **dict.fromkeys(("ingress", "action", "route"))}
        for service in (spec["capacityService"], *(unit["service"] for unit in spec["units"])):
            service["port"] = None
    return documents


def _pair(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((pair for pair in node.value if pair[0].value == key), None)


def _value(node: yaml.MappingNode, key: str) -> yaml.MappingNode:
    pair = _pair(node, key)
    return pair[1] if pair and isinstance(pair[1], yaml.MappingNode) else yaml.MappingNode("", [])


def _line(content: str, node: yaml.MappingNode, key: str, *, new: str = "") -> _Edit:
    """Replaces the lines of a key and its value, with the comment beside them.

    Raises:
        ConfigError: They share a line with others.
    """
    key_node, value = next(pair for pair in node.value if pair[0].value == key)
    while isinstance(value, yaml.CollectionNode) and value.value and not value.flow_style:
        last = value.value[-1]
        value = last[1] if isinstance(last, tuple) else last  # a block ends where what follows it begins, behind comments
    start = content.rfind("\n", 0, key_node.start_mark.index) + 1
    end = content.find("\n", value.end_mark.index) + 1
    indent = content[start : key_node.start_mark.index]
    if node.flow_style or indent.strip():
        raise ConfigError(f"{key} (line {key_node.start_mark.line + 1}) shares its line with other fields: write one field a line")
    return _Edit(start, end or len(content), indent + new if new else "")


def _unsticking(content: str, spec: yaml.MappingNode) -> Iterator[_Edit]:
    """Leaves out the stickiness of the policy, and a policy with nothing else."""
    policy = _value(spec, "policy")
    stated = [key for key in _STICKINESS if _pair(policy, key)]
    if stated and len(stated) == len(policy.value):
        yield _line(content, spec, "policy")
    else:
        yield from (_line(content, policy, key) for key in stated)


def _ports(spec: yaml.MappingNode, observed: Observation) -> tuple[list[_Edit], list[str]]:
    """Named ports as numbers, and why a port cannot be a number."""
    units = _pair(spec, "units")
    listed = [one for one in units[1].value if isinstance(one, yaml.MappingNode)] if units else []
    edits, unknown = [], []
    for service in [_value(spec, "capacityService"), *(_value(one, "service") for one in listed)]:
        name, port = (pair[1] if (pair := _pair(service, key)) else None for key in ("name", "port"))
        if name is None or port is None or port.value.isdigit():
            continue
        ports = items(observed.services.get(name.value), "spec", "ports")
        number = next((integer(one, "port") for one in ports if text(one, "name") == port.value), None)
        if number is None:
            unknown.append(f"Service {name.value} has no port {port.value}: enter its number, because a route names ports by number")
        else:
            edits.append(_Edit(port.start_mark.index, port.end_mark.index, str(number)))
    return edits, unknown


def _named(model: ApplicationFile, routing: Routing) -> Iterator[str]:
    old, new = model.spec.routed.name, routing.routed.name
    if old != new:
        yield f"The {routing.routed.kind} is called {new} and the Ingress {old}: the controller begins without memory and history"
        yield "To keep both, create the route with the name of the Ingress, and run this command again"
    if routing.routed.namespace != routing.routed.services_in:
        yield f"The {routing.routed.kind} is in another namespace than the Ingress: the controller begins without memory and history"


def _compared(model: ApplicationFile, observed: Observation, routing: Routing, ingress: Object | None) -> Iterator[str]:
    """What of the Ingress the route must have too: its mode and its overrides."""
    old = model.spec.routed
    if ingress is None:
        yield f"Ingress {old.name} cannot be read: compare its mode and its overrides (`failoverctl status`) with those of the route"
        return
    kind = routing.routed.kind
    try:
        mode = read_routing(replace(observed, obj=ingress, kind=DEFAULT.resource.kind), old.part).mode
    except ConfigError as error:
        yield f"The mode of the Ingress is not known ({error}): compare it with that of the route"
        mode = routing.mode
    if mode is not routing.mode:
        yield f"THE INGRESS IS IN {mode} MODE AND THE {kind} IN {routing.mode} MODE: with this file the mode of the route counts"
        yield "Change the file when both show the same mode; the one that clients still reach does not follow the controller any more"
    stated = {key: value for key in _OVERRIDE if (value := text(mapping(ingress, "metadata", "annotations"), key))}
    if not stated:
        return
    if all(value.isprintable() for value in stated.values()):
        marks = " ".join(shlex.quote(f"{key}={value}") for key, value in stated.items())
        at = f"-n {routing.routed.namespace} {KINDS[kind].resource.name} {routing.routed.name}"
        yield f"The Ingress has a pause or a pin. Set it on the route: kubectl annotate {at} {marks}"
    else:
        yield "The Ingress has a pause or a pin that cannot be printed: set it on the route with `failoverctl pause` or `failoverctl pin`"
