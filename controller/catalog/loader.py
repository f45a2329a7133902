"""Reads application files.

A file that is wrong is one `ConfigError` that lists everything that is wrong in it, each as
``config/x.yaml:23: spec.units[1].weight: found 40.5 (float); allowed: an integer 0 to 999``. Nothing else is ever raised, whatever the
bytes are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from controller.catalog.application import ApplicationFile, spec_faults
from controller.documents import Document, Place, Problem, check, config_error, read_documents, read_limited
from controller.errors import ConfigError
from controller.policy.model import Application

MAX_FILES: Final = 500
"""Files in a directory; one application each is far more than one load balancer's worth."""

_T = TypeVar("_T")

_SUFFIXES: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was read.

    Attributes:
        file: Its path, for messages.
        content: Its bytes.
        problem: Why it could not be read, "" where it could.
    """

    file: str
    content: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One application, and where what it claims for itself stands: an outline of its document."""

    model: ApplicationFile
    document: Document


def load_application_file(path: Path) -> tuple[Application, ...]:
    """Reads one file.

    Args:
        path: A YAML file; each of its documents is one application.

    Raises:
        ConfigError: Lists everything that is wrong in it.
    """
    return tuple(parse_applications([read_source(path)]).values())


def load_directory(path: Path) -> Mapping[str, Application]:
    """Reads all applications below a path.

    Args:
        path: A file, or a directory whose ``*.yaml`` and ``*.yml`` files are read in the order of their names. Names that start with a dot
            and directories are skipped: a mounted ConfigMap has ``..data`` and friends.

    Returns:
        By `Application.key`, in the order of the files.

    Raises:
        ConfigError: Lists everything that is wrong in all of them, or says that there is none.
    """
    return parse_applications(read_sources(path))


def load_definitions(path: Path) -> Mapping[str, Definition]:
    """Like `load_directory`, with what only people need (published costs) and the places of definition.

    Raises:
        ConfigError: See `load_directory`.
    """
    return parse_sources(read_sources(path))


def read_sources(path: Path) -> tuple[Source, ...]:
    """Reads the bytes of a file, or of a directory's application files, without looking into them.

    A file that cannot be read is a `Source` with a problem, so that the others are still checked.

    Raises:
        ConfigError: The path is neither a file nor a directory, or there is no application file.
    """
    try:
        if not path.is_dir():
            return (read_source(path),)
        names = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES and not entry.name.startswith("."))
        files = [entry for entry in names if not entry.is_dir()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if not files or len(files) > MAX_FILES:
        raise ConfigError(f"{path}: found {len(files)} application files; allowed: 1 to {MAX_FILES} files named *.yaml or *.yml")
    return tuple(read_source(file) for file in files)


def read_source(path: Path) -> Source:
    """Reads the bytes of one file."""
    try:
        return Source(str(path), read_limited(path))
    except ConfigError as error:
        return Source(str(path), problem=str(error))


def parse_sources(sources: Sequence[Source]) -> dict[str, Definition]:
    """Checks files and what they are together.

    Returns:
        The applications by key, in order.

    Raises:
        ConfigError: Lists everything that is wrong in all of them.
    """
    return _parsed(sources, lambda definition: definition)


def parse_applications(sources: Sequence[Source]) -> dict[str, Application]:
    """Like `parse_sources`, what the policy needs of each alone: definitions take five times the memory while they are all there.

    Raises:
        ConfigError: See `parse_sources`.
    """
    return _parsed(sources, lambda definition: definition.model.to_policy())


def _parsed(sources: Sequence[Source], kept: Callable[[Definition], _T]) -> dict[str, _T]:
    lines: list[str] = []
    claims = _Claims()
    found: dict[str, _T] = {}
    for source in sources:
        try:
            for definition in _parse(source):
                claims.take(definition)
                found[definition.model.key] = kept(definition)
        except ConfigError as error:
            lines.append(str(error))
    if claims.clashes:
        lines.append(str(config_error(claims.clashes)))
    if lines:
        raise ConfigError("\n".join(lines))
    return found


def _parse(source: Source) -> list[Definition]:
    if source.problem:
        raise ConfigError(source.problem)
    documents = read_documents(source.content, source.file)
    if not documents:
        raise ConfigError(f"{source.file}: found no document; allowed: one application or more, separated by ---")
    definitions: list[Definition] = []
    problems: list[Problem] = []
    for document in documents:
        model, found = check(ApplicationFile, document)
        problems += found
        if model is None:
            problems += _spec_problems(document, found)
        else:
            definitions.append(Definition(model, document.outline(place for place, _, _ in _claims(model))))
    if problems:
        raise config_error(problems)
    return definitions


def _spec_problems(document: Document, reported: Sequence[Problem]) -> list[Problem]:
    """What does not fit together across units; pydantic stops before it where a single field is wrong."""
    known = {problem.place for problem in reported}
    return [
        Problem(document.file, document.line_of(("spec", *place)), ("spec", *place), f"found {found}; allowed: {allowed}")
        for place, found, allowed in spec_faults(document.value(("spec",)))
        if ("spec", *place) not in known
    ]


class _Claims:
    """Finds applications that claim the same Ingress, name or ScaledObject."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], Document] = {}
        self.clashes: list[Problem] = []

    def take(self, definition: Definition) -> None:
        """Takes one more application."""
        document, namespace = definition.document, definition.model.metadata.namespace
        for place, kind, name in _claims(definition.model):
            other = self._first.setdefault((kind, namespace, name), document)
            if other is not document:
                where = f"{other.file}:{other.line}"
                text = f"found {kind} {namespace}/{name}, which the application in {where} has too; allowed: each in one application"
                self.clashes.append(Problem(document.file, document.line_of(place), place, text))


def _claims(model: ApplicationFile) -> list[tuple[Place, str, str]]:
    """What only one application may have: the place that says so, the kind and the name."""
    claims: list[tuple[Place, str, str]] = [
        (("spec", "ingress"), "Ingress", model.spec.ingress),
        (("metadata", "name"), "application", model.metadata.name),
    ]
    return claims + [
        (("spec", "units", index, "scaledObject"), "ScaledObject", unit.scaled_object)
        for index, unit in enumerate(model.spec.units)
        if unit.scaled_object is not None
    ]
