"""Checks of Karpenter."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import NODE_CLAIMS, NODE_CLASSES, NODE_POOLS
from controller.doctor.cluster.components import KARPENTER, step
from controller.doctor.cluster.observe import ClusterSeen
from controller.doctor.cluster.presence import deployed, kinds, missing_altogether
from controller.doctor.report import Finding, Level, ok, unknown, warning


def karpenter(seen: ClusterSeen) -> Iterator[Finding]:
    """Karpenter runs, in a version that is known here."""
    if seen.auto_mode and seen.deployment(KARPENTER) is None:
        yield unknown("EKS Auto Mode runs it outside the cluster: its version and settings are not seen here")
    else:
        yield from deployed(seen, KARPENTER, Level.PROBLEM)


def karpenter_kinds(seen: ClusterSeen) -> Iterator[Finding]:
    """NodePools, NodeClaims and EC2NodeClasses are served as v1."""
    wanted = (NODE_POOLS, NODE_CLAIMS, NODE_CLASSES)
    if seen.auto_mode and NODE_CLASSES.name not in seen.served:
        yield from kinds(seen, NODE_POOLS, NODE_CLAIMS, component=KARPENTER)  # Auto Mode has node classes of its own
    elif not missing_altogether(seen, KARPENTER, *wanted):
        yield from kinds(seen, *wanted, component=KARPENTER)


def karpenter_settings(seen: ClusterSeen) -> Iterator[Finding]:
    """It knows its cluster and the queue of interruptions."""
    workload = seen.deployment(KARPENTER)
    if workload is None:
        return
    good = True
    if "INTERRUPTION_QUEUE" not in workload.environment:
        good = False
        yield warning(
            "no interruption queue: nodes that EC2 takes back are replaced only once they are gone",
            f"set settings.interruptionQueue: {step(KARPENTER)}",
        )
    gates = dict(part.partition("=")[::2] for part in workload.environment.get("FEATURE_GATES", "").split(","))
    if gates.get("ReservedCapacity") == "false":
        good = False
        yield warning(
            "the feature gate ReservedCapacity is off: capacity reservations, which hold while on-demand capacity is short, are not used",
            f"set settings.featureGates.reservedCapacity: true: {step(KARPENTER)}",
        )
    if good:
        yield ok(f"cluster {workload.environment.get('CLUSTER_NAME') or 'not told'}, an interruption queue is set")
