"""Changes texts that are right a little, and again and again, so that they pass the first checks of a parser and fail later ones."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Final

TOKENS: Final = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"9" * 19, b"9" * 400, b"1e-400", b"null", b"true", b"{}", b"[]", b'""', b"-1"),
    *(b"\x00", b"\x1b[31m", "\u202e".encode(), b"\xff\xfe", b"\\ud800", b"\\u0000", b"[" * 200, b"[" * 20_000, b'{"a":' * 60, b"a" * 300),
    *(b"&a [*a]", b"<<: *a", b"---\n", b"\r\n", b"%", b"{{", b",", b":", b'"', b"}", b"]", b"\t", b"\n"),
    *(b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"2026-02-30T25:61:61Z"),
)
"""What parsers get wrong."""

VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 10**400, 2**63, 1e308, "", "\x1b[31m", "x" * 9000, "\ud800", "9999-12-31T23:59:59-23:59",
    "NaN", [], {}, [[]], [None], {"": {}},
)  # fmt: skip
"""What takes the place of a value of JSON."""

_MOST: Final = 64 * 1024
_HERE: Final = 0.15
_WITHIN: Final = 0.6  # of the texts that are JSON are changed as values, so that they stay JSON


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One input: a text of the corpus with one to six changes."""
    chosen = chance.choice(corpus)
    if chosen[:1] in {b"{", b"["} and chance.random() < _WITHIN:
        value = json.loads(chosen)
        for _ in range(chance.randint(1, 4)):
            value = _changed(chance, value)
        return json.dumps(value).encode()
    text = bytearray(chosen)
    for _ in range(chance.randint(1, 6)):
        place, end = sorted((chance.randint(0, len(text)), chance.randint(0, len(text))))
        match chance.randint(0, 6):
            case 0:
                text[place:place] = chance.choice(TOKENS)
            case 1:
                text[place : min(end, place + 20)] = chance.choice(TOKENS)
            case 2:
                del text[place:end]
            case 3:
                text[place:place] = text[place : min(end, place + 2000)]  # keys and entries twice
            case 4:
                other = chance.choice(corpus)
                cut = chance.randint(0, len(other))
                text[place:] = other[cut:]
            case 5 if text:
                text[min(place, len(text) - 1)] ^= 1 << chance.randint(0, 7)
            case _:
                text[place:end] = bytes(chance.randint(0, 255) for _ in range(min(8, end - place)))
    return bytes(text[:_MOST])


def _changed(chance: random.Random, value: Any) -> Any:
    """A value with another one somewhere in it, or with a part less."""
    if not isinstance(value, dict | list) or not value or chance.random() < _HERE:
        return chance.choice(VALUES)
    copy = value.copy()
    place = chance.choice(list(copy)) if isinstance(copy, dict) else chance.randrange(len(copy))
    if chance.random() < _HERE:
        del copy[place]
    else:
        copy[place] = _changed(chance, copy[place])
    return copy
