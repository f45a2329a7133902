"""Each command of the runbooks works as it is printed: against the servers of `demo --serve`, with a controller that runs beside it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

import pytest

from controller.clients.kube import LEASES, KubeSession, connect
from controller.errors import NotFound
from failover_harness.waiting import wait_for

pytestmark = pytest.mark.timeout(300)

RUNBOOKS: Final = Path(__file__).parents[3] / "docs" / "runbooks"
PROGRAMS: Final = Path(sys.executable).parent
_LEASE: Final = ("failover-system", "failoverctl")
_STARTS_S: Final = 60.0
_READ_ONLY: Final = "READ_ONLY_KUBECONFIG"

ELSEWHERE: Final[Mapping[str, str]] = {
    "aws cloudwatch list-metrics": "AWS's command line is no part of this environment",
    "kubectl -n failover-system logs deploy/failoverctl --tail=100": "a kubelet has the logs, and the servers have none",
    "kubectl -n kube-system logs deploy/aws-load-balancer-controller --tail=100": "a kubelet has the logs, and the servers have none",
}
"""Commands that these servers cannot answer, each with the reason."""
NAMED: Final[Mapping[str, str]] = {"APPLICATION": "default/sd21", "FILE": "$FAILOVERCTL_APPLICATIONS"}
"""What stands for a value of the reader's own."""
ABOUT: Final = frozenset({"failoverctl", "failoverctl replay"})
"""Names of a program or a command in a sentence, which nobody runs so."""


def _commands() -> list[str]:
    """The commands in the text of all runbooks, each once."""
    found: dict[str, None] = {}
    for path in sorted(RUNBOOKS.glob("*.md")):
        for command in re.findall(r"`((?:failoverctl|kubectl|aws|helm) [^`]*)`", path.read_text()):
            found[" ".join(command.split())] = None
    return [command for command in found if command not in ABOUT]


COMMANDS: Final = [command for command in _commands() if command not in ELSEWHERE]


@contextmanager
def _running(*arguments: str, variables: Mapping[str, str], stdout: int = subprocess.DEVNULL) -> Iterator[IO[str] | None]:
    """A ``failoverctl`` command in a process of its own; yields what it prints, if that is a pipe."""
    process = subprocess.Popen(
        [PROGRAMS / "failoverctl", *arguments], env={**os.environ, **variables}, stdout=stdout, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        try:
            yield process.stdout
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _printed(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The variables that ``demo --serve`` sets in a shell, and its other kubeconfig as one of them."""
    for line in lines:
        if line.startswith("export "):
            name, _, value = shlex.split(line)[1].partition("=")
            yield name, value
        elif line.startswith("# read-only kubeconfig: "):
            yield _READ_ONLY, line.split(": ")[1].strip()
            return


@pytest.fixture
def shell() -> Iterator[Mapping[str, str]]:
    """The variables of ``demo --serve``, with a controller that leads."""
    with _running("demo", "--serve", variables={}, stdout=subprocess.PIPE) as lines:
        assert lines is not None
        variables = dict(_printed(lines))
        with _running("run", variables={**variables, "FAILOVERCTL_HTTP__PORT": "0", "FAILOVERCTL_HTTP__HOST": "127.0.0.1"}):
            with closing(connect(kubeconfig=variables["KUBECONFIG"])) as session:
                wait_for("a controller that leads", partial(_leads, session), _STARTS_S)
            yield variables


def _leads(session: KubeSession) -> bool:
    try:
        return bool(session.get(LEASES, *_LEASE)["spec"].get("holderIdentity"))
    except NotFound:
        return False


def test_every_command_works_as_printed(shell: Mapping[str, str], tmp_path: Path) -> None:
    """It says something and ends with 0, also where it asks first and the answer is yes."""
    failed = {command: done for command in COMMANDS if (done := _answered(command, shell, tmp_path))}
    assert failed == {}


def _answered(command: str, shell: Mapping[str, str], home: Path) -> str:
    """What is wrong with the answer to a command, "" if nothing is."""
    for name, value in NAMED.items():
        command = re.sub(rf"\b{name}\b", value, command)
    reader = {"KUBECONFIG": shell[_READ_ONLY]} if command.startswith("kubectl") else {}
    variables = {**os.environ, **shell, **reader, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(home)}
    with _terminal("y\n") as typed:
        done = subprocess.run(["bash", "-c", command], env=variables, stdin=typed, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    return f"ended with {done.returncode}: {said}" if done.returncode or not said else ""


@contextmanager
def _terminal(typed: str) -> Iterator[int]:
    """A terminal on which somebody has typed this: commands that ask do so on no other input."""
    person, program = os.openpty()
    os.write(person, typed.encode())
    try:
        yield program
    finally:
        os.close(program)
        os.close(person)


def test_what_cannot_run_here_is_in_a_runbook() -> None:
    """Else its line above has no use."""
    assert ELSEWHERE.keys() <= set(_commands())
