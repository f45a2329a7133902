"""Reads application files.

An invalid file raises one `ConfigError` that lists every fault in it, each as
``config/x.yaml:23: spec.units[1].weight: found 40.5 (float); allowed: an integer 0 to 999``. No content of a file raises anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from controller.catalog.application import ApplicationFile, spec_faults
from controller.documents import Document, ErrorText, Place, Problem, check, problem_lines, read_documents, read_limited
from controller.errors import ConfigError
from controller.policy.model import Application

MAX_FILES: Final = 500
"""Most files in a directory."""

_T = TypeVar("_T")
_File = TypeVar("_File", bound=ApplicationFile)

_SUFFIXES: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one file.

    Attributes:
        file: Its path, for messages.
        content: Its bytes.
        problem: Why it could not be read, "" if it was read.
    """

    file: str
    content: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Definition(Generic[_File]):
    """One application, and an outline of its document with the lines of what it claims for itself."""

    model: _File
    document: Document


def load_application_file(path: Path) -> tuple[Application, ...]:
    """Reads one file.

    Args:
        path: A YAML file; each of its documents is one application.

    Raises:
        ConfigError: Lists every fault in it.
    """
    return tuple(parse_applications([read_source(path)]).values())


def load_directory(path: Path) -> Mapping[str, Application]:
    """Reads all applications below a path.

    Args:
        path: A file, or a directory whose ``*.yaml`` and ``*.yml`` files are read in the order of their names, then those of its
            subdirectories, one level deep. Names that start with a dot are skipped.

    Returns:
        The applications by `Application.key`, in the order of the files.

    Raises:
        ConfigError: Lists every fault in all of them, or reports that there is no file.
    """
    return parse_applications(read_sources(path))


def read_sources(path: Path) -> Iterator[Source]:
    """Reads the bytes of a file, or of a directory's application files, one after the other, without parsing them.

    A file that cannot be read becomes a `Source` with a problem, so that the others are still checked.

    Raises:
        ConfigError: The path is neither a file nor a directory, or it contains no application file or too many.
    """
    files = application_files(path)
    if not files or len(files) > MAX_FILES:
        raise ConfigError(f"{path}: found {len(files)} application files; allowed: 1 to {MAX_FILES} files named *.yaml or *.yml")
    return map(read_source, files)


def application_files(path: Path) -> list[Path]:
    """The files that a path stands for: those of a directory, see `load_directory`, or the path itself, whether it exists or not.

    Raises:
        ConfigError: The directory cannot be read.
    """
    try:
        if not path.is_dir():
            return [path]
        entries = _entries(path)
        folders = (one for one in entries if one.is_dir())
        return [one for some in (entries, *map(_entries, folders)) for one in some if one.suffix in _SUFFIXES and not one.is_dir()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error


def _entries(folder: Path) -> list[Path]:
    """What is in a directory, in the order of the names, without names that start with a dot."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def read_source(path: Path) -> Source:
    """Reads the bytes of one file."""
    try:
        return Source(str(path), read_limited(path))
    except ConfigError as error:
        return Source(str(path), problem=str(error))


def parse_definitions(sources: Iterable[Source], model: type[_File]) -> dict[str, Definition[_File]]:
    """Parses files and checks each of them and all of them together.

    Args:
        sources: The files.
        model: `ApplicationFile`, or a model derived from it that has types for the sections.

    Returns:
        The applications by key, in order.

    Raises:
        ConfigError: Lists every fault in all of them.
    """
    return _parsed(sources, model, lambda definition: definition)


def parse_applications(sources: Iterable[Source]) -> dict[str, Application]:
    """Like `parse_definitions`, but keeps only the policy's values: all definitions at once would take five times the memory.

    Raises:
        ConfigError: See `parse_definitions`.
    """
    return _parsed(sources, ApplicationFile, _to_policy)


def _to_policy(definition: Definition[ApplicationFile]) -> Application:
    return definition.model.to_policy()


def _parsed(sources: Iterable[Source], model: type[_File], kept: Callable[[Definition[_File]], _T]) -> dict[str, _T]:
    faults = ErrorText()
    claims = _Claims()
    found: dict[str, _T] = {}
    for source in sources:
        definitions, lines = _parse(source, model)
        faults.add(lines)
        for definition in definitions:
            claims.take(definition)
            found[definition.model.key] = kept(definition)
    faults.add(problem_lines(claims.clashes))
    if faults:
        raise ConfigError(str(faults))
    return found


def _parse(source: Source, kind: type[_File]) -> tuple[list[Definition[_File]], list[str]]:
    """The applications of one file that have no fault of their own, and every fault of the others on a line each."""
    try:
        documents = _documents(source)
    except ConfigError as error:
        return [], [str(error)]
    definitions: list[Definition[_File]] = []
    problems: list[Problem] = []
    for document in documents:
        model, found = judged(kind, document)
        problems += found
        if model is not None:
            definitions.append(Definition(model, document.outline(claim.place for claim in claims_of(model))))
    return definitions, problem_lines(problems)


def judged(kind: type[_File], document: Document) -> tuple[_File | None, list[Problem]]:
    """The application of one document, or None and every fault of its own."""
    model, found = check(kind, document)
    return model, found if model is not None else found + _spec_problems(document, found)


def _documents(source: Source) -> tuple[Document, ...]:
    """The documents of one file.

    Raises:
        ConfigError: It could not be read, or has none.
    """
    if source.problem:
        raise ConfigError(source.problem)
    documents = read_documents(source.content, source.file)
    if not documents:
        raise ConfigError(f"{source.file}: found no document; allowed: one application or more, separated by ---")
    return documents


def _spec_problems(document: Document, reported: Sequence[Problem]) -> list[Problem]:
    """The contradictions across units. Pydantic does not check them if a single field is invalid."""
    known = {problem.place for problem in reported}
    return [
        Problem(document.file, document.line_of(("spec", *place)), ("spec", *place), f"found {found}; allowed: {allowed}")
        for place, found, allowed in spec_faults(document.value(("spec",)))
        if ("spec", *place) not in known
    ]


class _Claims:
    """Finds applications that claim the same routing object, name or ScaledObject."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str], Document] = {}
        self.clashes: list[Problem] = []

    def take(self, definition: Definition[_File]) -> None:
        """Adds an application, and records a clash for each claim of an earlier one."""
        document = definition.document
        for claim in claims_of(definition.model):
            other = self._first.setdefault(claim.what, document)
            if other is not document:
                text = claim.clash(f"the application in {other.file}:{other.line}")
                self.clashes.append(Problem(document.file, document.line_of(claim.place), claim.place, text))


@dataclass(frozen=True, slots=True)
class Claim:
    """What only one application may have.

    Attributes:
        place: Where the application names it.
        what: Its kind, namespace and name.
    """

    place: Place
    what: tuple[str, str, str]

    def clash(self, other: str) -> str:
        """That another application has it too.

        Args:
            other: Which application, in words.
        """
        kind, namespace, name = self.what
        return f"found {kind} {namespace}/{name}, which {other} has too; allowed: each in one application"


def claims_of(model: ApplicationFile) -> list[Claim]:
    """What only this application may have. A routing object counts by its own namespace: two teams could claim one route."""
    routed, namespace = model.spec.routed, model.metadata.namespace
    return [
        Claim(("spec", *model.spec.routed_at), (routed.kind, routed.namespace or namespace, routed.name)),
        Claim(("metadata", "name"), ("application", namespace, model.metadata.name)),
        *(
            Claim(("spec", "units", index, "scaledObject"), ("ScaledObject", namespace, unit.scaled_object))
            for index, unit in enumerate(model.spec.units)
            if unit.scaled_object is not None
        ),
    ]
