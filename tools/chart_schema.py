"""Writes deploy/chart/values.schema.json: ``python -m tools.chart_schema``.

It contains the schema of the settings file, so that helm refuses what the controller would refuse at its start.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from controller.policy.model import WorkloadKind
from controller.routing.kinds import KINDS as ROUTING
from controller.settings import SLACK_CHANNEL
from tools.schema import settings_schema

DOCUMENT: Final = Path(__file__).parents[1] / "deploy" / "chart" / "values.schema.json"

Schema = dict[str, Any]

_BOOLEAN: Final[Schema] = {"type": "boolean"}
_OBJECT: Final[Schema] = {"type": "object"}
_OBJECTS: Final[Schema] = {"type": "array", "items": _OBJECT}
_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_NAME: Final = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_FULLNAME: Final = r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$"
"""The Service has this name: a DNS label that begins with a letter. Other objects add an ending."""
_OWN_LABELS: Final = r"^(app\.kubernetes\.io/(name|instance|version|managed-by)|helm\.sh/chart)$"
"""What the chart itself sets: by the first the Service, the budget and the policy select the pods."""
_OWN_VARIABLES: Final = (
    r"^FAILOVERCTL_(APPLICATIONS|SETTINGS|KUBERNETES__(STATE_NAMESPACE|CLUSTER_WIDE|KUBECONFIG)|SLACK__(WEBHOOK_URL(_FILE)?|TOKEN_FILE|CHANNEL)"
    r"|LEADER_ELECTION__ENABLED|HTTP__PORT)$"
)
"""Variables that the chart sets itself, or whose settings it renders roles, probes and the number of replicas from."""
_STRINGS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
"""Labels, annotations and node selectors: YAML's `true` and `1` are not text, and the API server would refuse them."""

_LABELS: Final[Schema] = {**_STRINGS, "propertyNames": {"not": {"pattern": _OWN_LABELS}}}
_VARIABLE: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"pattern": _OWN_VARIABLES}}


def _text(pattern: str = "", description: str = "", *, empty: bool = False) -> Schema:
    """Text that matches a pattern, or is empty if that is allowed."""
    expression = f"^$|{pattern}" if pattern and empty else pattern
    return {"type": "string"} | ({"pattern": expression} if expression else {}) | ({"description": description} if description else {})


def _closed(properties: Schema) -> Schema:
    """A mapping without unknown or missing keys: values.yaml has all keys, and `null` removes one."""
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


def _applications() -> Schema:
    """What the controller may do, and the values of former application files: the templates refuse these with what to do."""
    granted = _closed(
        {
            "namespaces": {"type": "array", "items": _text(_LABEL), "uniqueItems": True},
            "workloads": {"type": "array", "items": {"enum": list(WorkloadKind)}, "uniqueItems": True},
            "routes": {"type": "array", "minItems": 1, "items": {"enum": list(ROUTING)}, "uniqueItems": True},
            "routeNamespaces": {"type": "array", "items": _text(_LABEL), "uniqueItems": True},
        }
    )
    gone = {name: {"description": "Gone: apply the files as objects."} for name in ("files", "existingConfigMap", "existingConfigMaps")}
    return {**granted, "properties": {**granted["properties"], **gone}}


def _properties() -> Schema:
    return {
        "image": _closed(
            {
                "repository": _text("^[^:@\\s]+(:[0-9]+/[^:@\\s]+)?$", "Without tag and digest."),
                "tag": _text(r"^[\w][\w.-]{0,127}$", empty=True),
                "digest": _text("^sha256:[0-9a-f]{64}$", "Takes precedence over the tag.", empty=True),
                "pullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
            }
        ),
        "imagePullSecrets": {"type": "array", "items": _closed({"name": _text(_NAME)})},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 5, "description": "One replica leads, the others stand by."},
        "dryRun": _BOOLEAN,
        "admissionPolicy": _BOOLEAN,
        "crds": _closed({"install": _BOOLEAN, "keep": _BOOLEAN}),
        "applications": _applications(),
        "settings": _settings(),
        "slack": _closed(
            {
                "existingSecret": _text(_NAME, empty=True),
                "key": _text(r"^[-._a-zA-Z0-9]+$"),
                "channel": _text(SLACK_CHANNEL, empty=True),
            }
        ),
        "aws": _closed({"roleArn": _text(r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", "IRSA: the role's ARN.", empty=True)}),
        "serviceAccount": _closed({"create": _BOOLEAN, "name": _text(_NAME, empty=True), "annotations": _STRINGS}),
        "resources": _OBJECT,
        "priorityClassName": _text(_NAME, empty=True),
        "nodeSelector": _STRINGS,
        "tolerations": _OBJECTS,
        "affinity": _OBJECT,
        "podLabels": _LABELS,
        "podAnnotations": _STRINGS,
        "extraEnv": {"type": "array", "items": {**_OBJECT, "required": ["name"], "properties": {"name": _VARIABLE}}},
        "extraVolumes": _OBJECTS,
        "extraVolumeMounts": _OBJECTS,
        "podDisruptionBudget": _closed({"enabled": _BOOLEAN, "maxUnavailable": {"type": "integer", "minimum": 1}}),
        "networkPolicy": _closed(
            {
                "enabled": _BOOLEAN,
                "ingressFrom": _OBJECTS,
                "egressPorts": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
                "extraEgress": _OBJECTS,
            }
        ),
        "fullnameOverride": _text(_FULLNAME),
        "commonLabels": _LABELS,
        "test": _closed({"enabled": _BOOLEAN}),
        "prometheusRule": _closed({"enabled": _BOOLEAN, "labels": _LABELS}),
        "grafanaDashboards": _closed({"enabled": _BOOLEAN, "labels": _LABELS, "annotations": _STRINGS}),
        "serviceMonitor": _closed({"enabled": _BOOLEAN, "labels": _LABELS, "interval": _text(r"^[0-9]+(ms|s|m|h)$", "Such as 30s.")}),
    }


def _settings() -> Schema:
    """The settings' schema as an embedded document with its own definitions."""
    schema = settings_schema()
    return {"$id": "https://failoverctl.dev/schema/settings.json", **{key: value for key, value in schema.items() if key != "$schema"}}


def document() -> str:
    """values.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "failoverctl chart", **_closed(_properties())}
    schema["properties"]["global"] = {**_OBJECT, "description": "Helm passes it to every chart; not used."}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
