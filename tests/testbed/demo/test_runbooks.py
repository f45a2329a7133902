"""Each command of the runbooks works as it is printed: against the servers of `demo --serve`, with a controller that runs beside it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from controller.clients.kube import LEASES, KubeSession, connect
from controller.errors import NotFound
from failover_harness.waiting import wait_for
from tests.testbed.demo.shell import printed, running, typed

pytestmark = pytest.mark.timeout(300)

RUNBOOKS: Final = Path(__file__).parents[3] / "docs" / "runbooks"
_LEASE: Final = ("failover-system", "failoverctl")
_STARTS_S: Final = 60.0

ELSEWHERE: Final[Mapping[str, str]] = {
    "aws cloudwatch list-metrics": "AWS's command line is no part of this environment",
    "kubectl -n failover-system logs deploy/failoverctl --tail=100": "a kubelet has the logs, and the servers have none",
    "kubectl -n kube-system logs deploy/aws-load-balancer-controller --tail=100": "a kubelet has the logs, and the servers have none",
}
"""Commands that these servers cannot answer, each with the reason."""
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


@pytest.fixture
def shell() -> Iterator[Mapping[str, str]]:
    """The variables of ``demo --serve``, with a controller that leads."""
    with running("demo", "--serve", variables={}, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        variables = dict(printed(server.stdout))
        with running("run", variables={**variables, "FAILOVERCTL_HTTP__PORT": "0", "FAILOVERCTL_HTTP__HOST": "127.0.0.1"}):
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
    done = typed(command, shell, home)
    said = done.stdout + done.stderr
    return f"ended with {done.returncode}: {said}" if done.returncode or not said else ""


def test_what_cannot_run_here_is_in_a_runbook() -> None:
    """Else its line above has no use."""
    assert ELSEWHERE.keys() <= set(_commands())
