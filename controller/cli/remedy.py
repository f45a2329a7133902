"""The missing standby rules of a routing object, as `plan` and `doctor` print them: a command to run, or YAML for Git."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from controller.cli.words import ICONS, Line, piped
from controller.policy.model import Application
from controller.routing.kinds import routing_port
from controller.routing.port import Remedy


def remedy_lines(application: Application, remedy: Remedy) -> Iterator[Line]:
    """How to add the standby rules, and why some of them must wait; nothing where none is missing."""
    if remedy.patch:
        yield "title", "Standby rules to add"
        yield "plain", "Without them a mode change causes 503s for 5 to 30 s, so it is refused unless"
        yield "plain", "allowUnsafeSwitch is set. No request reaches them; other rules stay. Run:"
        yield "plain", ""
        yield from (("plain", line) for line in command(application, remedy.patch).splitlines())
        yield "plain", ""
        yield "dim", "Kept in Git? This prints the whole spec.rules to put there:"
        yield "dim", f"failoverctl doctor {application.key} --output yaml"
        yield "plain", ""
    waiting = list(_waiting(remedy))
    if waiting:
        yield "title", "No standby rule yet"
        yield from (("warn", line) for line in waiting)
        yield "plain", ""


def _waiting(remedy: Remedy) -> Iterator[str]:
    """Why rules that are missing must not be added yet."""
    for backend in remedy.absent:
        yield f"{ICONS['warn']} {backend.service}: there is no such Service with port {backend.port}; create it first."
    for backend in remedy.unknown:
        yield f"{ICONS['unknown']} {backend.service}: the Services cannot be read, so nobody knows whether it exists."
    if remedy.absent or remedy.unknown:
        yield "A rule for a Service that does not exist stops the load-balancer controller"
        yield "from changing any rule of the whole load balancer."


def remedy_document(remedy: Remedy) -> dict[str, Any]:
    """The same as a JSON document."""
    return {"standbyPatch": list(remedy.patch), "standbyWaits": [backend.service for backend in (*remedy.absent, *remedy.unknown)]}


def command(application: Application, patch: Sequence[Mapping[str, Any]]) -> str:
    """A shell command that applies a JSON patch to the routing object, with one operation per line and no quoting."""
    kind, name = routing_port(application).resource.kind.lower(), application.route.name
    call = f"kubectl -n {application.routing_namespace} patch {kind} {name} --type json --patch-file /dev/stdin"
    return piped(call, *(f"- {_flow(operation)}" for operation in patch))


def _flow(value: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize)).strip()


def manifest(application: Application, remedy: Remedy) -> str:
    """The routing object with its whole ``spec.rules`` as a YAML document for Git, and comments where rules must wait."""
    comments = [f"# {line.removeprefix(ICONS['warn']).removeprefix(ICONS['unknown']).strip()}" for line in _waiting(remedy)]
    if not remedy.patch:
        return "\n".join([*comments, f"# {application.key} lacks no standby rule{' that can be added now' if comments else ''}", ""])
    resource = routing_port(application).resource
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": application.route.name, "namespace": application.routing_namespace},
        "spec": {"rules": list(remedy.rules)},
    }
    return "\n".join(["---", *comments, str(yaml.safe_dump(body, sort_keys=False))])
