"""The real Karpenter, and the real AWS Load Balancer Controller, on the real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from controller.embedded.aws import EmulatedAws
from tests.cluster.conftest import installed, pytest_runtest_makereport
from tests.control_plane import crds
from tests.control_plane.control_plane import ControlPlane
from tests.world import lbc
from tests.world.balanced import BalancedStack, Balancing
from tests.world.balancing import BalancingFront
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


@pytest.fixture
def balancing(
    installed: ControlPlane, lbc_program: Path, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Balancing]:
    """The load-balancer controller of the test's namespace, with an account of its own that everything in this process asks as well."""
    if not crds.UPSTREAM.is_dir():
        pytest.skip("the load-balancer controller needs its own definitions; see shared/crds")
    with ExitStack() as stack:
        aws = stack.enter_context(EmulatedAws())
        front = stack.enter_context(BalancingFront(aws))
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        made = stack.enter_context(lbc.running(lbc_program, installed, namespace, front, tmp_path))
        yield Balancing(aws, front, made)


@pytest.fixture
def balanced(installed: ControlPlane, namespace: str, tmp_path: Path, balancing: Balancing) -> Iterator[BalancedStack]:
    """The rendered stack behind its load balancer, with one ready replica of every unit."""
    with BalancedStack(installed, namespace, tmp_path, balancing) as made:
        yield made


@pytest.fixture
def in_place(installed: ControlPlane, namespace: str, tmp_path: Path, balancing: Balancing) -> Iterator[BalancedStack]:
    """The same, whose capacity mode weights the units' own Services."""
    with BalancedStack(installed, namespace, tmp_path, balancing, style="in-place") as made:
        yield made
