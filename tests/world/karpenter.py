"""Runs the real Karpenter against a control plane and an emulated AWS."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3

from tests.control_plane.control_plane import ControlPlane, free_ports
from tests.support.waiting import wait_for

CLUSTER: Final = "world"
_READY_S: Final = 90.0
_STOP_S: Final = 20.0
_LOG_LINES: Final = 30


@dataclass(frozen=True, slots=True)
class Karpenter:
    """A running Karpenter."""

    process: subprocess.Popen[bytes]
    log: Path

    def report(self) -> str:
        """Whether it runs and what it logged last, for the message of a failed test."""
        code = self.process.poll()
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(
            [f"karpenter {'runs' if code is None else f'ended with code {code}'}, and logged last:", *(f"    {one[:400]}" for one in lines)]
        )


@contextmanager
def running(program: Path, plane: ControlPlane, aws: dict[str, str], folder: Path) -> Iterator[Karpenter]:
    """Starts Karpenter, waits until it is ready, and ends it.

    Args:
        program: Its binary.
        plane: The control plane.
        aws: The environment under which an SDK talks to the emulated account.
        folder: For its log.
    """
    metrics, health = free_ports(2)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **aws,
        "KUBECONFIG": str(plane.kubeconfig()),
        "CLUSTER_NAME": CLUSTER,
        "CLUSTER_ENDPOINT": plane.url,
        "SYSTEM_NAMESPACE": "kube-system",
        "DISABLE_LEADER_ELECTION": "true",
        "ISOLATED_VPC": "true",  # no price list from a service that nobody emulates
        "DISABLE_DRY_RUN": "true",  # moto has no dry run of fleets
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
    }
    log = folder / "karpenter.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(program)], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    made = Karpenter(process, log)
    try:
        wait_for("karpenter is ready", lambda: _ready(health), _READY_S, made.report)
        yield made
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_STOP_S)


def _ready(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", timeout=2, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
