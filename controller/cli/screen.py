"""Shows something again and again: redrawn in place on a terminal, else a line for each change."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Iterable
from typing import Final

import click

from controller.cli.common import colour, show, styled
from controller.cli.words import Line

_HOME: Final = "\033[H"
_CLEAR_SCREEN: Final = "\033[2J"
_CLEAR_LINE: Final = "\033[K"
_CLEAR_BELOW: Final = "\033[J"
_HIDE_CURSOR: Final = "\033[?25l"
_SHOW_CURSOR: Final = "\033[?25h"


class Screen:
    """Redraws a terminal in place: each line overwrites the one before it, so nothing flickers."""

    def __init__(self) -> None:
        self._begun = False

    def draw(self, lines: Iterable[Line]) -> None:
        """Draws the lines over what was drawn before; what is beyond the edges of the terminal is left out.

        A line that the terminal wraps takes two of its lines, and the next drawing would begin above the first.
        """
        width, height = shutil.get_terminal_size()
        shown = [(style, text[:width]) for style, text in lines]
        if len(shown) >= height:
            shown = [*shown[: max(0, height - 2)], ("dim", f"… {len(shown) - height + 2} more line(s)")]
        text = "".join(f"{styled(line)}{_CLEAR_LINE}\n" for line in shown)
        click.echo(f"{'' if self._begun else _HIDE_CURSOR + _CLEAR_SCREEN}{_HOME}{text}{_CLEAR_BELOW}", nl=False, color=colour())
        self._begun = True

    def close(self) -> None:
        """Gives the cursor back. What was drawn last stays."""
        if self._begun:
            click.echo(_SHOW_CURSOR, nl=False)
            self._begun = False


class Changes:
    """Prints a line when what it stands for has changed."""

    def __init__(self) -> None:
        self._shown: dict[str, Hashable] = {}

    def draw(self, key: str, essence: Hashable, line: Line) -> None:
        """Prints the line if the essence differs from that of the last line with this key."""
        if self._shown.get(key) != essence:
            self._shown[key] = essence
            show([line])
