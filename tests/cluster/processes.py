"""`failoverctl run` as a separate process, under the controller's ServiceAccount."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from failover_harness.control_plane.control_plane import free_ports
from failover_harness.waiting import wait_for
from tests.cluster.stack import Stack

PROGRAM = str(Path(sys.executable).parent / "failoverctl")


def settings_of(stack: Stack) -> dict[str, str]:
    """The environment variables that limit the controller to the stack, where there is no AWS."""
    names = {
        "AWS__APIS": "[]",
        "CLOUDWATCH__ENABLED": "false",
        "HTTP__HOST": "127.0.0.1",
        "POLLS__TICK_INTERVAL_S": "6",
        "KUBERNETES__STATE_NAMESPACE": stack.installation.namespace,
    }
    return {**{f"FAILOVERCTL_{name}": value for name, value in names.items()}, "AWS_REGION": "us-west-2", "NO_COLOR": "1"}


def environment(stack: Stack, *, account: str = "", **policy: Any) -> dict[str, str]:
    """The whole environment of a process that runs alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FAILOVERCTL_")}
    return {
        **inherited,
        **settings_of(stack),
        "FAILOVERCTL_LEADER_ELECTION__ENABLED": "false",
        "FAILOVERCTL_APPLICATIONS": str(stack.application_file(**policy)),
        "KUBECONFIG": str(stack.kubeconfig(account=account)),
    }


class Process:
    """A running controller."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log
        self._ended = False  # by a test

    def application(self) -> dict[str, Any]:
        """Its status of its only application, empty while there is none and once a test has ended it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/status", timeout=5) as answer:
                applications = json.load(answer)["applications"]
        except OSError:  # urllib's own error is one, and so is a connection that is reset halfway
            assert self._ended or self._process.poll() is None, self.log()
            return {}
        return next(iter(applications.values()), {})

    def end(self, number: signal.Signals) -> None:
        """Sends a signal and waits for the end of the process."""
        self._ended = True
        self._process.send_signal(number)
        self._process.wait(timeout=60)

    def log(self) -> str:
        """Everything it logged."""
        return self._log.read_text()


@contextmanager
def run_controller(
    stack: Stack,
    *arguments: str,
    account: str = "",
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (PROGRAM,),
    **policy: Any,
) -> Iterator[Process]:
    """Runs ``failoverctl run``; enters the context after its first decision.

    Args:
        stack: The stack that it serves.
        arguments: Further command-line arguments.
        account: See `Stack.kubeconfig`.
        settings: Further environment variables.
        program: The words that start it.
        policy: See `Stack.application_file`.
    """
    (port,) = free_ports(1)
    path = stack.folder / f"run-{port}.log"
    variables = {**environment(stack, account=account, **policy), **(settings or {}), "FAILOVERCTL_HTTP__PORT": str(port)}
    with path.open("wb") as out:
        process = subprocess.Popen([*program, "run", *arguments], env=variables, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    made = Process(process, port, path)
    try:
        wait_for("its first decision", lambda: bool(made.application()), deadline_s=60)
        yield made
        if process.poll() is None:
            made.end(signal.SIGTERM)
            assert process.returncode == 0, made.log()
    finally:
        if process.poll() is None:
            made.end(signal.SIGKILL)


def command(stack: Stack, *arguments: str, account: str = "", **policy: Any) -> subprocess.CompletedProcess[str]:
    """Runs a ``failoverctl`` command to its end."""
    variables = environment(stack, account=account, **policy)
    return subprocess.run([PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=120, check=False)
