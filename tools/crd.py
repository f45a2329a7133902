"""Generates the CustomResourceDefinition of FailoverApplication from the model of the application file.

A structural schema allows neither ``$ref`` nor a choice of types, and its patterns are those of RE2. What contradicts between fields is a
rule in CEL beside the fields, with the words of ``config check``. The rest is left to the controller: condition ``Accepted`` is False.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from controller.catalog.application import API_VERSION, ROUTED_BY, PolicyFile, SpecFile, UnitFile
from controller.clients.kube import FAILOVER_APPLICATIONS
from failover_setup.application import ApplicationFile

CRD_FILE: Final = Path("deploy/crds/failoverapplication.yaml")
CHART_COPY: Final = Path("deploy/chart/files/failoverapplication.yaml")
"""The same, because a chart reads no file outside its folder."""

_Schema = dict[str, Any]
_KEPT: Final = frozenset(
    {
        "type", "description", "enum", "pattern", "format", "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems",
        "maxItems", "minProperties", "maxProperties", "required",
    }
)  # fmt: skip
_NOTE: Final = "# Generated from the model of the application file by `python -m tools.schema`; do not edit.\n"
_MAX_ITEMS: Final = 64
"""Most items of a list for which the model states no bound. The API server computes the cost of a rule from the longest value."""


def crd_text() -> str:
    """The content of `CRD_FILE`."""
    return _NOTE + yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=120)


def custom_resource_definition() -> _Schema:
    """The CustomResourceDefinition as plain values."""
    kind = FAILOVER_APPLICATIONS
    group, _, version = API_VERSION.partition("/")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.name, "labels": {"app.kubernetes.io/name": "failoverctl"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "listKind": f"{kind.kind}List", "plural": kind.plural, "singular": "failoverapplication"}
            | {"shortNames": ["fapp"]},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _COLUMNS,
                    "schema": {"openAPIV3Schema": _object_schema()},
                }
            ],
        },
    }


def _object_schema() -> _Schema:
    published = ApplicationFile.model_json_schema()
    spec = _structural(published["properties"]["spec"], published["$defs"], ())
    label = published["$defs"]["MetadataFile"]["properties"]["name"]
    name = {key: label[key] for key in ("type", "maxLength", "pattern")}
    return {
        "type": "object",
        "description": "One routing object, its deployment units and the policy of their failover.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": spec,
            "status": _STATUS,
        },
    }


# --- from a JSON schema to a structural one ---------------------------------------------------------------------------------------------


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any], place: tuple[str, ...]) -> _Schema:
    """A schema as a CRD may have it.

    Args:
        node: The JSON schema.
        definitions: What its references point to.
        place: The fields that lead to it.
    """
    node = _resolved(node, definitions)
    if place[-1:] == ("port",) and "anyOf" in node:
        number, name = node["anyOf"]
        bounds = {"minimum": number["minimum"], "maximum": number["maximum"], "maxLength": name["maxLength"]}
        shape = name["pattern"].replace("(?=.*[a-z])", "")  # an assertion, which RE2 lacks; the rule has the same meaning
        both: _Schema = {"x-kubernetes-int-or-string": True, "description": node["description"], **bounds, "pattern": shape}
        return both | {"x-kubernetes-validations": [_PORT]}
    made: _Schema = {key: value for key, value in node.items() if key in _KEPT}
    if "const" in node:
        made["enum"] = [node["const"]]
    if "exclusiveMinimum" in node:
        made |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if "properties" in node:
        made["properties"] = {name: _structural(one, definitions, (*place, name)) for name, one in node["properties"].items()}
    elif node.get("type") == "object":
        made |= _map(node, definitions, place)
    if "items" in node:
        made["items"] = _structural(node["items"], definitions, (*place, "[]"))
        made.setdefault("maxItems", _MAX_ITEMS)
    if rules := _RULES.get(place):
        made["x-kubernetes-validations"] = list(rules)
    least = made.get("minimum", 0)
    if least != int(least):  # for a value without a fraction the server cuts the bound: 0 would be at least 0.0001
        del made["minimum"]
        made["x-kubernetes-validations"] = [_rule(f"self >= {least}", "", f"less than {least}", f"a number from {least}")]
    return made


def _map(node: Mapping[str, Any], definitions: Mapping[str, Any], place: tuple[str, ...]) -> _Schema:
    """A mapping from names to values; the names are checked by the controller alone."""
    patterns = node.get("patternProperties", {})
    value = node.get("additionalProperties") or next(iter(patterns.values()), None)
    if isinstance(value, dict):
        return {"additionalProperties": _structural(value, definitions, (*place, "{}"))}
    return {"x-kubernetes-preserve-unknown-fields": True}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node with what it refers to, and without ``null`` as a choice: an object leaves the field out."""
    if "$ref" in node:
        node = {**definitions[node["$ref"].rpartition("/")[2]], **{key: value for key, value in node.items() if key != "$ref"}}
    choices = [one for one in node.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) == 1:
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _resolved({**choices[0], **rest}, definitions)
    return node


# --- rules across fields ----------------------------------------------------------------------------------------------------------------


def _default(model: type[UnitFile | PolicyFile | SpecFile], field: str) -> Any:  # noqa: ANN401 - the default of any field
    return model.model_fields[field].default


def _or(name: str, default: str, of: str = "self") -> str:
    """CEL: the field's value, or its default."""
    return f"(has({of}.{name}) ? {of}.{name} : {default})"


def _rule(rule: str, place: str, found: str, allowed: str, *, value: str = "") -> dict[str, str]:
    """A rule that fails with the words of ``config check``.

    Args:
        rule: CEL; true where the object is valid.
        place: The field at fault, as a path below the node; "" for the node itself.
        found: What was found, in words.
        allowed: What is allowed.
        value: CEL of text: what was found, in the place of `found` where it can be computed.
    """
    made = {"rule": rule, "message": f"found {found}; allowed: {allowed}"}
    if value:
        made["messageExpression"] = f'"found " + {value} + "; allowed: {allowed}"'
    return made | ({"fieldPath": place} if place else {})


_PORT: Final = _rule(
    "type(self) == int || self.matches('[a-z]')", "", "a quoted number", "an integer 1 to 65535, or the Service's port name"
)


def _unit_rules() -> Iterator[dict[str, str]]:
    yield _rule(
        "has(self.deployment) != has(self.workload)",
        ".deployment",
        "nothing, or both deployment and workload",
        "the name of a Deployment, or instead workload with kind and name",
        value="(has(self.deployment) ? 'both deployment and workload' : 'nothing')",
    )
    least, most = _or("minReplicas", str(_default(UnitFile, "min_replicas"))), _or("maxReplicas", str(_default(UnitFile, "max_replicas")))
    yield _rule(f"{least} <= {most}", ".minReplicas", "more than maxReplicas", "at most maxReplicas")
    limit = _or("latencyLimitSeconds", f"{float(_default(UnitFile, 'latency_limit_s'))}")
    yield _rule(
        f"{limit} > self.latencySeconds",
        ".latencyLimitSeconds",
        "latencySeconds or less",
        "more than latencySeconds, or the unit would always exceed it",
    )
    yield _rule(
        "!has(self.instanceTypes) || size(self.instanceTypes) == 0 || self.instanceType in self.instanceTypes",
        ".instanceTypes",
        "a list without instanceType",
        "a list that contains instanceType, or none",
    )


def _policy_rules() -> Iterator[dict[str, str]]:
    def setting(name: str, field: str) -> str:
        default = _default(PolicyFile, field)
        return _or(name, f"'{default}'" if isinstance(default, str) else f"{float(default)}")

    shortest, longest = setting("holdMinSeconds", "hold_min_s"), setting("holdMaxSeconds", "hold_max_s")
    yield _rule(f"{shortest} <= {longest}", ".holdMinSeconds", "more than holdMaxSeconds", "at most holdMaxSeconds")
    rollback, alert = setting("rollbackSeconds", "rollback_s"), setting("verifyAlertSeconds", "verify_alert_s")
    yield _rule(
        f"{rollback} == 0.0 || {rollback} > {alert}",
        ".rollbackSeconds",
        "verifyAlertSeconds or less",
        "0, or more than verifyAlertSeconds: the alert must precede the rollback",
    )
    yield _rule(
        f"!({setting('strategy', 'strategy')} == 'planned' && {setting('plannedMode', 'planned_mode')} == 'live' && "
        f"{setting('failoverUtilization', 'failover_utilization')} == 0.0)",
        ".failoverUtilization",
        "0",
        "more than 0 with plannedMode live: else each replica that is planned and refused would lead to a failover",
    )


_UNIQUE: Final = (
    ("name", "one.name", "", "a name that no other unit has"),
    ("service.name", "one.service.name", "", "a Service that no other unit has: each target group belongs to one unit"),
    ("deployment", "one.deployment", "has(one.deployment)", "a Deployment that no other unit has"),
    ("workload.name", "one.workload.name", "has(one.workload)", "a workload that no other unit has"),
    (
        "scaledObject",
        "one.scaledObject",
        "has(one.scaledObject)",
        "a ScaledObject that no other unit has: two units would fight over its floor",
    ),
    (
        "counterMetric",
        "one.counterMetric",
        "has(one.counterMetric) && one.counterMetric != ''",
        "a metric that no other unit has: its demand would be counted twice",
    ),
)


def _spec_rules() -> Iterator[dict[str, str]]:
    for field, value, stated, allowed in _UNIQUE:
        other, also = (text.replace("one.", "other.") for text in (value, stated))
        same = f"{also} && {other} == {value}" if stated else f"{other} == {value}"
        rule = f"self.units.all(one, {f'!({stated}) || ' if stated else ''}self.units.exists_one(other, {same}))"
        yield _rule(rule, ".units", f"the same {field} in two units", allowed)
    yield _rule(
        "self.units.all(one, one.service.name != self.capacityService.name)",
        ".capacityService.name",
        "the Service of a unit",
        "a Service other than that of a unit: capacity mode needs one over all pods",
        value="self.capacityService.name",
    )
    policy = "!has(self.policy)"
    explicit = (
        f"({policy} || !has(self.policy.strategy) || self.policy.strategy == '{_default(PolicyFile, 'strategy')}') && "
        f"({policy} || !has(self.policy.weightStrategy) || self.policy.weightStrategy == '{_default(PolicyFile, 'weight_strategy')}')"
    )
    yield _rule(
        f"!({explicit}) || self.units.all(one, has(one.weight))",
        ".units",
        "a unit without weight",
        "an integer 0 to 999 for every unit, because policy.weightStrategy is explicit",
    )
    yield _rule(
        "size(self.units) == 0 || !self.units.all(one, has(one.weight) && one.weight == 0)",
        ".units",
        "weights that are all 0",
        "weights of which at least one is above 0",
    )
    yield _rule(
        "size(self.units) == 0 || !self.units.all(one, has(one.minReplicas) && one.minReplicas == 0)",
        ".units",
        "minReplicas that are all 0",
        "minReplicas of at least 1 for one unit: where no replica is left, no request is counted, and nothing starts one",
    )
    both, none = (" && ".join(f"{sign}has(self.{name})" for name in ROUTED_BY) for sign in ("", "!"))
    yield _rule(f"has(self.route) || ({both})", "", "nothing", f"{' and '.join(ROUTED_BY)}, or route")
    yield _rule(f"!has(self.route) || ({none})", "", " or ".join(ROUTED_BY), "nothing beside route")
    yield _rule(
        "!has(self.route) || (type(self.capacityService.port) == int && self.units.all(one, type(one.service.port) == int))",
        "",
        "the name of a port",
        "a number: the backends of a route name no port otherwise",
    )
    for name in ("stickinessCostSeconds", "stickinessCapacitySeconds"):
        yield _rule(
            f"!has(self.route) || {policy} || !has(self.policy.{name}) || self.policy.{name} == 0",
            ".policy",
            name,
            "0 with route: the rule's ListenerRuleConfiguration states the stickiness",
        )


_RULES: Final[Mapping[tuple[str, ...], tuple[dict[str, str], ...]]] = {
    (): tuple(_spec_rules()),
    ("units", "[]"): tuple(_unit_rules()),
    ("policy",): tuple(_policy_rules()),
}


# --- status -----------------------------------------------------------------------------------------------------------------------------

_CONDITIONS: Final = ("Accepted", "Verified", "CapacityAvailable", "Paused", "Pinned", "SignalsFresh")


def _fields(names: Iterable[str], kind: str = "string") -> _Schema:
    return {name: {"type": kind} for name in names}


_WEIGHTS: Final[_Schema] = {"type": "object", "additionalProperties": {"type": "integer"}}
_STATUS: Final[_Schema] = {
    "type": "object",
    "description": "What the controller last decided and saw. The leader writes it, at most once a minute.",
    "properties": {
        **_fields(("observedGeneration",), "integer"),
        **_fields(("mode", "reason", "why", "next", "short")),
        "since": {"type": "string", "format": "date-time"},
        **_fields(("dollarsPerHour",), "number"),
        "weights": {"type": "object", "properties": {"set": _WEIGHTS, "actual": _WEIGHTS}},
        "units": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **_fields(("name",)),
                    **_fields(("ready", "needed"), "integer"),
                    **_fields(("short",), "boolean"),
                    **_fields(("dollarsPerHour",), "number"),
                },
            },
        },
        "conditions": {
            "type": "array",
            "description": f"Of the types {', '.join(_CONDITIONS)}.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                "properties": {
                    **_fields(("type", "reason")),
                    "message": {"type": "string", "maxLength": 32768},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                    **_fields(("observedGeneration",), "integer"),
                },
            },
        },
        "details": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
_COLUMNS: Final = [
    {"name": "Mode", "type": "string", "jsonPath": ".status.mode"},
    {"name": "Since", "type": "date", "jsonPath": ".status.since"},
    {"name": "Short", "type": "string", "jsonPath": ".status.short"},
    {"name": "Verified", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Verified")].status'},
    {"name": "$/H", "type": "number", "jsonPath": ".status.dollarsPerHour"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
