"""What commands do not load: `--help` needs click alone, and `failoverctl run` runs for months under a limit of memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from controller.cli.main import _COMMANDS

_HELP: Final = """
import contextlib, io, json, sys

before = set(sys.modules)
import click
from controller.cli.main import _COMMANDS, main

loaded = {}

def helped(*words):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    assert "Usage: " in said.getvalue(), words
    loaded[" ".join(words)] = sorted(set(sys.modules) - before)

helped()
for name in _COMMANDS:
    helped(name)
    command = main.get_command(click.Context(main), name)
    for inner in getattr(command, "commands", ()):
        helped(name, inner)
print(json.dumps(loaded))
"""

_LIGHT: Final = re.compile(
    r"(controller|failover_setup|failover_analysis|failover_testbed)(\.cli(\.commands(\.\w+)?)?)?"
    r"|controller\.(cli\.(main|common)|clock|errors|policy|policy\.names)"
    r"|failover_setup\.doctor(\.gitops_tools)?"
    r"|failover_analysis\.(cli\.limits|report|report\.built_in_policies)"
)
"""Our own modules that may be loaded: they hold signatures, names and limits, and import nothing outside of this list."""


def _python(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """By command, what is loaded after its help; each has what those before it loaded, too."""
    found: dict[str, list[str]] = json.loads(_python(_HELP))
    return found


def test_the_help_of_every_command_loads_click_and_nothing_else(loaded: dict[str, list[str]]) -> None:
    """A person who asks for an option waits for nothing that the command would need."""
    assert {*_COMMANDS, "", "notify test", "config check"} == set(loaded)
    allowed = sys.stdlib_module_names | {"click"}
    for command, modules in loaded.items():
        heavy = [one for one in modules if one.partition(".")[0] not in allowed and not _LIGHT.fullmatch(one)]
        assert not heavy, f"failoverctl {command} --help loads {', '.join(heavy)}"


def test_the_help_of_every_command_loads_no_network_and_no_processes(loaded: dict[str, list[str]]) -> None:
    """The parts of the standard library that take long."""
    for command, modules in loaded.items():
        heavy = {"asyncio", "http.client", "importlib.metadata", "multiprocessing", "ssl", "subprocess", "unittest"} & set(modules)
        assert not heavy, f"failoverctl {command} --help loads {', '.join(sorted(heavy))}"


_RUN: Final = """
import sys
from controller.cli.main import main
try:
    main(["run", "--dry-run", "--applications", sys.argv[1]])
except SystemExit as error:
    assert error.code == 1
print(*sorted({"structlog", "rich"} & sys.modules.keys()))
import rich
"""


def test_the_controller_runs_without_rich_and_a_later_import_gets_it(tmp_path: Path) -> None:
    """The logging library would import it, for tracebacks on a terminal."""
    assert _python(_RUN, str(tmp_path / "absent")).splitlines()[-1] == "structlog"


_OBSERVES: Final = """
import importlib, sys
for name in ("explain", "history", "overrides", "plan", "status"):
    importlib.import_module(f"controller.cli.{name}")
print(*sorted({"apscheduler", "prometheus_client", "controller.service.controller", "controller.service.http"} & sys.modules.keys()))
import controller.service.wiring
print("apscheduler" in sys.modules)
"""


def test_what_observes_once_loads_no_service() -> None:
    """A person who asks for `plan` or `status` waits for no scheduler, metrics, server or loop."""
    assert _python(_OBSERVES).splitlines() == ["", "True"]
