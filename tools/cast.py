"""Records `failoverctl demo` as an asciicast and draws it as a moving picture for README.

``python -m tools.cast`` writes docs/demo.cast and docs/images/demo.svg in about a minute. Times and prices differ each time, so a test
checks that the picture is the recording's and that the recording's first and last words are still the program's.
"""

from __future__ import annotations

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CAST: Final = ROOT / "docs" / "demo.cast"
PICTURE: Final = ROOT / "docs" / "images" / "demo.svg"
COMMAND: Final = ("failoverctl", "demo")
TITLE: Final = "A shortage, with failover and fallback"
COLUMNS: Final = 120
ROWS: Final = 26

_STYLE: Final = re.compile(r"\x1b\[([\d;]*)m")
_COLOURS: Final = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea", "2": "#8b949e"}
_PLAIN: Final = "#e6edf3"
_LINE: Final = 17
_WIDTH: Final = 8 * COLUMNS + 24
_HEIGHT: Final = _LINE * ROWS + 24
_IDLE_S: Final = 2.0
"""The longest wait that is shown, seconds: players read it in the asciicast's header, and the picture keeps it too."""
_HOLD_S: Final = 8.0
"""How long the last words stay before the picture begins anew, seconds."""


def recorded() -> Iterator[tuple[float, str]]:
    """What the program writes to a terminal: seconds since it began to write, and the text."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    program = Path(sys.executable).with_name(COMMAND[0])
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen([program, *COMMAND[1:]], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL, env=variables) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as screen:
            begin = None
            pending = b""
            while data := _read(screen.fileno()):
                pending += data
                whole, _, pending = pending.rpartition(b"\n")
                begin = time.monotonic() if begin is None else begin
                if whole:
                    yield time.monotonic() - begin, whole.decode() + "\n"
    if process.returncode:
        raise SystemExit(f"{' '.join(COMMAND)} ended with {process.returncode}")


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError:  # Linux says so when the program has ended
        return b""


def cast(events: Iterator[tuple[float, str]]) -> str:
    """An asciicast of version 2."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "command": " ".join(COMMAND), "title": TITLE, "idle_time_limit": _IDLE_S}
    prompt = (0.0, f"$ {' '.join(COMMAND)}\r\n")
    written = [header, *([round(at, 2), "o", said] for at, said in (prompt, *events))]
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in written)


def lines(text: str) -> Iterator[tuple[float, str]]:
    """The lines of an asciicast as the terminal shows them, broken at its edge, each with its time without long waits, seconds."""
    at = last = 0.0
    for event in text.splitlines()[1:]:
        since, _, said = json.loads(event)
        at, last = at + min(since - last, _IDLE_S), since
        for line in said.splitlines():
            yield from ((at, part) for part in _broken(line))


def _broken(line: str) -> Iterator[str]:
    """A line in parts that the terminal has room for; a part keeps the style in which the one before it ended."""
    part, room, style = "", COLUMNS, ""
    for piece in re.split(r"(\x1b\[[\d;]*m)", line):
        if _STYLE.fullmatch(piece):
            part, style = part + piece, piece
            continue
        rest = piece
        while len(rest) > room:
            yield part + rest[:room]
            part, rest, room = style, rest[room:], COLUMNS
        part, room = part + rest, room - len(rest)
    yield part


def plain(line: str) -> str:
    """A line without its styles."""
    return _STYLE.sub("", line)


def picture(text: str) -> str:
    """A moving SVG of an asciicast: all lines below each other, of which a window of `ROWS` follows the time.

    Who has asked for no motion sees the last lines.
    """
    shown = [*lines(text)]
    whole = shown[-1][0] + _HOLD_S
    moves = {at: _moved(count) for count, (at, _) in enumerate(shown, 1)}
    frames = "".join(f"{100 * at / whole:.2f}%{{transform:translateY({by}px)}}" for at, by in moves.items())
    end = f"transform:translateY({_moved(len(shown))}px)"
    style = f"text{{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:{_PLAIN}}}g{{{end}}}"
    style += f"@media(prefers-reduced-motion:no-preference){{g{{animation:t {whole:.1f}s step-end infinite}}}}"
    style += f"@keyframes t{{{frames}100%{{{end}}}}}"
    body = "".join(f'<text x="12" y="{24 + _LINE * row}">{_spans(line)}</text>\n' for row, (_, line) in enumerate(shown))
    window = f'<svg width="{_WIDTH}" height="{_HEIGHT - 6}"><g>{body}</g></svg>'  # an inner one cuts off what is outside of it
    frame = f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#0d1117"/>'
    title = f"<title>{escape(' '.join(COMMAND))}</title>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
    return f"{head}{title}<style>{style}</style>{frame}{window}</svg>\n"


def _moved(count: int) -> int:
    """How far the lines are moved once `count` of them are written, pixels: the last is the lowest; those to come are below the window."""
    return _LINE * (ROWS - count)


def _spans(line: str) -> str:
    """A line as the contents of a text element."""
    parts, colour = _STYLE.split(line), _PLAIN
    made = ""
    for place, part in enumerate(parts):
        if place % 2:
            colour = next((_COLOURS[code] for code in part.split(";") if code in _COLOURS), _PLAIN)
        elif part:
            made += escape(part, quote=False) if colour == _PLAIN else f'<tspan fill="{colour}">{escape(part, quote=False)}</tspan>'
    return made


if __name__ == "__main__":
    CAST.write_text(cast(recorded()))
    PICTURE.write_text(picture(CAST.read_text()))
