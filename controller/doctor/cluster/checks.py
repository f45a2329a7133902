"""The checks of the cluster's components, in the order in which they are shown, and what each is for.

To add one: a function from what was seen to findings, a line here, `make docs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import (
    API_SERVICES,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODE_POOLS,
    NODES,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
)
from controller.doctor.cluster import devices, karpenter, keda, load_balancer
from controller.doctor.cluster.observe import ClusterSeen
from controller.doctor.report import Check, Result

CLUSTER_CHECKS: Final[tuple[Check[ClusterSeen], ...]] = (
    Check(karpenter.karpenter, "It launches the nodes, and what it says of refused launches is how a shortage is noticed.", (DEPLOYMENTS,)),
    Check(karpenter.karpenter_kinds, "In another version they are not read, and no shortage is noticed."),
    Check(karpenter.karpenter_settings, "With them nodes that go are replaced in time, and reserved capacity is used.", (DEPLOYMENTS,)),
    Check(load_balancer.load_balancer_controller, "It carries every switch from the Ingress to the load balancer.", (DEPLOYMENTS,)),
    Check(load_balancer.load_balancer_kinds, "Without its kinds no target group is known, and no Ingress is served."),
    Check(
        load_balancer.load_balancer_flags,
        "By default it answers every request with 503 when an action or its only Service is missing.",
        (DEPLOYMENTS,),
    ),
    Check(
        load_balancer.readiness_gates,
        "Otherwise Kubernetes ends old pods while the load balancer does not send requests to the new ones yet.",
        (NAMESPACES,),
    ),
    Check(keda.keda, "It sets the replicas: a side that is to receive traffic is raised through it.", (DEPLOYMENTS,)),
    Check(keda.keda_kinds, "Without them no target and no floor can be set, and no HPA gets a value.", (API_SERVICES,)),
    Check(
        keda.keda_authentication,
        "A trigger that cannot read CloudWatch scales nothing: the replicas stay as they are, or go where its fallback says.",
        (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS),
    ),
    Check(
        devices.nvidia_device_plugin,
        "Without it a node offers no GPU, and pods wait although there is capacity.",
        (DAEMON_SETS, NODE_POOLS, NODES),
    ),
    Check(
        devices.neuron_device_plugin,
        "Without it a node offers no Neuron device, and pods wait although there is capacity.",
        (DAEMON_SETS, NODE_POOLS, NODES),
    ),
    Check(
        devices.container_insights,
        "It shows use of accelerators and nodes, which tells where a unit's breaking point is.",
        (DEPLOYMENTS, DAEMON_SETS),
    ),
)


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What is known of the cluster.

    Attributes:
        seen: What was looked at.
        results: In the order of the checks; those that have nothing to ask are left out.
    """

    seen: ClusterSeen
    results: tuple[Result, ...]


def examine_cluster(seen: ClusterSeen) -> ClusterReport:
    """Makes every check that has something to ask."""
    results = (Result(check, finding) for check in CLUSTER_CHECKS for finding in check.findings(seen, seen.unreadable))
    return ClusterReport(seen, tuple(results))
