"""Walks through JSON from mark to mark, so that a long list can be decoded one value at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")


class JsonWalk:
    """A place in a JSON text, which moves towards its end.

    Args:
        text: The JSON.
        decoder: Decodes its values.
    """

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text, self._decoder, self._at = text, decoder, 0

    def passes(self, mark: str) -> bool:
        """Whether this mark is next. If so, moves past it."""
        self._skip_space()
        found = self._text.startswith(mark, self._at)
        self._at += len(mark) if found else 0
        return found

    def need(self, mark: str) -> None:
        """Moves past a mark.

        Raises:
            ValueError: Something else is next.
        """
        if not self.passes(mark):
            raise json.JSONDecodeError(f"Expecting {mark!r}", self._text, self._at)

    def need_end(self) -> None:
        """Checks that nothing is left.

        Raises:
            ValueError: Something is.
        """
        self._skip_space()
        if self._at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)

    def value(self) -> Any:  # noqa: ANN401 - any JSON
        """Decodes the next value, and moves past it.

        Raises:
            ValueError: None is next.
            RecursionError: It is nested too deeply.
        """
        self._skip_space()
        value, self._at = self._decoder.raw_decode(self._text, self._at)
        return value

    def key(self) -> str:
        """Decodes the next key of an object, and moves past its colon.

        Raises:
            ValueError: None is next.
        """
        before, key = self._at, self.value()
        if not isinstance(key, str):
            raise json.JSONDecodeError("Expecting a property name", self._text, before)
        self.need(":")
        return key

    def parts(self, end: str) -> Iterator[None]:
        """Stops at each of the parts that commas separate, and moves past the bracket after the last one.

        Raises:
            ValueError: Neither a comma nor the bracket is next.
        """
        if self.passes(end):
            return
        yield
        while self.passes(","):
            yield
        self.need(end)

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        self._at = self._at if space is None else space.end()
