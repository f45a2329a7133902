"""YAML documents with line numbers, and the texts of the problems in them.

Application files and settings are read in the same way: no type is converted, duplicate keys and YAML's traps are refused, and every
problem names the place, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from controller.errors import ConfigError
from controller.foreign import shown
from controller.removed import what_to_do

SIZE_LIMIT: Final = 256 * 1024
"""Longest file that is read, bytes. An application of five units takes about 6 KiB; a ConfigMap holds at most 1 MiB."""

_DEPTH_LIMIT: Final = 24
_NODE_LIMIT: Final = 20_000  # after expansion of aliases; stops a "billion laughs" file
_INTEGER_DIGITS: Final = 18
_TEXT_SHOWN: Final = 60
_KEY: Final = "[key]"  # the last step of pydantic's place where the key of a mapping is wrong
_LINE_SHOWN: Final = 1000  # an unknown key is followed by the known ones, which take most of this

LISTED: Final = 3500
"""How much of the faults an error lists, characters: about 30 of them."""

Place = tuple[str | int, ...]
"""Where in a document a value is: ``("spec", "units", 1, "weight")``."""


# --- YAML with positions ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a file or the environment.

    Attributes:
        source: File name, or the name of the environment variable.
        line: Line in the file, counted from 1; 0 if there is none.
        place: Where in the document; () for the whole document.
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
    """Formats a place: ``spec.units[1].weight``."""
    text = ""
    for step in place:
        name = step if isinstance(step, int) else shown(step, _TEXT_SHOWN)
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else name
    return text


def config_error(problems: Iterable[Problem]) -> ConfigError:
    """One error that lists the problems: see `problem_lines` and `ErrorText`."""
    text = ErrorText()
    text.add(problem_lines(problems))
    return ConfigError(str(text))


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """The problems on a line each, in the order of the file."""
    return [str(problem) for problem in sorted(problems, key=lambda problem: (problem.source, problem.line))]


class ErrorText:
    """The text of an error with many faults: the first lines, at most `LISTED` characters, and how many more there are.

    A file of 256 KiB can have 20,000 faults, and their text goes into the log, the status and a message.
    """

    def __init__(self) -> None:
        self._listed: list[str] = []
        self._left = LISTED
        self._more = 0

    def add(self, lines: Iterable[str]) -> None:
        """Adds faults; a text of several lines is several."""
        for line in (line for text in lines for line in text.split("\n")):
            self._left -= min(len(line), _LINE_SHOWN)
            if self._left < 0:
                self._more += 1
            else:
                self._listed.append(shown(line, _LINE_SHOWN))

    def __bool__(self) -> bool:
        """Whether there is any fault."""
        return bool(self._listed or self._more)

    def __str__(self) -> str:
        """The text, "" where there is no fault."""
        return "\n".join([*self._listed, f"and {self._more} more"] if self._more else self._listed)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document as plain values, with the position of each.

    Attributes:
        file: Its file's name, for messages.
        line: Its first line.
        data: Dictionaries, lists, text, numbers, booleans, None.
        problems: Valid YAML that is refused: duplicate keys, numbers in another base, tags.
    """

    file: str
    line: int
    data: Any
    problems: tuple[Problem, ...] = ()
    _lines: Mapping[Place, int] = field(default_factory=dict)
    _raw: Mapping[Place, str] = field(default_factory=dict)

    def line_of(self, place: Place) -> int:
        """The line of a value, or of the innermost existing value around it."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, self.line)

    def outline(self, places: Iterable[Place]) -> Document:
        """The document's lines for these places without its content, which would take tens of MiB for a thousand applications."""
        return Document(self.file, self.line, None, (), {place: self.line_of(place) for place in places})

    def value(self, place: Place) -> Any:  # noqa: ANN401 - any value of the file
        """The value at a place; None if there is none."""
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
        """The value at a place, described for a message, with numbers as written in the file."""
        return describe_value(self.value(place), self._raw.get(place))


def describe_value(value: object, raw: str | None = None) -> str:
    """Describes a value for a message: short, on one line, with its type."""
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
    return shown(text, _TEXT_SHOWN + 1)


def read_documents(content: bytes, file: str) -> tuple[Document, ...]:
    """Reads YAML strictly: refuses everything that two YAML readers would interpret differently.

    Args:
        content: The file's bytes, UTF-8.
        file: Its name, for messages.

    Returns:
        The documents that are not empty, in order. Their `problems` must be checked too.

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
    """Composes nodes within limits, without building values from them."""

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
    """Converts one document's nodes to plain values, and records the line of each."""

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

    def _convert(self, node: yaml.Node, place: Place) -> Any:  # noqa: ANN401 - any value of the file
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
                    self._lines[*place, key] = line  # the line of the key, not of its first child
        return result

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:  # noqa: ANN401 - any value of the file
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

Region = Annotated[
    str,
    Field(pattern=r"^[a-z]{2,8}(-[a-z]+)+-[0-9]{1,2}$", json_schema_extra={"x-allowed": "an AWS region such as us-west-2"}),
]
"""An AWS region of any partition, eusc-de-east-1 and us-isob-east-1 among them."""

Model = TypeVar("Model", bound=BaseModel)
Fault = tuple[Place, str, str]
"""Place (relative to the model whose validator found it), what was found, what is allowed."""


def cross_field_error(faults: Sequence[Fault]) -> PydanticCustomError:
    """The error that a model's validator raises when fields contradict each other; `check` makes each fault a problem."""
    text = "; ".join(f"{place_text(place)}: found {found}; allowed: {allowed}" for place, found, allowed in faults)
    # Braces would be read as the template's placeholders.
    return PydanticCustomError("cross_field", "{text}", {"text": text, "faults": tuple(faults)})


def check(model: type[Model], document: Document, *, together: bool = True) -> tuple[Model | None, list[Problem]]:
    """Validates a document, strictly: no value is converted from another type.

    Args:
        model: The model to validate against.
        document: The document.
        together: Whether fields that contradict each other are problems. False if another source may still override them.

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
    """Translates one of pydantic's errors to places and texts; an error of a cross-field check yields several.

    Args:
        details: The error's details.
        schema: The model's JSON schema.
        found: Describes the value at a place.
        value: Returns the value at a place.
        hints: Whether to add how to avoid YAML's usual traps.
    """
    place = tuple(details["loc"])
    if details["type"] == "cross_field":
        for below, what, allowed in details["ctx"]["faults"]:
            yield (*place, *below), f"found {what}; allowed: {allowed}"
    elif details["type"] == "too_short" and len(_list(value(place))) >= details["ctx"]["min_length"]:
        return  # pydantic counts only valid entries here, and reports each invalid one separately
    elif details["type"] == "extra_forbidden":
        if (remedy := what_to_do(place_text(place))) is not None:
            yield place, f"found a setting that no longer exists; {remedy}"
            return
        known = sorted(schema_at(schema, place[:-1]).get("properties", {}))
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        yield place, f"found an unknown key{guess}; allowed: {', '.join(known)}"
    elif place[-1:] == (_KEY,) and (names := _key_schema(schema_at(schema, place[:-2]))):
        yield place[:-1], f"found the key {describe_value(place[-2])}; allowed: {allowed_text(names)}"
    else:
        node = schema_at(schema, place)
        # A scalar in place of a mapping may be a secret at the wrong level, so only its kind is shown.
        shown = found(place) if _is_plain(node) else describe_kind(value(place))
        yield place, f"found {shown}; allowed: {allowed_text(node)}{_hint(node, value(place)) if hints else ''}"


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def schema_at(schema: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """The part of a JSON schema that describes one place; empty if the schema does not know it."""
    node = _resolved(schema, schema)
    for step in place:
        below = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, _value_schema(node))
        node = _resolved(schema, below)
    return node


def _value_schema(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the values of a mapping whose keys are free; empty for any other part."""
    free = node.get("additionalProperties")
    return free if isinstance(free, dict) else next(iter(node.get("patternProperties", {}).values()), {})


def _key_schema(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of the keys of a mapping whose keys are free; empty for any other part."""
    return {"type": "string", **node.get("propertyNames", {})} if _value_schema(node) else {}


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follows $ref and the only alternative to null; attributes of the outer level take precedence."""
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
    """Describes the values that a resolved part of a JSON schema allows."""
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
            low, high = node.get("minLength"), node.get("maxLength")
            if high:
                return f"text of {low} to {high} characters" if low else f"text of at most {high} characters"
            return "text that is not empty" if low else "text"
        case "array":
            low, high = node.get("minItems", 0), node.get("maxItems")
            return f"a list of {low} to {high} entries" if high else f"a list of at least {low} entries"
        case _:
            keys = ", ".join(sorted(node.get("properties", {})))
            return f"a mapping with the keys {keys}" if keys else "a mapping"


def _range(node: Mapping[str, Any]) -> str:
    low, above, high = node.get("minimum"), node.get("exclusiveMinimum"), node.get("maximum")
    start = f" above {above:.15g}" if above is not None else f" {low:.15g}" if low is not None else ""
    end = f" up to {high:.15g}" if above is not None else f" to {high:.15g}" if high is not None else ""
    return start + end


def _is_plain(node: Mapping[str, Any]) -> bool:
    """Whether a message may show a value of this part."""
    scalar = "enum" in node or "const" in node or "x-allowed" in node or node.get("type") in {"integer", "number", "boolean", "string"}
    return scalar and not node.get("writeOnly")


def describe_kind(value: object) -> str:
    """Describes a value for a message by its type alone."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "text", type(None): "nothing"}
    return kinds.get(type(value)) or describe_value(value)


def _hint(node: Mapping[str, Any], value: object) -> str:
    """The likely correction after one of YAML's usual traps."""
    wanted = node.get("type")
    numeric = wanted in {"integer", "number"}
    if isinstance(value, str) and (numeric or "integer" in str(node.get("x-allowed", ""))) and _FLOAT.fullmatch(value) and value:
        return "; write it without quotes"
    if isinstance(value, float) and wanted == "integer" and value.is_integer():
        return f"; write {value:.0f}"
    if wanted == "string" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    return ""


def read_limited(path: Path, what: str = "file") -> bytes:
    """Reads a file of at most `SIZE_LIMIT` bytes.

    Args:
        path: Where it is.
        what: What it should be, for the message that it is not there.

    Raises:
        ConfigError: It is not there, not a regular file, not readable or too large.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: found {'something else' if path.exists() else f'no {what}'}; allowed: a {what}")
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if len(content) > SIZE_LIMIT:
        raise ConfigError(f"{path}: more than {SIZE_LIMIT} bytes; allowed: at most {SIZE_LIMIT}")
    return content
