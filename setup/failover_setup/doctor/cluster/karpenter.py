"""Checks of Karpenter."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import AUTO_NODE_CLASSES, NODE_CLAIMS, NODE_CLASSES, NODE_POOLS
from failover_setup.doctor.cluster.components import KARPENTER, step
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.cluster.presence import deployed, kinds, missing_altogether
from failover_setup.doctor.report import Finding, Level, ok, unknown, warning


def karpenter(observed: ClusterObservation) -> Iterator[Finding]:
    """Karpenter runs, in a supported version."""
    if observed.auto_mode and observed.deployment(KARPENTER) is None:
        yield unknown("EKS Auto Mode runs it outside the cluster, which does not show its version, settings, logs and metrics")
    else:
        yield from deployed(observed, KARPENTER, Level.PROBLEM)


def karpenter_kinds(observed: ClusterObservation) -> Iterator[Finding]:
    """NodePools, NodeClaims and EC2NodeClasses, or the NodeClasses of EKS Auto Mode, are served as v1."""
    wanted = (NODE_POOLS, NODE_CLAIMS, NODE_CLASSES)
    if observed.auto_mode and NODE_CLASSES.name not in observed.served:
        yield from kinds(observed, NODE_POOLS, NODE_CLAIMS, AUTO_NODE_CLASSES, component=KARPENTER)
    elif not missing_altogether(observed, KARPENTER, *wanted):
        yield from kinds(observed, *wanted, component=KARPENTER)


def karpenter_settings(observed: ClusterObservation) -> Iterator[Finding]:
    """Karpenter has an interruption queue."""
    workload = observed.deployment(KARPENTER)
    if workload is None:
        return
    if "INTERRUPTION_QUEUE" not in workload.environment:
        yield warning(
            "no interruption queue: Karpenter replaces nodes that EC2 reclaims only after they are gone",
            f"set settings.interruptionQueue: {step(KARPENTER)}",
        )
    else:
        yield ok(f"cluster {workload.environment.get('CLUSTER_NAME') or 'not stated'}, an interruption queue is set")
