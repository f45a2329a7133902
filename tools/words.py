"""Finds words that the project no longer uses: ``python -m tools.words [--word WORD] [--count] [PATH ...]``.

The words, what replaces them and where an old one may stay are two tables of docs/glossary.md. Every text of the project is searched:
identifiers (each part of a snake_case or CamelCase name is a word), comments, docstrings, strings, Markdown, manifests. The command prints
one ``file:line`` for each hit and exits with 1 if there is one. `tests/house/test_words.py` calls the same function.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
GONE_HEADING: Final = "## Words we no longer use"
KEPT_HEADING: Final = "## Where an old word stays"

_SUFFIXES: Final = {".py", ".md", ".yaml", ".yml", ".toml", ".tpl", ".j2", ".html", ".sh", ".txt"}
_NAMES: Final = {"Makefile", "Dockerfile", "run"}
_SKIPPED_FOLDERS: Final = {"__pycache__", "node_modules", "results", "golden", "build", "dist"}
_SKIPPED_FILES: Final = {"tests/house/test_words.py"}  # its samples are the words that are gone

# A word begins after something that is no letter, or at a capital after a small letter (CamelCase); it ends the same way.
_BEGIN: Final = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_END: Final = r"(?:(?![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_BETWEEN: Final = r"(?:[\s_-]+|(?<=[a-z])(?=[A-Z]))"
# What splits a sentence over lines: a comment sign, or the quotes between two parts of one string.
_CONTINUED: Final = re.compile(r'(?m)^[ \t]*#+|"[ \t]*\n[ \t]*[rf]?"')
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_]+")
_PARTS: Final = re.compile(r"[A-Za-z0-9]_+[A-Za-z0-9]|[a-z][A-Z]|^_[a-z]")


@dataclass(frozen=True)
class Gone:
    """A word or phrase that the project no longer uses.

    Attributes:
        form: The word or phrase, in small letters.
        instead: What is written instead, for people.
        names_only: Whether only names (of modules, classes, functions, variables) may not have it; prose may.
    """

    form: str
    instead: str
    names_only: bool

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the form: a text that lacks one of them does not have the form."""
        return tuple(self.form.split())

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the form, in sentences and as part of a name."""
        words = _BETWEEN.join(f"(?i:{re.escape(word)})" for word in self.words)
        return re.compile(f"{_BEGIN}{words}{_END}")


@dataclass(frozen=True)
class Kept:
    """A place where an old word is right.

    Attributes:
        phrase: The text around the word; a hit inside of it is none. Capitals make no difference.
        files: Patterns of the paths, relative to the root; empty: everywhere.
        why: The reason, for people.
    """

    phrase: str
    files: tuple[str, ...]
    why: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the phrase, also where a line ends in it."""
        return re.compile(r"\s+".join(re.escape(word) for word in self.phrase.split()), re.IGNORECASE)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of the phrase, in small letters: a text that lacks one of them does not have the phrase."""
        return tuple(self.phrase.lower().split())

    def covers(self, path: str) -> bool:
        """Whether it holds in a file."""
        return not self.files or any(fnmatch(path, pattern) for pattern in self.files)


@dataclass(frozen=True)
class Hit:
    """A word that is gone, found.

    Attributes:
        path: Of the file, relative to the root.
        line: Line number, from 1.
        gone: What was found.
        text: The line.
    """

    path: str
    line: int
    gone: Gone
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.gone.form} (write: {self.gone.instead}): {self.text.strip()[:120]}"


def _rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading; no cell contains a bar."""
    _, found, rest = page.partition(f"{heading}\n")
    if not found:
        raise ValueError(f"no section {heading!r}")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def gone(page: str) -> list[Gone]:
    """The words that are gone, as the glossary lists them: one entry for each form in backticks.

    Raises:
        ValueError: The section is not there, or a row has an unknown scope.
    """
    found = []
    for forms, instead, scope in _rows(page, GONE_HEADING):
        if scope not in {"everywhere", "names"}:
            raise ValueError(f"{forms}: {scope!r} is neither everywhere nor names")
        found += [Gone(form.lower(), instead.replace("`", ""), scope == "names") for form in _quoted(forms)]
    return found


def kept(page: str) -> list[Kept]:
    """Where old words stay, as the glossary lists it: one entry for each phrase in backticks.

    Raises:
        ValueError: The section is not there, or a row gives no reason.
    """
    found = []
    for phrases, files, why in _rows(page, KEPT_HEADING):
        if not why:
            raise ValueError(f"{phrases}: no reason")
        found += [Kept(phrase, tuple(_quoted(files)), why) for phrase in _quoted(phrases)]
    return found


def texts(paths: Iterable[Path] = (ROOT,)) -> Iterator[Path]:
    """Every file below `paths` that people read. Left out: hidden folders, data, and what this tool's test uses as samples."""
    for path in paths:
        if path.is_file():
            yield path
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS and (not name.startswith(".") or name == ".ci"))
            for name in sorted(files):
                one = Path(folder, name)
                if (one.suffix in _SUFFIXES or name in _NAMES or name.startswith("Dockerfile")) and _relative(one) not in _SKIPPED_FILES:
                    yield one


def _relative(path: Path) -> str:
    return path.resolve().relative_to(ROOT).as_posix()


def find(path: str, text: str, words: Sequence[Gone], stays: Sequence[Kept]) -> list[Hit]:
    """The words that are gone in one text, in the order of their lines.

    Args:
        path: Of the file, relative to the root; a name that ends in ``.py`` is read as Python.
        text: What the file contains.
        words: What to find.
        stays: Where it may stay.
    """
    if path == _relative(GLOSSARY):
        text = text.partition(GONE_HEADING)[0]
    joined = _CONTINUED.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    names, excused, lowered = _Names(path, text), _Excused(path, text, joined, stays), joined.lower()
    lines = text.splitlines()
    found: list[Hit] = []
    taken: set[int] = set()
    for one in sorted(words, key=lambda word: -len(word.form)):
        if not all(word in lowered for word in one.words):  # much faster than the pattern
            continue
        for hit in one.pattern.finditer(joined):
            begin, end = hit.span()
            if begin in taken or excused.covers(begin, end) or (one.names_only and not names.covers(begin)):
                continue
            taken |= set(range(begin, end))
            line = text.count("\n", 0, begin)
            found.append(Hit(path, line + 1, one, lines[line]))
    return sorted(found, key=lambda hit: hit.line)


class _Excused:
    """Where old words stay in one text, found when a word first asks for it."""

    def __init__(self, path: str, text: str, joined: str, stays: Sequence[Kept]) -> None:
        self._path = path
        self._texts = (text, joined)  # a phrase may contain quotes, which `joined` lacks; or go over lines, which `text` splits
        self._stays = stays

    def covers(self, begin: int, end: int) -> bool:
        """Whether a hit from `begin` to `end` is inside such a place."""
        return any(first <= begin and end <= last for first, last in self._spans)

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        lowered = self._texts[0].lower()
        valid = [one for one in self._stays if one.covers(self._path) and all(word in lowered for word in one.words)]
        return [found.span() for one in valid for text in self._texts for found in one.pattern.finditer(text)]


class _Names:
    """Tells names from prose in one text.

    A name is an identifier of Python code; in comments, strings and other texts what is written like one (``snake_case``,
    ``CamelCase``) or stands in backticks. The name of a test is a sentence, hence prose.
    """

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._text = text

    def covers(self, at: int) -> bool:
        """Whether the word at an offset belongs to a name."""
        begin = at
        while begin and _IDENTIFIER.match(self._text[begin - 1]):
            begin -= 1
        run = _IDENTIFIER.match(self._text, begin)
        word = run.group() if run else ""
        if word.startswith("test_"):
            return False
        return bool(_PARTS.search(word)) or self._in_backticks(at) or self._in_code(at)

    def _in_backticks(self, at: int) -> bool:
        line = self._text.rfind("\n", 0, at) + 1
        return self._text.count("`", line, at) % 2 == 1

    def _in_code(self, at: int) -> bool:
        return self._path.endswith(".py") and not any(first <= at < last for first, last in self._prose)

    @cached_property
    def _prose(self) -> list[tuple[int, int]]:
        """Begin and end of each comment and string."""
        starts = [0]
        for line in self._text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
        tokens = tokenize.generate_tokens(io.StringIO(self._text).readline)
        return [(starts[t.start[0] - 1] + t.start[1], starts[t.end[0] - 1] + t.end[1]) for t in tokens if t.type in kinds]


def hits(paths: Iterable[Path] = (ROOT,)) -> list[Hit]:
    """Every word that is gone and still there, in the files below `paths`."""
    page = GLOSSARY.read_text()
    words, stays = gone(page), kept(page)
    return [hit for path in texts(paths) for hit in find(_relative(path), path.read_text(), words, stays)]


def area(path: str) -> str:
    """The folder that a path counts for: at most two levels, a file at the root for itself."""
    return "/".join(path.split("/")[:-1][:2]) or path


def main() -> None:
    """Prints the hits, or how many there are by folder and by word; exits with 1 if there is one."""
    parser = argparse.ArgumentParser(description="Finds words that the project no longer uses (docs/glossary.md).")
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT], help="files and folders; default: everything")
    parser.add_argument("--word", action="append", help="only this form; may be repeated")
    parser.add_argument("--count", action="store_true", help="only the number of hits by folder and by word")
    chosen = parser.parse_args()
    found = [hit for hit in hits(chosen.paths) if not chosen.word or hit.gone.form in chosen.word]
    if chosen.count:
        for kind in (Counter(area(hit.path) for hit in found), Counter(hit.gone.form for hit in found)):
            print("\n".join(f"{number:6} {name}" for name, number in kind.most_common()), end="\n\n")
    else:
        print("\n".join(str(hit) for hit in found))
    print(f"{len(found)} hits", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
