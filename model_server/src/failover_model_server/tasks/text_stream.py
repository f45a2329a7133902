"""Tokens as text while they come: whole characters, and nothing of a stop sequence."""

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
"""What a character decodes to whose last bytes are still to come."""


class TextStream:
    """Turns tokens into text, piece by piece. The pieces together are the text of all tokens, up to the first stop sequence.

    Args:
        decode: text of tokens.
        stops: sequences at which the text ends; they are not part of it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = stops
        self._tokens: list[int] = []
        self._start = 0
        self._read = 0
        self._held = ""
        self.stopped = False
        """A stop sequence has come: no more text will."""

    def add(self, token: int) -> str:
        """The text that is certain with this token: empty while a character is incomplete or a stop sequence may be coming."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._start : self._read])
        now = self._decode(self._tokens[self._start :])
        if now.endswith(BROKEN) or len(now) <= len(before):
            return ""
        self._start, self._read = self._read, len(self._tokens)
        return self._certain(now[len(before) :])

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        if self.stopped:
            return ""
        left = self._decode(self._tokens[self._start :])[len(self._decode(self._tokens[self._start : self._read])) :]
        piece = self._certain(left)
        held, self._held = self._held, ""
        return piece + held

    def _certain(self, piece: str) -> str:
        """Text up to a stop sequence, or up to what may begin one."""
        text = self._held + piece
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _beginning(text: str, stop: str) -> int:
    """Characters at the end of the text that the stop sequence begins with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
