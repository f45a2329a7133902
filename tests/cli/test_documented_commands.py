"""Every `failoverctl` command line that a page shows is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from controller.cli.main import main

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _shown(text: str) -> Iterator[str]:
    """Command lines of shell blocks and of code in sentences; lines that end with a backslash go on."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"^(failoverctl [a-z][^#|;&]*)", line.strip())
    yield from re.findall(r"`(failoverctl [a-z][^`]*)`", text)


COMMANDS: Final = sorted({(page.name, line.strip()) for page in PAGES for line in _shown(page.read_text())})


def _fault(line: str) -> str:
    """What is wrong with a command line, "" if nothing."""
    words = [word for word in shlex.split(line.replace("…", "x")) if word != "x"][1:]
    command: click.Command | None = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.get_command(context, name := words.pop(0))
        if command is None:
            return f"no command {name}"
    assert command is not None
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
    unknown = [word for word in (one.partition("=")[0] for one in words) if re.match(r"--?[a-z]", word) and word not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_documented_command_exists_with_its_options(page: str, line: str) -> None:
    """A reader copies it."""
    assert _fault(line) == "", page


def test_a_wrong_one_is_noticed() -> None:
    """And there are many to check."""
    assert len(COMMANDS) > 50
    assert _fault("failoverctl plam") == "no command plam"
    assert _fault("failoverctl plan --show-request") == "no option --show-request"
    assert _fault("failoverctl notify tset") == "no command tset"
