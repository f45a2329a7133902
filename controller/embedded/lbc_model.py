"""What the AWS Load Balancer Controller makes of an Ingress before it asks AWS for anything: rules, actions, and its refusals.

Pure: an Ingress and the Services go in, rules or a `BuildError` come out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.policy.routing import PREFIX

TargetKey = tuple[str, int | str]
"""A Service and its port as written: 80 and "http" make two target groups."""

Services = Callable[[str], Mapping[str, Any] | None]

_KINDS: Final = {"Exact": 0, "Prefix": 1}
_INT32: Final = 2**31


class BuildError(Exception):
    """The Ingress cannot be made into rules: nothing is written, and the event says this."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward action. `stickiness` is as the annotation states it, None where it does not."""

    targets: tuple[tuple[TargetKey, int | None], ...]
    stickiness: tuple[bool, int] | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed response."""

    status: str
    body: str


@dataclass(frozen=True, slots=True)
class RuleModel:
    """One rule: ELBv2's conditions, and what to do."""

    conditions: tuple[tuple[str, tuple[str, ...]], ...]  # field and values, in the order in which they are sent
    action: Forward | Fixed


def build(ingress: Mapping[str, Any], services: Services) -> tuple[RuleModel, ...]:
    """The rules of an Ingress, in the order of their priorities.

    Args:
        ingress: The object.
        services: Finds a Service of its namespace by name.

    Raises:
        BuildError: One thing that is wrong stops everything.
    """
    annotations = ingress["metadata"].get("annotations") or {}
    rules = []
    for rule in ingress.get("spec", {}).get("rules") or []:
        host = str(rule.get("host") or "")
        paths = (rule.get("http") or {}).get("paths") or []
        for path in sorted(paths, key=_path_order):
            service = (path.get("backend") or {}).get("service") or {}
            name, port = str(service.get("name") or ""), service.get("port") or {}
            extra: list[tuple[str, tuple[str, ...]]] = []
            if port.get("name") == "use-annotation":
                action = _annotated(annotations, name, services)
                extra = _conditions(annotations, name)
            else:
                action = _backend(name, port.get("name") or port.get("number") or 0, services)
            rules.append(RuleModel(_matching(host, path, extra), action))
    return tuple(rules)


def _path_order(path: Mapping[str, Any]) -> tuple[int, int]:
    kind = _KINDS.get(str(path.get("pathType")), 2)
    return kind, -len(str(path.get("path") or "")) if kind == 1 else 0


def _matching(host: str, path: Mapping[str, Any], extra: list[tuple[str, tuple[str, ...]]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    text = str(path.get("path") or "")
    if path.get("pathType") == "Prefix":
        base = text.removesuffix("/")
        patterns: tuple[str, ...] = (base, f"{base}/*") if base else ("/*",)
    else:
        patterns = (text,) if text else ()
    found: list[tuple[str, tuple[str, ...]]] = [("host-header", (host,))] if host else []
    if patterns:
        found.append(("path-pattern", patterns))
    for name, values in extra:
        known = next((index for index, (other, _) in enumerate(found) if other == name and name in {"host-header", "path-pattern"}), None)
        if known is None:
            found.append((name, values))
        else:
            found[known] = (name, found[known][1] + values)
    return tuple(found) or (("path-pattern", ("/*",)),)


def _conditions(annotations: Mapping[str, Any], name: str) -> list[tuple[str, tuple[str, ...]]]:
    key = f"{PREFIX}/conditions.{name}"
    if key not in annotations:
        return []
    configs = {"host-header": "hostheaderconfig", "path-pattern": "pathpatternconfig", "source-ip": "sourceipconfig"}
    found = []
    entries = _decoded(key, str(annotations[key]))
    for entry in entries if isinstance(entries, list) else []:
        field = entry.get("field") if isinstance(entry, dict) else None
        if field not in configs:
            raise BuildError(f"the emulated load-balancer controller does not support conditions of {field!r}")
        values = (entry.get(configs[field]) or {}).get("values") or []
        found.append((str(field), tuple(str(value) for value in values)))
    return found


def _backend(name: str, port: int | str, services: Services) -> Forward | Fixed:
    """A plain backend: a Service that does not exist is tolerated, and answered for."""
    service = services(name)
    if service is None:
        return Fixed("503", "Backend service does not exist")
    _check_port(service, port)
    return Forward((((name, port), None),))


def _annotated(annotations: Mapping[str, Any], name: str, services: Services) -> Forward | Fixed:
    key = f"{PREFIX}/actions.{name}"
    if key not in annotations:
        return Fixed("503", "Backend action does not exist")
    action = _decoded(key, str(annotations[key]))
    if not isinstance(action, dict):
        raise _cannot_decode(key, str(annotations[key]), "json: cannot unmarshal into Go value of type ingress.Action")
    match action.get("type"):
        case "forward":
            return _forward(key, str(annotations[key]), action, services)
        case "fixed-response":
            config = action.get("fixedresponseconfig") or {}
            return Fixed(str(config.get("statuscode", "503")), str(config.get("messagebody", "")))
        case kind:
            raise BuildError(f"unknown action type: {kind or ''}")


def _forward(key: str, raw: str, action: Mapping[str, Any], services: Services) -> Forward | Fixed:
    config = action.get("forwardconfig")
    if not isinstance(config, dict):
        raise BuildError("missing ForwardConfig or TargetGroupARN/TargetGroupName")
    groups = config.get("targetgroups") or []
    if not isinstance(groups, list):
        raise _cannot_decode(key, raw, "json: cannot unmarshal into Go struct field targetGroups")
    targets = [_tuple(key, raw, group) for group in groups]
    if len(targets) > 1 and any(weight is None for _, weight in targets):
        raise BuildError("weight must be set when route to multiple target groups")
    for (name, port), _ in targets:
        service = services(name)
        if service is not None:
            _check_port(service, port)
        elif len(targets) == 1:
            return Fixed("503", "Backend service does not exist")
        else:
            raise BuildError(f'Service "{name}" not found')
    sticky = config.get("targetgroupstickinessconfig")
    stated: tuple[bool, int] | None = None
    if isinstance(sticky, dict):
        enabled, duration = sticky.get("enabled"), sticky.get("durationseconds")
        if not isinstance(enabled, bool | None):
            raise _cannot_decode(key, raw, "json: cannot unmarshal into Go struct field enabled of type bool")
        stated = (bool(enabled), duration if isinstance(duration, int) else 0)
    return Forward(tuple(targets), stated)


def _tuple(key: str, raw: str, group: object) -> tuple[TargetKey, int | None]:
    if not isinstance(group, dict):
        raise _cannot_decode(key, raw, "json: cannot unmarshal into Go value of type ingress.TargetGroupTuple")
    name, port, weight = group.get("servicename"), group.get("serviceport"), group.get("weight")
    if not isinstance(name, str) or not name:
        raise BuildError("missing serviceName or targetGroupARN/targetGroupName")
    if isinstance(port, str) and port.isdigit():
        port = int(port)
    if isinstance(port, bool) or not isinstance(port, int | str):
        raise BuildError("missing servicePort")
    if weight is not None and (type(weight) is not int or not -_INT32 <= weight < _INT32):
        raise _cannot_decode(key, raw, "json: cannot unmarshal number into Go struct field weight of type int32")
    return (name, port), weight


def _check_port(service: Mapping[str, Any], port: int | str) -> None:
    metadata = service["metadata"]
    for entry in service.get("spec", {}).get("ports") or []:
        if port in {entry.get("port"), entry.get("name")}:
            return
    raise BuildError(f"unable to find port {port} on service {metadata['namespace']}/{metadata['name']}")


def _decoded(key: str, raw: str) -> Any:  # noqa: ANN401 - any JSON
    """Decodes as Go does: keys without regard to case, the last of duplicates."""
    try:
        return _folded(json.loads(raw))
    except (ValueError, RecursionError) as error:
        at_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(raw.rstrip())
        raise _cannot_decode(key, raw, "unexpected end of JSON input" if at_end else "invalid character") from None


def _folded(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {str(name).lower(): _folded(item) for name, item in value.items()}
    return [_folded(item) for item in value] if isinstance(value, list) else value


def _cannot_decode(key: str, raw: str, why: str) -> BuildError:
    return BuildError(f"failed to parse json annotation, {key}: {raw}: {why}")


def target_keys(rules: tuple[RuleModel, ...]) -> Iterator[TargetKey]:
    """Every Service and port that some rule forwards to, once, in the order of their names: in it target groups are created."""
    keys = {key for rule in rules if isinstance(rule.action, Forward) for key, _ in rule.action.targets}
    yield from sorted(keys, key=lambda key: (key[0], str(key[1])))
