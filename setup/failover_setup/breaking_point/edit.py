"""Writes measured numbers into an application file and keeps all else in it: comments, order, quotes, other documents.

ruamel.yaml reads and writes a document together with its comments. The loader reads the result back before it replaces the file: it must
be valid for `failoverctl run`, and no other value may have changed.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from controller.catalog.application import routed_name
from controller.catalog.fields import yaml_key
from controller.catalog.loader import Definition, Source, read_source
from controller.errors import ConfigError
from failover_setup.application import ApplicationFile, parse_sources

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_WIDE: Final = 4096  # columns; wide enough that no line is wrapped
_EDITED: Final = ("throughput", "latency_s")


@dataclass(frozen=True, slots=True)
class Measured:
    """A unit's measured numbers.

    Attributes:
        throughput: Requests per metric period and replica.
        latency_s: p95 at this throughput, seconds.
        note: How it was measured, for the comment beside the throughput.
    """

    throughput: float
    latency_s: float
    note: str


def check_writable(path: Path, application: str, unit: str) -> None:
    """Checks before a measurement that its result could be written.

    Args:
        path: The application file.
        application: The application's key.
        unit: The unit's name.

    Raises:
        ConfigError: ruamel.yaml is not installed, or the file cannot be edited or replaced.
    """
    _checked(path, application, unit, Measured(1.0, 0.001, "a trial"))
    target = path.resolve()
    if not os.access(target, os.W_OK) or not os.access(target.parent, os.W_OK):
        raise ConfigError(f"{path}: cannot be written; copy the file, or use --no-write")


def write_measured(path: Path, application: str, unit: str, measured: Measured) -> str:
    """Writes one unit's numbers into its file, completely or not at all.

    Args:
        path: The application file. It is read anew, so edits made during the measurement stay.
        application: The application's key.
        unit: The unit's name.
        measured: The numbers to write.

    Returns:
        The file's new content.

    Raises:
        ConfigError: The file no longer contains the unit, the result would be invalid, or the file cannot be written.
    """
    text = _checked(path, application, unit, measured)
    _replace(path, text)
    return text


def _checked(path: Path, application: str, unit: str, measured: Measured) -> str:
    """The file's content with the numbers in it, checked.

    Raises:
        ConfigError: The file cannot be edited, the result would be invalid, or another value would change.
    """
    source = read_source(path)
    before = parse_sources([source])
    try:
        text = edited(source.content.decode(), application, unit, measured)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8, so its comments cannot be kept; use --no-write") from None
    after = parse_sources([Source(str(path), text.encode())])
    if _others(before, application, unit) != _others(after, application, unit):
        raise ConfigError(f"{path}: not written: values other than {', '.join(map(yaml_key, _EDITED))} would change")
    return text


def _key(document: Mapping[str, Any]) -> str:
    """As `controller.catalog.application.ApplicationFile.key`."""
    return f"{document['metadata']['namespace']}/{routed_name(document['spec'])}"


def edited(text: str, application: str, unit: str, measured: Measured) -> str:
    """The content of a file with one unit's numbers replaced.

    Raises:
        ConfigError: The unit does not exist.
    """
    yaml = _yaml(text)
    from ruamel.yaml.error import YAMLError

    try:
        documents = list(yaml.load_all(text))
    except YAMLError as error:
        raise ConfigError(f"cannot be read with its comments, use --no-write: {type(error).__name__}") from error
    found = [
        one
        for document in documents
        if document is not None and _key(document) == application
        for one in document["spec"]["units"]
        if one["name"] == unit
    ]
    if not found:
        raise ConfigError(f"application {application} no longer has a unit {unit}; not written")
    _set(found[0], measured)
    result = io.StringIO()
    yaml.dump_all(documents, result)
    return result.getvalue()


def _set(unit: Any, measured: Measured) -> None:  # noqa: ANN401 - ruamel's CommentedMap
    unit[yaml_key("throughput")] = _plain(measured.throughput)
    unit[yaml_key("latency_s")] = _plain(measured.latency_s)
    unit.yaml_add_eol_comment(measured.note, yaml_key("throughput"))


def _plain(number: float) -> float | int:
    """A whole number as an int, so that it is written without a fraction."""
    return int(number) if number.is_integer() else number


def _yaml(text: str) -> YAML:
    """A reader and writer that preserves comments, quotes and indentation.

    Raises:
        ConfigError: ruamel.yaml is not installed.
    """
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.util import load_yaml_guess_indent
    except ImportError as error:
        missing = "ruamel.yaml is not installed; install it with: pip install 'mixed-accelerator-failover[breaking-point]'"
        raise ConfigError(f"{missing}; or use --no-write") from error
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    with suppress(Exception):  # guesses the file's indentation; otherwise ruamel's own applies
        _, indent, offset = load_yaml_guess_indent(next(iter(text.split("\n---"))))
        if indent:
            yaml.indent(mapping=2, sequence=indent, offset=offset or 0)
    return yaml


def _others(definitions: Mapping[str, Definition[ApplicationFile]], application: str, unit: str) -> dict[str, Any]:
    """All values of a file except the edited ones."""
    values = {key: definition.model.model_dump() for key, definition in definitions.items()}
    for one in values[application]["spec"]["units"]:
        if one["name"] == unit:
            for name in _EDITED:
                one.pop(name)
    return values


def _replace(path: Path, text: str) -> None:
    """Replaces the file atomically, also behind a symbolic link, and keeps its mode.

    Raises:
        ConfigError: It cannot be written.
    """
    target = path.resolve()
    try:
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=f".{target.name}.", delete=False, encoding="utf-8") as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
