"""The regular expressions of a package, and the texts on which a search with one of them would take longest."""

from __future__ import annotations

import importlib
import pkgutil
import re
import re._constants as kinds  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, Final

_FILLER: Final = "a"


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """All modules below a package, itself included."""
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def patterns(package: ModuleType) -> dict[str, re.Pattern[Any]]:
    """The compiled patterns among the values of the modules, alone or in tuples and data classes, by module and name."""
    made = {}
    for module in modules(package):
        for name, value in vars(module).items():
            for number, one in enumerate(_within(value)):
                made[f"{module.__name__}.{name}[{number}]"] = one
    return made


def _within(value: object) -> Iterator[re.Pattern[Any]]:
    """The patterns in a value."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _within(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _within(getattr(value, field.name))


def worst(pattern: re.Pattern[Any], length: int) -> Iterator[str]:
    """Texts of about that length on which the pattern begins again and again, or repeats a part, and fails at the end.

    Args:
        pattern: Of text.
        length: Characters.
    """
    tokens = list(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags))
    whole = _sample(tokens)
    for text in {_FILLER, whole, *(_sample(tokens[:end]) for end in range(len(tokens)))}:
        yield (text or _FILLER) * (length // len(text or _FILLER))
    for head, part in _repeated(tokens):
        for pump in {part, part * 2, f"{part}{_FILLER}"} - {""}:
            yield head + pump * (length // len(pump)) + "\x00"
            yield (head + pump * 8) * (length // len(head + pump * 8))


def _repeated(tokens: Any, head: str = "") -> Iterator[tuple[str, str]]:
    """What precedes each repetition of a pattern, and one round of it."""
    for kind, value in tokens:
        for inner in _below(kind, value):
            if kind in {kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT}:
                yield head, _sample(inner)
            yield from _repeated(inner, head)
        head += _sample([(kind, value)])


def _below(kind: Any, value: Any) -> list[Any]:
    match kind:
        case kinds.MAX_REPEAT | kinds.MIN_REPEAT | kinds.POSSESSIVE_REPEAT:
            return [value[2]]
        case kinds.SUBPATTERN:
            return [value[3]]
        case kinds.ATOMIC_GROUP:
            return [value]
        case kinds.BRANCH:
            return list(value[1])
        case kinds.ASSERT:
            return [value[1]]
    return []


def _sample(tokens: Any) -> str:
    """A short text that a pattern matches, as far as that is known without its context."""
    return "".join(_one(kind, value) for kind, value in tokens)


def _one(kind: Any, value: Any) -> str:
    match kind:
        case kinds.LITERAL:
            return chr(value)
        case kinds.NOT_LITERAL:
            return "b" if chr(value) == "a" else "a"
        case kinds.ANY:
            return _FILLER
        case kinds.IN:
            return _member(value)
        case kinds.BRANCH:
            return _sample(value[1][0])
        case kinds.MAX_REPEAT | kinds.MIN_REPEAT | kinds.POSSESSIVE_REPEAT:
            least: int = value[0]
            return _sample(value[2]) * max(1, min(least, 20))
        case kinds.SUBPATTERN:
            return _sample(value[3])
        case kinds.ATOMIC_GROUP:
            return _sample(value)
    return ""


def _member(choices: Any) -> str:
    """A character of a set."""
    allowed = re.compile(_set(choices))
    return next(
        (chr(code) for code in (*range(97, 123), *range(48, 58), *range(32, 127), *range(0xD800, 0xD810)) if allowed.match(chr(code))), ""
    )


def _set(choices: Any) -> str:
    made = ""
    for kind, value in choices:
        match kind:
            case kinds.NEGATE:
                made += "^"
            case kinds.LITERAL:
                made += re.escape(chr(value))
            case kinds.RANGE:
                made += f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
            case kinds.CATEGORY:
                made += {
                    kinds.CATEGORY_DIGIT: r"\d", kinds.CATEGORY_NOT_DIGIT: r"\D", kinds.CATEGORY_SPACE: r"\s",
                    kinds.CATEGORY_NOT_SPACE: r"\S", kinds.CATEGORY_WORD: r"\w", kinds.CATEGORY_NOT_WORD: r"\W",
                }[value]  # fmt: skip
    return f"[{made}]"
