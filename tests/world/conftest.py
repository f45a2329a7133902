"""The real Karpenter, the real KEDA and the real AWS Load Balancer Controller, on the real control plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failover_harness.control_plane import crds
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.controllers import karpenter, keda, lbc
from failover_harness.controllers.balancing import BalancingFront
from failover_harness.controllers.cloudwatch import CloudWatchFront, Metrics
from failover_harness.controllers.fleets import Capacity, Ec2Front
from failover_harness.controllers.keda import Keda, Programs
from failover_harness.controllers.programs import Program
from failover_testbed.aws.server import EmulatedAws
from tests.cluster.conftest import installed, pytest_runtest_makereport, quick_dwell
from tests.cluster.traffic import publish
from tests.conftest import skip_loudly
from tests.support import closing
from tests.world.adopted import AdoptedStack
from tests.world.balanced import BalancedHandBuilt, BalancedStack, Balancing
from tests.world.manifests import CLUSTER, Manifests, Missing, of_the_same_shape, published
from tests.world.scaled import ScaledBalanced, ScaledStack, ScaledWorld
from tests.world.stack import World
from tests.world.steps import Steps
from tests.world.whole import WholeStack, prepare

__all__ = ["installed", "pytest_runtest_makereport", "quick_dwell"]


@pytest.fixture
def steps(request: pytest.FixtureRequest) -> Iterator[Steps]:
    """The steps of a long test, which the end of the run shows, whether it failed or not."""
    made = Steps()
    yield made
    closing.say(request.config, f"steps of {request.node.name}", made.table())


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    """An emulated account for one test, with machine images for Karpenter."""
    with EmulatedAws(machine_images=True) as account:
        yield account


@pytest.fixture
def capacity() -> Capacity:
    """What EC2 has."""
    return Capacity()


@pytest.fixture
def real_karpenter(
    installed: ControlPlane, karpenter_program: Path, aws: EmulatedAws, capacity: Capacity, tmp_path: Path
) -> Iterator[Program]:
    """Karpenter for one test, like the account, so that neither has state of another test."""
    with karpenter.node_class(installed, aws), _launching(installed, karpenter_program, aws, capacity, tmp_path) as running:
        yield running


@contextmanager
def _launching(plane: ControlPlane, program: Path, aws: EmulatedAws, capacity: Capacity, folder: Path) -> Iterator[Program]:
    """Karpenter with an EC2 that has this capacity."""
    with Ec2Front(aws, capacity) as front:
        environment = {**aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
        with karpenter.running(program, plane, environment, folder) as running:
            yield running


@pytest.fixture
def world(
    installed: ControlPlane, real_karpenter: Program, aws: EmulatedAws, capacity: Capacity, namespace: str, tmp_path: Path
) -> Iterator[World]:
    """An application with one ready replica of every unit."""
    with World(installed, namespace, tmp_path, karpenter=real_karpenter, capacity=capacity, zones=aws.network.subnets) as made:
        yield made


@pytest.fixture
def metrics() -> Metrics:
    """What CloudWatch has."""
    return Metrics()


@pytest.fixture
def real_keda(
    installed: ControlPlane,
    keda_program: Path,
    keda_metrics_program: Path,
    keda_admission_program: Path,
    aws: EmulatedAws,
    metrics: Metrics,
    namespace: str,
    tmp_path: Path,
) -> Iterator[Keda]:
    """KEDA for the test's namespace."""
    programs = Programs(keda_program, keda_metrics_program, keda_admission_program)
    with CloudWatchFront(aws, metrics) as front:
        environment = {**aws.environment(), "AWS_ENDPOINT_URL": front.endpoint}
        with keda.running(programs, installed, environment, tmp_path, namespace) as running:
            yield running


@pytest.fixture
def balancing(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    installed: ControlPlane,
    lbc_program: Path,
    aws: EmulatedAws,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Balancing]:
    """The load-balancer controller of the test's namespace, with an account that everything in this process uses too.

    Its parameter says whether it tolerates Services that do not exist, which `deploy/cluster` lets it not.
    """
    if not crds.UPSTREAM.is_dir():
        skip_loudly(pytestconfig, "WITH A REAL AWS-LOAD-BALANCER-CONTROLLER", "it needs its own definitions; see shared/crds")
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    tolerant = getattr(request, "param", False)
    with BalancingFront(aws) as front, lbc.running(lbc_program, installed, namespace, front, tmp_path, tolerant=tolerant) as made:
        yield Balancing(aws, front, made, tolerant)


@pytest.fixture
def balanced(
    request: pytest.FixtureRequest, installed: ControlPlane, namespace: str, tmp_path: Path, balancing: Balancing
) -> Iterator[BalancedStack]:
    """The rendered stack behind its load balancer, with one ready replica of every unit; its parameter is the variant."""
    with BalancedStack(installed, namespace, tmp_path, balancing, getattr(request, "param", "")) as made:
        yield made


@pytest.fixture
def built(installed: ControlPlane, namespace: str, tmp_path: Path, balancing: Balancing) -> Iterator[BalancedHandBuilt]:
    """The stack built by hand behind its load balancer, with two hours of traffic."""
    publish(balancing.aws)
    with BalancedHandBuilt(installed, namespace, tmp_path, balancing) as made:
        yield made


@pytest.fixture
def scaled(installed: ControlPlane, real_keda: Keda, metrics: Metrics, namespace: str, tmp_path: Path) -> Iterator[ScaledStack]:
    """The rendered stack, scaled by KEDA, with one ready replica of every unit."""
    with ScaledStack(installed, namespace, tmp_path, keda=real_keda, metrics=metrics) as made:
        yield made


@pytest.fixture
def scaled_world(
    installed: ControlPlane,
    real_karpenter: Program,
    real_keda: Keda,
    aws: EmulatedAws,
    capacity: Capacity,
    metrics: Metrics,
    namespace: str,
    tmp_path: Path,
) -> Iterator[ScaledWorld]:
    """An application that the real KEDA scales, on nodes that the real Karpenter launches, with one ready replica of every unit."""
    zones = aws.network.subnets
    with ScaledWorld(
        installed, namespace, tmp_path, keda=real_keda, metrics=metrics, karpenter=real_karpenter, capacity=capacity, zones=zones
    ) as made:
        yield made


@pytest.fixture
def unscaled(
    installed: ControlPlane,
    balancing: Balancing,
    karpenter_program: Path,
    aws: EmulatedAws,
    capacity: Capacity,
    namespace: str,
    tmp_path: Path,
) -> Iterator[WholeStack]:
    """The rendered stack behind its load balancer, with one ready replica of every unit, each on a node launched for it; no KEDA."""
    prepare(aws)
    with _launching(installed, karpenter_program, aws, capacity, tmp_path) as running:
        zones = aws.network.subnets
        with WholeStack(installed, namespace, tmp_path, balancing, karpenter=running, capacity=capacity, zones=zones) as made:
            yield made


@pytest.fixture
def whole(real_keda: Keda, unscaled: WholeStack) -> WholeStack:
    """The same, scaled by KEDA."""
    return unscaled


@pytest.fixture(params=[of_the_same_shape, published], ids=["of the same shape", "as published"])
def adopted(
    request: pytest.FixtureRequest,
    installed: ControlPlane,
    balancing: Balancing,
    karpenter_program: Path,
    real_keda: Keda,
    aws: EmulatedAws,
    capacity: Capacity,
    metrics: Metrics,
    namespace: str,
    tmp_path: Path,
) -> Iterator[AdoptedStack]:
    """The AWS sample's stack as its manifests say, with one ready replica of every unit, each on a node launched for it."""
    try:
        manifests: Manifests = request.param(namespace)
    except Missing as error:
        skip_loudly(request.config, "ON THE PUBLISHED AWS SAMPLE", str(error))
    prepare(aws, CLUSTER)
    publish(aws, manifests.units)
    with _launching(installed, karpenter_program, aws, capacity, tmp_path) as running:
        place, scaling, zones = (installed, namespace, tmp_path, balancing), {"keda": real_keda, "metrics": metrics}, aws.network.subnets
        with AdoptedStack(*place, manifests=manifests, **scaling, karpenter=running, capacity=capacity, zones=zones) as made:
            yield made


@pytest.fixture
def scaled_balanced(
    installed: ControlPlane, real_keda: Keda, metrics: Metrics, balancing: Balancing, namespace: str, tmp_path: Path
) -> Iterator[ScaledBalanced]:
    """The rendered stack, scaled by KEDA, behind its load balancer, with one ready replica of every unit."""
    with ScaledBalanced(installed, namespace, tmp_path, balancing, keda=real_keda, metrics=metrics) as made:
        yield made
