"""A person's shell beside the servers of ``demo --serve``."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from failover_testbed.demo.scenario import builtin

PROGRAMS: Final = Path(sys.executable).parent
READER: Final = "READ_ONLY_KUBECONFIG"
"""The variable with the kubeconfig of somebody who may only read."""
_NAMED: Final[Mapping[str, str]] = {"APPLICATION": "default/sd21", "FILE": "$APPLICATION_FILE"}
"""What stands for a value of the reader's own."""
_COMMAND_S: Final = 120.0


@contextmanager
def running(*arguments: str, variables: Mapping[str, str], stdout: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[str]]:
    """A ``failoverctl`` command in a process of its own."""
    process = subprocess.Popen(
        [PROGRAMS / "failoverctl", *arguments], env={**os.environ, **variables}, stdout=stdout, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def printed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables that ``demo --serve`` sets in a shell, and its other kubeconfig and the application file as two of them."""
    for line in lines:
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            yield name, value
        elif line.startswith("# read-only kubeconfig: "):
            yield READER, line.split(": ")[1].strip()
        elif line.startswith("# application files: "):
            yield "APPLICATION_FILE", line.split(": ")[1].strip()
            return


def typed(command: str, shell: Mapping[str, str], home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as it is printed; a question is answered with yes.

    Args:
        command: As a page prints it.
        shell: The variables of ``demo --serve``. What kubectl does, a person does who may only read.
        home: The person's home.
    """
    for name, value in _NAMED.items():
        command = re.sub(rf"\b{name}\b", value, command)
    reader = {"KUBECONFIG": shell[READER]} if command.startswith("kubectl") else {}
    variables = {**os.environ, **shell, **reader, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(home)}
    with _terminal("y\n") as keys:
        return subprocess.run(
            ["bash", "-c", command], env=variables, stdin=keys, capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )


@contextmanager
def _terminal(keys: str) -> Iterator[int]:
    """A terminal on which somebody has typed this: commands that ask do so on no other input."""
    person, program = os.openpty()
    os.write(person, keys.encode())
    try:
        yield program
    finally:
        os.close(program)
        os.close(person)


def short_scenario(folder: Path, shortage: Mapping[str, object] | None = None) -> Path:
    """A scenario in real time in which EC2 refuses inf2 from the start; the test sets the demand."""
    source = builtin("seed")
    document = yaml.safe_load(source.read_text())
    application = yaml.safe_load((source.parent / document["applications"]).read_text())
    application["spec"]["policy"].update({"patienceSeconds": 1})
    (folder / "application.yaml").write_text(yaml.safe_dump(application))
    document |= {
        "applications": "application.yaml",
        "factor": 1,
        "fleet": "all-zones",  # one zone a launch takes twenty seconds more, in real time
        "durationSeconds": 3600,
        "demand": {"points": [{"atSeconds": 0, "requests": 1500}]},
        "events": [{"atSeconds": 1, "shortage": {"instanceTypes": ["inf2.xlarge"], **(shortage or {})}}],
        "expect": [],
    }
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
