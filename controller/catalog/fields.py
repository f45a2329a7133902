"""The building blocks of files: names as Kubernetes and AWS allow them, and the strict model common to all files."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = rf"{_LABEL}(\.{_LABEL})*"
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_MAX_PORT: Final = 65_535
_MAX_PORT_NAME: Final = 15


def yaml_key(name: str) -> str:
    """The key of a field: ``latency_limit_s`` is written ``latencyLimitSeconds``."""
    name = f"{name.removesuffix('_s')}_seconds" if name.endswith("_s") else name
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _port(value: object) -> int | str:
    """Keeps the literal: for the load-balancer controller, 80 and "http" are two different target groups."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_PORT:
        return value
    if isinstance(value, str) and len(value) <= _MAX_PORT_NAME and _PORT_NAME.fullmatch(value):
        return value
    raise ValueError("neither a port number nor a port name")


def _section(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError("not a mapping")


def _dns(text: str, longest: int, pattern: str = _LABEL) -> Any:  # noqa: ANN401 - pydantic's FieldInfo
    return Field(
        min_length=1,
        max_length=longest,
        pattern=f"^{pattern}$",
        json_schema_extra={"x-allowed": f"{text} (lower-case letters, digits and -; at most {longest} characters)"},
    )


DnsLabel = Annotated[str, _dns("a DNS label", 63)]
DnsName = Annotated[str, _dns("a DNS name", 253, _NAME)]
NodePoolName = Annotated[str, _dns("a DNS name", 63, _NAME)]
"""Shorter than other names: it is the value of a label of the nodes."""
ServiceName = Annotated[str, _dns("a Service name", 63, "[a-z]([-a-z0-9]*[a-z0-9])?")]
ActionName = Annotated[str, _dns("a DNS label", 55)]
RuleName = Annotated[str, _dns("a rule's name or index", 253, _NAME)]
Port = Annotated[
    int | str,
    PlainValidator(_port),
    WithJsonSchema({
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": _MAX_PORT},
            {"type": "string", "maxLength": _MAX_PORT_NAME, "pattern": "^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$"},
        ],
        "x-allowed": "an integer 1 to 65535, or the Service's port name",
    }),
]  # fmt: skip
InstanceType = Annotated[
    str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", json_schema_extra={"x-allowed": "an EC2 instance type such as inf2.xlarge"})
]
Zone = Annotated[
    str, Field(pattern=r"^[a-z0-9-]+$", max_length=63, json_schema_extra={"x-allowed": "an availability zone such as us-west-2a"})
]
QualifiedName = Annotated[
    str,
    Field(
        pattern=rf"^({_NAME}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$",
        max_length=253,
        json_schema_extra={"x-allowed": "the key of a label or an annotation, such as example.com/team"},
    ),
]
MetricName = Annotated[str, Field(max_length=255, pattern=r"^[ -~]*$", json_schema_extra={"x-allowed": "at most 255 printable characters"})]
ShortText = Annotated[str, Field(max_length=100, json_schema_extra={"x-allowed": "text of at most 100 characters"})]


Section = Annotated[Any, PlainValidator(_section), WithJsonSchema({"type": "object"})]
"""A mapping that the controller does not read. Who reads it gives it a type, in a model derived from this one."""


class FileModel(BaseModel):
    """Base of all parts of a file: no unknown keys, no type conversions, immutable."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=yaml_key,
        validate_by_name=True,
        validate_by_alias=True,
    )
