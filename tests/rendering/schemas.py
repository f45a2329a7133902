"""Checks objects against the Kubernetes OpenAPI types, and against custom resource definitions, without a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import jsonschema
from kubernetes.client import models

from failover_harness.control_plane.crds import GATEWAY, upstream

Object = dict[str, Any]

_MODELS: Final = {
    ("v1", "Namespace"): "V1Namespace",
    ("v1", "Service"): "V1Service",
    ("v1", "ServiceAccount"): "V1ServiceAccount",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("networking.k8s.io/v1", "Ingress"): "V1Ingress",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
}
_PLAIN: Final[dict[str, type | tuple[type, ...]]] = {
    "str": str, "int": int, "bool": bool, "float": (int, float), "IntOrString": (int, str), "Quantity": (str, int), "object": object
}  # fmt: skip


def problems(obj: Object) -> list[str]:
    """What is wrong with an object; custom resources need the definitions of shared/.

    Raises:
        LookupError: Its kind is not known here.
    """
    key = (obj["apiVersion"], obj["kind"])
    if key in _MODELS:
        return list(_model_problems(obj, _MODELS[key], obj["kind"]))
    return [f"{error.json_path}: {error.message}" for error in _validator(*key).iter_errors(obj)]


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    group, version = api_version.split("/")
    for definition in (*upstream(), *upstream(GATEWAY)):
        spec = definition["spec"]
        if (spec["group"], spec["names"]["kind"]) == (group, kind):
            schema = next(one["schema"]["openAPIV3Schema"] for one in spec["versions"] if one["name"] == version)
            return jsonschema.Draft202012Validator(_closed(schema))
    raise LookupError(f"no schema of {(api_version, kind)}")


def _closed(schema: Any) -> Any:
    """The schema with unknown fields refused, as an API server prunes or refuses them; metadata is Kubernetes' own."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(one) for name, one in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def _model_problems(value: Any, kind: str, where: str) -> Iterator[str]:
    """Compares a value with a type of the generated client, whose types are those of the OpenAPI document."""
    if match := re.fullmatch(r"List\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: not a list"
            return
        for index, one in enumerate(value):
            yield from _model_problems(one, match[1], f"{where}[{index}]")
    elif match := re.fullmatch(r"Dict\[str, (.+)\]", kind):
        if not isinstance(value, dict):
            yield f"{where}: not a mapping"
            return
        for name, one in value.items():
            yield from _model_problems(one, match[1], f"{where}.{name}")
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind in {"int", "float"}):
            yield f"{where}: {value!r} is no {kind}"
    else:
        yield from _object_problems(value, getattr(models, kind), where)


def _object_problems(value: Any, model: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: not a mapping"
        return
    names = {key: attribute for attribute, key in model.attribute_map.items()}
    for key, one in value.items():
        if key not in names:
            yield f"{where}.{key}: unknown"
        else:
            yield from _model_problems(one, model.openapi_types[names[key]], f"{where}.{key}")
