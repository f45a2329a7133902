"""The real Karpenter on the real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.embedded.aws import EmulatedAws
from tests.cluster.conftest import installed, pytest_runtest_makereport
from tests.control_plane.control_plane import ControlPlane
from tests.world.fleets import Capacity, Ec2Front
from tests.world.karpenter import running
from tests.world.stack import World, node_class

__all__ = ["installed", "pytest_runtest_makereport"]


@pytest.fixture
def world(installed: ControlPlane, karpenter_program: Path, namespace: str, tmp_path: Path) -> Iterator[World]:
    """An application with one ready replica of every unit; account and Karpenter are its own, so that neither remembers another test."""
    with ExitStack() as stack:
        aws = stack.enter_context(EmulatedAws())
        capacity = Capacity()
        front = stack.enter_context(Ec2Front(aws, capacity))
        stack.enter_context(node_class(installed, aws))
        environment = {**aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
        karpenter = stack.enter_context(running(karpenter_program, installed, environment, tmp_path))
        zones = aws.network.subnets
        yield stack.enter_context(World(installed, namespace, tmp_path, karpenter=karpenter, capacity=capacity, zones=zones))
