"""Runs the real Karpenter against a control plane and an emulated AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from failover_harness.control_plane.control_plane import ControlPlane, free_ports
from failover_harness.controllers.programs import Program, started
from failover_harness.waiting import wait_for

CLUSTER: Final = "world"
_READY_S: Final = 90.0


@contextmanager
def running(program: Path, plane: ControlPlane, aws: dict[str, str], folder: Path) -> Iterator[Program]:
    """Starts Karpenter, waits until it is ready, and stops it on exit.

    Args:
        program: Its binary.
        plane: The control plane.
        aws: Environment variables that make an SDK use the emulated account.
        folder: Folder of its log.
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
        "ISOLATED_VPC": "true",  # no price list: its service is not emulated
        "DISABLE_DRY_RUN": "true",  # moto lacks the dry run of fleets
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
    }
    with started(program, (), environment, folder / "karpenter.log") as made:
        wait_for("karpenter is ready", lambda: made.ready(health), _READY_S, made.report)
        yield made
