"""Settings of the process: what one running controller needs to know besides its applications.

`load_settings` reads a YAML file and the environment (``FAILOVERCTL_POLLS__TICK_INTERVAL_S=10``); the environment wins. Every wrong value
is an error that names the place, what was found and what is allowed, and no error ever contains a secret.

The YAML reader and the error texts are here because settings are the lowest layer that reads a file; `controller.catalog` uses them too.

The clock's factor is not a setting: only the demo's own wiring can make time run faster.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from controller.errors import ConfigError

SIZE_LIMIT: Final = 256 * 1024
"""Longest file that is read, bytes. An application of five units takes about 6 KiB; a ConfigMap ends at 1 MiB."""

_DEPTH_LIMIT: Final = 24
_NODE_LIMIT: Final = 20_000  # after aliases are expanded: a "billion laughs" file ends here
_INTEGER_DIGITS: Final = 18
_TEXT_SHOWN: Final = 60

Place = tuple[str | int, ...]
"""Where in a document a value is: ``("spec", "units", 1, "weight")``."""


# --- YAML with positions ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file or the environment.

    Attributes:
        source: File name, or the name of the environment variable.
        line: Line in the file, counted from 1; 0 where there is none.
        place: Where in the document; () where it is about all of it.
        text: What was found and what is allowed.
    """

    source: str
    line: int
    place: Place
    text: str

    def __str__(self) -> str:
        """One line of a `ConfigError`."""
        where = f"{self.source}:{self.line}" if self.line else self.source
        return f"{where}: {place_text(self.place)}: {self.text}" if self.place else f"{where}: {self.text}"


def place_text(place: Place) -> str:
    """Writes a place as people do: ``spec.units[1].weight``."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def config_error(problems: Sequence[Problem]) -> ConfigError:
    """One error that lists every problem, a line each, in the order of the file."""
    return ConfigError("\n".join(str(problem) for problem in sorted(problems, key=lambda problem: (problem.source, problem.line))))


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain values, with the position of each.

    Attributes:
        file: Its file's name, for messages.
        line: Its first line.
        data: Dictionaries, lists, text, numbers, booleans, None.
        problems: What could be read but is refused: duplicate keys, numbers in another base, tags.
    """

    file: str
    line: int
    data: Any
    problems: tuple[Problem, ...] = ()
    _lines: Mapping[Place, int] = field(default_factory=dict)
    _raw: Mapping[Place, str] = field(default_factory=dict)

    def line_of(self, place: Place) -> int:
        """The line of a value, or of the innermost thing around it that is there."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, self.line)

    def value(self, place: Place) -> Any:  # noqa: ANN401 - whatever the file says
        """The value at a place; None where there is none."""
        value = self.data
        for step in place:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def found(self, place: Place) -> str:
        """The value at a place for a message, numbers as they were written."""
        return describe_value(self.value(place), self._raw.get(place))


def describe_value(value: object, raw: str | None = None) -> str:
    """A value for a message: short, on one line, with its type."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{raw or str(value).lower()} (boolean)"
        case int():
            return _short(raw or str(value)) + " (integer)"
        case float():
            return _short(raw or str(value)) + (" (float)" if math.isfinite(value) else " (not a finite number)")
        case str():
            return f"{_short(json.dumps(value))} (text)"
        case list():
            return f"a list of {len(value)}"
        case _:
            return "a mapping"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"


def read_documents(content: bytes, file: str) -> tuple[Document, ...]:
    """Reads YAML, strictly: what two YAML readers would understand differently is refused.

    Args:
        content: The file's bytes, UTF-8.
        file: Its name, for messages.

    Returns:
        The documents that are not empty, in order. Look at their `problems` too.

    Raises:
        ConfigError: It is not YAML, too large, too deep, or its aliases expand to too much.
    """
    if len(content) > SIZE_LIMIT:
        raise ConfigError(f"{file}: more than {SIZE_LIMIT} bytes; allowed: at most {SIZE_LIMIT}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text ({error.reason})") from None
    try:
        loader = _Loader(text)
        nodes = list(_nodes(loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{file}:{mark.line + 1 if mark else 1}: not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError(f"{file}:{line}: not valid YAML: {error.reason}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets int() and chr() fail on escapes and directives beyond their range.
        raise ConfigError(f"{file}: not valid YAML: {type(error).__name__}") from None
    documents = (_Converter(file).document(node) for node in nodes)
    return tuple(document for document in documents if document.data is not None or document.problems)


class _Loader(yaml.SafeLoader):
    """Composes nodes without building anything from them, within limits."""

    _depth = 0
    _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's signature
        self._count += 1
        self._depth += 1
        if self._depth > _DEPTH_LIMIT or self._count > _NODE_LIMIT:
            limit = f"{_DEPTH_LIMIT} levels" if self._depth > _DEPTH_LIMIT else f"{_NODE_LIMIT} values"
            raise yaml.MarkedYAMLError(problem=f"more than {limit}", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _nodes(loader: _Loader) -> Iterator[yaml.Node]:
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


_YAML_TAG: Final = "tag:yaml.org,2002:"
_DECIMAL: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_SPECIAL_FLOATS: Final = {".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class _Converter:
    """Turns one document's nodes into plain values and remembers where each came from."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[Place, int] = {}
        self._raw: dict[Place, str] = {}
        self._problems: list[Problem] = []
        self._left = _NODE_LIMIT

    def document(self, node: yaml.Node) -> Document:
        data = self._convert(node, ())
        return Document(self._file, node.start_mark.line + 1, data, tuple(self._problems), self._lines, self._raw)

    def _problem(self, node: yaml.Node, place: Place, text: str) -> None:
        self._problems.append(Problem(self._file, node.start_mark.line + 1, place, text))

    def _convert(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - whatever the file says
        self._left -= 1
        if self._left < 0 or len(place) > _DEPTH_LIMIT:
            mark = f"{self._file}:{node.start_mark.line + 1}"
            raise ConfigError(f"{mark}: aliases expand to more than {_NODE_LIMIT} values or {_DEPTH_LIMIT} levels; write them out")
        self._lines[place] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, place, "seq")
            return [self._convert(child, (*place, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, place) if isinstance(node, yaml.ScalarNode) else None

    def _check_tag(self, node: yaml.Node, place: Place, plain: str) -> None:
        if node.tag != _YAML_TAG + plain:
            self._problem(node, place, f"found the tag {_short(node.tag)}; allowed: no tags")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        self._check_tag(node, place, "map")
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or _SURROGATE.search(key_node.value):
                self._problem(key_node, place, "found a key that is not plain text; allowed: names")
                continue
            key, line = key_node.value, key_node.start_mark.line + 1
            if key_node.tag == f"{_YAML_TAG}merge":
                self._problem(key_node, place, "found the merge key <<; allowed: write the keys out (YAML 1.2 has no merge)")
            elif key in first:
                self._problem(key_node, (*place, key), f"found the key a second time, first in line {first[key]}; allowed: once")
            else:
                first[key] = line
                result[key] = self._convert(value_node, (*place, key))
                if result[key] is None or isinstance(value_node, yaml.CollectionNode):
                    self._lines[*place, key] = line  # where the reader's eye goes, not where the first child is
        return result

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:  # noqa: ANN401 - whatever the file says
        raw = str(node.value)
        kind = node.tag.removeprefix(_YAML_TAG)
        self._raw[place] = raw
        match kind:
            case "null":
                return None
            case "bool" if raw.lower() in {"true", "yes", "on", "false", "no", "off"}:
                return raw.lower() in {"true", "yes", "on"}
            case "int" if _DECIMAL.fullmatch(raw) and len(raw) <= _INTEGER_DIGITS:
                return int(raw)
            case "float" if raw.lower() in _SPECIAL_FLOATS:
                return _SPECIAL_FLOATS[raw.lower()]
            case "float" if _FLOAT.fullmatch(raw) and any(map(str.isdigit, raw)):
                return float(raw)
            case "str" if node.style is None and _EXPONENT.fullmatch(raw):
                return float(raw)  # YAML 1.2, and so kubectl, reads 1e3 as a number
            case "int" | "float":
                self._problem(
                    node, place, f"found {_short(raw)}; allowed: a decimal number of at most {_INTEGER_DIGITS} digits, without _ or :"
                )
            case "str" | "timestamp" | "value" | "merge":
                if _SURROGATE.search(raw):
                    self._problem(node, place, "found half of a surrogate pair; allowed: Unicode text")
                    return "?"
            case _:
                self._problem(node, place, f"found the tag {_short(node.tag)}; allowed: no tags")
        return raw


# --- validation with texts for people ---------------------------------------------------------------------------------------------------

Model = TypeVar("Model", bound=BaseModel)
Fault = tuple[Place, str, str]
"""Where (relative to the model that complains), what was found, what is allowed."""


def cross_field_error(faults: Sequence[Fault]) -> PydanticCustomError:
    """What a model's validator raises when fields do not fit together; `check` turns it into one problem for each fault."""
    text = "; ".join(f"{place_text(place)}: found {found}; allowed: {allowed}" for place, found, allowed in faults)
    # Braces would be read as the template's placeholders.
    return PydanticCustomError("cross_field", "{text}", {"text": text, "faults": tuple(faults)})


def check(model: type[Model], document: Document, *, together: bool = True) -> tuple[Model | None, list[Problem]]:
    """Validates a document, strictly: no value is converted from another type.

    Args:
        model: What it should be.
        document: As it was read.
        together: Whether fields that do not fit together are problems. Not where another source may still override them.

    Returns:
        The model, or None and every problem, those of the YAML included.
    """
    problems = list(document.problems)
    known = {problem.place for problem in problems}
    result: Model | None = None
    try:
        result = model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        schema = model.model_json_schema()
        for details in error.errors(include_url=False):
            if details["type"] == "cross_field" and not together:
                continue
            for place, text in problem_texts(details, schema, document.found, document.value):
                if place not in known:
                    problems.append(Problem(document.file, document.line_of(place), place, text))
    return (None if problems else result), problems


def problem_texts(
    details: ErrorDetails,
    schema: Mapping[str, Any],
    found: Callable[[Place], str],
    value: Callable[[Place], object],
    *,
    hints: bool = True,
) -> Iterator[tuple[Place, str]]:
    """What one of pydantic's errors means, as place and text; one that a cross-field check raised means several.

    Args:
        details: Of one error.
        schema: The model's JSON schema.
        found: Describes the value at a place.
        value: Returns the value at a place.
        hints: Whether to say how to get out of YAML's usual traps.
    """
    place = tuple(details["loc"])
    if details["type"] == "cross_field":
        for below, what, allowed in details["ctx"]["faults"]:
            yield (*place, *below), f"found {what}; allowed: {allowed}"
    elif details["type"] == "too_short" and len(_list(value(place))) >= details["ctx"]["min_length"]:
        return  # pydantic counts only the entries that are valid, and says so of each of the others
    elif details["type"] == "extra_forbidden":
        known = sorted(schema_at(schema, place[:-1]).get("properties", {}))
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        yield place, f"found an unknown key{guess}; allowed: {', '.join(known)}"
    else:
        node = schema_at(schema, place)
        # A scalar where a mapping belongs may be a secret that slipped one level up, so only its kind is shown.
        shown = found(place) if _is_plain(node) else describe_kind(value(place))
        yield place, f"found {shown}; allowed: {allowed_text(node)}{_hint(node, value(place)) if hints else ''}"


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def schema_at(schema: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """The part of a JSON schema that describes one place; empty where the schema does not know it."""
    node = _resolved(schema, schema)
    for step in place:
        below = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
        node = _resolved(schema, below)
    return node


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows $ref, and the one alternative to null, keeping what the outer level says."""
    while True:
        if "$ref" in node:
            inner: Mapping[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
            node = {**inner, **{key: value for key, value in node.items() if key != "$ref"}}
            continue
        options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
        if len(options) == 1 and "x-allowed" not in node:
            node = {**options[0], **{key: value for key, value in node.items() if key != "anyOf"}, "x-optional": True}
            continue
        return node


def allowed_text(node: Mapping[str, Any]) -> str:
    """What a resolved part of a JSON schema allows, in words."""
    text = _allowed(node)
    return f"{text}, or nothing" if node.get("x-optional") else text


def _allowed(node: Mapping[str, Any]) -> str:
    if "x-allowed" in node:
        return str(node["x-allowed"])
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return " | ".join(map(str, node["enum"]))
    match node.get("type"):
        case "integer":
            return f"an integer{_range(node)}"
        case "number":
            return f"a number{_range(node)}"
        case "boolean":
            return "true or false"
        case "string":
            return "text" if not node.get("minLength") else "text that is not empty"
        case "array":
            low, high = node.get("minItems", 0), node.get("maxItems")
            return f"a list of {low} to {high} entries" if high else f"a list of at least {low} entries"
        case _:
            return f"a mapping with the keys {', '.join(sorted(node.get('properties', {})))}"


def _range(node: Mapping[str, Any]) -> str:
    low, above, high = node.get("minimum"), node.get("exclusiveMinimum"), node.get("maximum")
    start = f" above {above:.15g}" if above is not None else f" {low:.15g}" if low is not None else ""
    end = f" up to {high:.15g}" if above is not None else f" to {high:.15g}" if high is not None else ""
    return start + end


def _is_plain(node: Mapping[str, Any]) -> bool:
    """Whether a value there may be shown."""
    scalar = "enum" in node or "const" in node or "x-allowed" in node or node.get("type") in {"integer", "number", "boolean", "string"}
    return scalar and not node.get("writeOnly")


def describe_kind(value: object) -> str:
    """Like `describe_value`, without the content."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "text", type(None): "nothing"}
    return kinds.get(type(value)) or describe_value(value)


def _hint(node: Mapping[str, Any], value: object) -> str:
    """The likely way out of the usual YAML traps."""
    wanted = node.get("type")
    numeric = wanted in {"integer", "number"}
    if isinstance(value, str) and (numeric or "integer" in str(node.get("x-allowed", ""))) and _FLOAT.fullmatch(value) and value:
        return "; write it without quotes"
    if isinstance(value, float) and wanted == "integer" and value.is_integer():
        return f"; write {value:.0f}"
    if wanted == "string" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    return ""


# --- the settings -----------------------------------------------------------------------------------------------------------------------

ENV_PREFIX: Final = "FAILOVERCTL_"
ENV_DELIMITER: Final = "__"
SETTINGS_VARIABLE: Final = "FAILOVERCTL_SETTINGS"

# Kubernetes puts these into every pod of a namespace that has a Service named failoverctl (unless enableServiceLinks is false).
_SERVICE_LINK: Final = re.compile(r"FAILOVERCTL_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+")


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


def _https(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith("https://") or any(character.isspace() for character in text):
        raise ValueError("not an https URL")
    return url


def _arns(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_ARN.fullmatch(name) for name in names):
        raise ValueError("not an ARN")
    return names


def _not_reserved(namespace: str) -> str:
    if namespace.startswith("AWS/"):
        raise ValueError("AWS keeps namespaces that start with AWS/ to itself")
    return namespace


MetricNamespace = Annotated[
    str,
    AfterValidator(_not_reserved),
    Field(
        pattern=r"^[A-Za-z0-9._/#:-]{1,255}$",
        json_schema_extra={"x-allowed": "1 to 255 of the characters A-Z a-z 0-9 . _ / # : -, not starting with AWS/"},
    ),
]
Label = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        json_schema_extra={"x-allowed": "a DNS label (lower-case letters, digits and -; at most 63 characters)"},
    ),
]
WebhookUrl = Annotated[SecretStr, AfterValidator(_https), Field(json_schema_extra={"x-allowed": "an https:// URL"})]
Arns = Annotated[tuple[str, ...], AfterValidator(_arns), Field(json_schema_extra={"x-allowed": "a list of at most 5 ARNs"})]


class Theme(BaseModel):
    """What all groups of settings have in common: they do not change, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class KubernetesSettings(Theme):
    """How the Kubernetes API is reached and watched."""

    kubeconfig: str | None = Field(
        default=None,
        description="Path of a kubeconfig file. Unset: $KUBECONFIG, then the pod's service account, then ~/.kube/config, like kubectl.",
    )
    context: str | None = Field(default=None, description="Context in the kubeconfig. Unset: its current one.")
    connect_timeout_s: float = Field(default=2, gt=0, le=30, description="Time-out for connecting, seconds. Short: a tick waits for it.")
    read_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Time-out for each answer that is not a watch, seconds. Shorter than a tick."
    )
    watch_timeout_s: int = Field(
        default=300,
        ge=30,
        le=3600,
        description="How long the server keeps one watch open, seconds. The API server's own default is 30 to 60 minutes.",
    )
    watch_idle_s: float = Field(
        default=90,
        ge=10,
        le=3600,
        description="Silence after which a watch counts as dead, seconds. The server sends a bookmark about once a minute.",
    )
    field_manager: str = Field(
        default="failoverctl",
        min_length=1,
        max_length=128,
        pattern=r"^[!-~]+$",
        json_schema_extra={"x-allowed": "1 to 128 printable characters without spaces"},
        description="Field manager of every write. Two controllers on one cluster need two names, or each takes over the other's fields.",
    )
    cluster_wide: bool = Field(
        default=False,
        description="Watch all namespaces with a ClusterRole. Off: only the namespaces of the applications, which needs a Role in each.",
    )
    state_namespace: Label = Field(
        default="failover-system", description="Namespace of the Lease and of the ConfigMaps that keep memory and history."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.watch_idle_s >= self.watch_timeout_s:
            allowed = f"less than watch_timeout_s ({self.watch_timeout_s}), or it never matters"
            raise cross_field_error([(("watch_idle_s",), f"{self.watch_idle_s:g}", allowed)])
        return self


class AwsSettings(Theme):
    """Which AWS APIs are used. Credentials and endpoint come from where every AWS SDK looks for them."""

    region: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$",
        json_schema_extra={"x-allowed": "a region such as us-west-2"},
        description="AWS region. Unset: $AWS_REGION, the profile or the instance.",
    )
    elbv2_enabled: bool = Field(
        default=True,
        description="Verify every switch with DescribeRules and DescribeTargetHealth. Off: no switch can be verified, and it says so.",
    )
    cloudwatch_enabled: bool = Field(default=True, description="Read demand, latency and 5xx. Off: decisions rest on Kubernetes alone.")
    reservations_enabled: bool = Field(
        default=True, description="Show the headroom of capacity reservations. Needs ec2:DescribeCapacityReservations."
    )
    quotas_enabled: bool = Field(
        default=True, description="Show vCPU quotas and their use. Needs servicequotas:GetServiceQuota and cloudwatch:GetMetricData."
    )
    latency_stat: str = Field(
        default="p95",
        pattern=r"^(p\d{1,2}(\.\d{1,2})?|Average|Maximum)$",
        json_schema_extra={"x-allowed": "a percentile such as p95, Average or Maximum"},
        description="CloudWatch statistic of a unit's latency: a percentile such as p95, Average or Maximum.",
    )
    ec2_enabled: bool = Field(
        default=True, description="Read which zones sell an instance type. Off: every zone of the NodePool counts as offered."
    )


class PollSettings(Theme):
    """How often things are asked for that cannot be watched."""

    tick_interval_s: float = Field(
        default=15,
        ge=1,
        le=300,
        description="Longest time between two ticks, seconds. Watches wake a tick at once, so this only bounds clocks.",
    )
    cloudwatch_interval_s: float = Field(
        default=60, ge=10, le=3600, description="Between two GetMetricData calls, seconds. Metrics have periods of 60 s."
    )
    ec2_interval_s: float = Field(
        default=300, ge=30, le=86_400, description="Between two looks at EC2 offerings, seconds. They change within days."
    )
    verification_interval_s: float = Field(
        default=5, ge=1, le=60, description="Between two looks at the load balancer while a change is not verified, seconds."
    )
    elbv2_calls_per_s: float = Field(
        default=1,
        gt=0,
        le=20,
        description="Most ELBv2 calls per second. The account's limit is shared with the AWS Load Balancer Controller.",
    )
    catalog_interval_s: float = Field(default=5, ge=1, le=3600, description="Between two looks for changed application files, seconds.")


class FreshnessSettings(Theme):
    """How old a source's last word may be before it counts as stale. A stale required source means: hold, never guess."""

    watch_s: float = Field(
        default=180, ge=30, le=3600, description="Kubernetes watches, seconds: twice the idle limit, so one lost stream is no alarm."
    )
    cloudwatch_s: float = Field(
        default=300, ge=60, le=7200, description="CloudWatch, seconds: a period of 60 s, its delivery, and a few failed polls."
    )
    ec2_s: float = Field(default=1800, ge=60, le=172_800, description="EC2 offerings, seconds: a few failed polls.")


class SlackSettings(Theme):
    """Where people are told. Without a URL nothing is sent to Slack."""

    webhook_url: WebhookUrl | None = Field(
        default=None,
        description="Incoming-webhook URL. A secret: give it by environment or, better, by file. Never shown in logs or errors.",
    )
    webhook_url_file: Path | None = Field(
        default=None,
        description="File that holds the URL, such as a mounted Secret. Read again before use, so a rotated Secret needs no restart.",
    )
    timeout_s: float = Field(
        default=3, gt=0, le=60, description="Time-out of one delivery, seconds. On the sink's own thread, never in a tick."
    )
    attempts: int = Field(default=5, ge=1, le=20, description="Deliveries tried for one message before it is dropped and counted.")
    retry_max_s: float = Field(
        default=60, ge=1, le=3600, description="Longest pause between two tries, seconds, whatever Retry-After says."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.webhook_url is not None and self.webhook_url_file is not None:
            raise cross_field_error([(("webhook_url_file",), "both webhook_url and webhook_url_file", "one of the two")])
        return self

    def webhook(self) -> SecretStr | None:
        """The webhook URL from wherever it is; None where Slack is not configured.

        Raises:
            ConfigError: The file cannot be read or does not hold an https URL. Its content is not in the message.
        """
        if self.webhook_url_file is None:
            return self.webhook_url
        where = f"slack.webhook_url_file: {self.webhook_url_file}"
        try:
            return _https(SecretStr(read_limited(self.webhook_url_file).decode().strip()))
        except ValueError:  # UnicodeDecodeError is one
            raise ConfigError(f"{where}: found text that is no URL; allowed: one https:// URL") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


class CloudWatchNotifierSettings(Theme):
    """The controller's own metrics in CloudWatch, and an alarm on them."""

    enabled: bool = Field(default=True, description="Publish metrics. Needs cloudwatch:PutMetricData; custom metrics are billed by AWS.")
    namespace: MetricNamespace = Field(default="Failoverctl", description="CloudWatch namespace of the published metrics.")
    publish_interval_s: float = Field(
        default=60, ge=10, le=3600, description="Between two publications, seconds. The standard resolution is 60 s."
    )
    alarm_enabled: bool = Field(default=False, description="Create and keep one alarm an application. Needs cloudwatch:PutMetricAlarm.")
    alarm_actions: Arns = Field(
        default=(), max_length=5, description="ARNs that the alarm notifies, such as an SNS topic. CloudWatch allows 5."
    )


class NotificationSettings(Theme):
    """What all sinks have in common."""

    dedup_window_s: float = Field(
        default=600, ge=0, le=86_400, description="Messages with the same key are sent once in this time, seconds. 0: always."
    )
    queue: int = Field(
        default=100, ge=1, le=10_000, description="Messages that may wait for one sink. Beyond it the oldest is dropped and counted."
    )


class HttpSettings(Theme):
    """The status page, health checks and metrics. Read-only."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - the kubelet probes the pod's own address
        min_length=1,
        description="Address to listen on. All by default, because the kubelet probes the pod's own.",
    )
    port: int = Field(default=8080, ge=1, le=65_535, description="TCP port to listen on.")


class LogSettings(Theme):
    """The log on standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="Least severe level that is logged.")
    format: LogFormat = Field(default=LogFormat.JSON, description="json: one object a line, for machines. console: for people.")


class _Fields(BaseModel):
    """All settings, without where they come from: a file alone is checked against this."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    applications: Path = Field(
        default=Path("/etc/failoverctl/applications"),
        description="Application file, or directory of them (*.yaml and *.yml, not below it). Where the Helm chart mounts its ConfigMap.",
    )
    shutdown_grace_s: float = Field(
        default=20,
        ge=1,
        le=600,
        description="Time to finish a tick and send what is queued after SIGTERM, seconds. Below the pod's grace period of 30 s.",
    )
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), description="How the Kubernetes API is reached and watched.")
    aws: AwsSettings = Field(default=AwsSettings(), description="Which AWS APIs are used.")
    polls: PollSettings = Field(default=PollSettings(), description="How often things are asked for that cannot be watched.")
    freshness: FreshnessSettings = Field(default=FreshnessSettings(), description="How old a source's last word may be.")
    slack: SlackSettings = Field(default=SlackSettings(), description="The Slack sink.")
    cloudwatch: CloudWatchNotifierSettings = Field(default=CloudWatchNotifierSettings(), description="The CloudWatch sink.")
    notifications: NotificationSettings = Field(default=NotificationSettings(), description="What all sinks have in common.")
    http: HttpSettings = Field(default=HttpSettings(), description="The status page, health checks and metrics.")
    log: LogSettings = Field(default=LogSettings(), description="The log on standard error.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        """A budget shorter than its poll would always be spent, and a call longer than a tick would delay the next decision."""
        faults: list[Fault] = []
        for place, value, name, least in (
            (("freshness", "watch_s"), self.freshness.watch_s, "kubernetes.watch_idle_s", self.kubernetes.watch_idle_s),
            (("freshness", "cloudwatch_s"), self.freshness.cloudwatch_s, "polls.cloudwatch_interval_s", self.polls.cloudwatch_interval_s),
            (("freshness", "ec2_s"), self.freshness.ec2_s, "polls.ec2_interval_s", self.polls.ec2_interval_s),
        ):
            if value <= least:
                faults.append((place, f"{value:g}", f"more than {name} ({least:g}), or the source is always stale"))
        if self.kubernetes.read_timeout_s >= self.polls.tick_interval_s:
            allowed = f"less than polls.tick_interval_s ({self.polls.tick_interval_s:g}), so that no call outlasts a tick"
            faults.append((("kubernetes", "read_timeout_s"), f"{self.kubernetes.read_timeout_s:g}", allowed))
        if faults:
            raise cross_field_error(faults)
        return self


class Settings(_Fields, BaseSettings):
    """All settings of the process. Make one with `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values are the constructor's arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None, *, ignore_env: Collection[str] = ()) -> Settings:
    """Reads the settings.

    Args:
        path: YAML file; None: the one that ``FAILOVERCTL_SETTINGS`` names, or none at all.
        ignore_env: Further environment variables with our prefix that are no settings, e.g. those of the command line.

    Raises:
        ConfigError: Lists everything that is wrong, by file and line or by environment variable.
    """
    if path is None and os.environ.get(SETTINGS_VARIABLE):
        path = Path(os.environ[SETTINGS_VARIABLE])
    document = _settings_document(path)
    _, problems = check(_Fields, document, together=False)
    values = document.data if isinstance(document.data, dict) else {}
    schema = _Fields.model_json_schema()
    variables = _variables({SETTINGS_VARIABLE, *ignore_env})
    problems += _name_problems(variables, schema)
    result: Settings | None = None
    try:
        result = Settings(**values)
    except SettingsError:
        if not problems:  # usually `_name_problems` has named the variable that is not JSON where it has to be
            problems.append(Problem("environment", 0, (), f"a variable that starts with {ENV_PREFIX} cannot be read"))
    except ValidationError as error:
        problems += _env_problems(error, document, schema, variables, problems)
    if problems or result is None:
        raise config_error(problems)
    return result


def read_limited(path: Path) -> bytes:
    """Reads a file of at most `SIZE_LIMIT` bytes.

    Raises:
        ConfigError: It is not there, not a regular file, not readable or too large.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: found {'something else' if path.exists() else 'no file'}; allowed: a file")
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if len(content) > SIZE_LIMIT:
        raise ConfigError(f"{path}: more than {SIZE_LIMIT} bytes; allowed: at most {SIZE_LIMIT}")
    return content


def _settings_document(path: Path | None) -> Document:
    if path is None:
        return Document("settings", 0, {})
    documents = read_documents(read_limited(path), str(path))
    if len(documents) > 1:
        raise ConfigError(f"{path}:{documents[1].line}: found a second document; allowed: one")
    return documents[0] if documents else Document(str(path), 1, {})


def _variables(ignored: Collection[str]) -> dict[Place, str]:
    """The environment variables that are meant as settings, by the place that each of them names."""
    names = (name for name in os.environ if name.upper().startswith(ENV_PREFIX) and os.environ[name])
    return {
        tuple(name[len(ENV_PREFIX) :].lower().split(ENV_DELIMITER)): name
        for name in names
        if name.upper() not in ignored and not _SERVICE_LINK.fullmatch(name)
    }


def _name_problems(variables: Mapping[Place, str], schema: Mapping[str, Any]) -> list[Problem]:
    """Variables that name no setting, name a whole group, or hold a list that is not JSON."""
    problems: list[Problem] = []
    for place, name in variables.items():
        node = schema_at(schema, place)
        if not node:
            known = [place_text(setting) for setting in setting_places(schema)]
            near = difflib.get_close_matches(place_text(place), known, n=1)
            guess = f"; did you mean {variable_name(tuple(near[0].split('.')))}?" if near else ""
            problems.append(Problem(name, 0, (), f"found a variable that names no setting{guess}; allowed: see docs/configuration.md"))
        elif "properties" in node:
            example = variable_name((*place, next(iter(node["properties"]))))
            problems.append(Problem(name, 0, place, f"found a whole group; allowed: one variable a setting, such as {example}"))
        elif node.get("type") == "array" and not _is_json_list(os.environ[name]):
            problems.append(Problem(name, 0, place, 'found text that is not JSON; allowed: a JSON list such as ["one", "two"]'))
    return problems


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _env_problems(
    error: ValidationError, document: Document, schema: Mapping[str, Any], variables: Mapping[Place, str], reported: Sequence[Problem]
) -> Iterator[Problem]:
    """What is wrong with the merged settings and was not already wrong in the file alone."""
    known = {problem.place for problem in reported}
    unknown = set(variables) - set(setting_places(schema))

    def value(place: Place) -> Any:  # noqa: ANN401 - text of a variable or whatever the file says
        return os.environ[variables[place]] if place in variables else document.value(place)

    def found(place: Place) -> str:
        return describe_value(value(place)) if place in variables else document.found(place)

    for details in error.errors(include_url=False):
        for place, text in problem_texts(details, schema, found, value, hints=False):
            if any(other[: len(place)] == place for other in unknown):
                continue  # the variable's name is the problem, and has been named
            if place in variables:
                yield Problem(variables[place], 0, place, text)
            elif place not in known:
                yield Problem(document.file, document.line_of(place) if document.line else 0, place, text)


def setting_places(schema: Mapping[str, Any], below: Place = ()) -> list[Place]:
    """Every place of a JSON schema that holds a value and not a group, in order."""
    places: list[Place] = []
    for name in schema_at(schema, below).get("properties", {}):
        place = (*below, name)
        places += setting_places(schema, place) if "properties" in schema_at(schema, place) else [place]
    return places


def variable_name(place: Place) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + ENV_DELIMITER.join(str(step).upper() for step in place)
