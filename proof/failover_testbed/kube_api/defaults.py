"""The defaults that the schemas of custom resources state, for the fields that the controller or the fakes read. Pure.

A server adds them to what it stores, so a JSON patch that tests a list must know them: the ``backendRefs`` of an HTTPRoute come back with
group, kind and weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Field:
    """The defaults of a field.

    Attributes:
        value: What an absent field gets; None leaves it absent.
        fields: The fields inside: of a map, or of each map in a list.
    """

    value: Any = None
    fields: Mapping[str, Field] = field(default_factory=dict)


def _inside(**fields: Field) -> Field:
    return Field(fields=fields)


_GROUP: Final = "gateway.networking.k8s.io"
_EXACT: Final = _inside(type=Field("Exact"))
_PATH: Final = {"type": "PathPrefix", "value": "/"}
_PATH_FIELD: Final = Field(_PATH, {name: Field(value) for name, value in _PATH.items()})
_PARENTS: Final = _inside(group=Field(_GROUP), kind=Field("Gateway"))
_BACKENDS: Final = _inside(group=Field(""), kind=Field("Service"), weight=Field(1))
_SAME: Final = {"from": "Same"}
_NAMESPACES: Final = Field(_SAME, {"from": Field("Same")})

_HTTP_MATCHES: Final = Field([{"path": _PATH}], {"path": _PATH_FIELD, "headers": _EXACT, "queryParams": _EXACT})
_HTTP_RULES: Final = Field([{"matches": [{"path": _PATH}]}], {"matches": _HTTP_MATCHES, "backendRefs": _BACKENDS})
_GRPC_RULES: Final = _inside(matches=_inside(headers=_EXACT, method=_EXACT), backendRefs=_BACKENDS)
_LISTENERS: Final = _inside(allowedRoutes=Field({"namespaces": _SAME}, {"namespaces": _NAMESPACES}))
_STICKINESS: Final = Field({}, {"enabled": Field(value=False), "durationSeconds": Field(3600)})
_ACTIONS: Final = _inside(forwardConfig=_inside(targetGroupStickinessConfig=_STICKINESS))

_KINDS: Final[Mapping[str, Field]] = {
    "gateways": _inside(spec=_inside(listeners=_LISTENERS)),
    "grpcroutes": _inside(spec=_inside(parentRefs=_PARENTS, rules=_GRPC_RULES)),
    "httproutes": _inside(spec=_inside(parentRefs=_PARENTS, rules=_HTTP_RULES)),
    "listenerruleconfigurations": _inside(spec=_inside(actions=_ACTIONS)),
    "targetgroupconfigurations": _inside(spec=_inside(targetReference=_inside(group=Field(""), kind=Field("Service")))),
}


def defaulted(plural: str, obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an object with the defaults of its kind; parts without defaults are shared.

    Args:
        plural: The kind's plural name.
        obj: The object.
    """
    return _filled(obj, _KINDS.get(plural, Field()).fields)


def _filled(obj: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    made = dict(obj)
    for name, one in fields.items():
        if name not in made and one.value is not None:
            made[name] = deepcopy(one.value)
        found = made.get(name)
        if isinstance(found, list):
            made[name] = [_filled(item, one.fields) if isinstance(item, Mapping) else item for item in found]
        elif isinstance(found, Mapping):
            made[name] = _filled(found, one.fields)
    return made
