"""The checks of the cluster's components in display order, each with the reason why it matters.

To add a check, write a function from a `ClusterObservation` to findings, add a line here and run `make docs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import (
    API_SERVICES,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODE_CLASSES,
    NODE_POOLS,
    NODES,
    SCALED_OBJECTS,
    TRIGGER_AUTHENTICATIONS,
)
from failover_setup.doctor.cluster import auto_mode, devices, karpenter, keda, load_balancer, reservations, watches
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.report import Check, Result

CLUSTER_CHECKS: Final[tuple[Check[ClusterObservation], ...]] = (
    Check(karpenter.karpenter, "It launches the nodes, and its reports of refusals reveal a shortage.", (DEPLOYMENTS,)),
    Check(karpenter.karpenter_kinds, "The controller reads no other version, and would notice no shortage."),
    Check(
        karpenter.karpenter_settings,
        "With the queue it replaces interrupted nodes in time.",
        (DEPLOYMENTS,),
    ),
    Check(
        auto_mode.auto_mode, "Where AWS runs the controllers, it launches no node without these, and much cannot be seen.", (NODE_POOLS,)
    ),
    Check(
        reservations.capacity_reservations,
        "Reservations hold while on-demand capacity is short, but only where gate, node class and NodePool agree on them.",
        (DEPLOYMENTS, NODE_POOLS, NODE_CLASSES),
    ),
    Check(load_balancer.load_balancer_controller, "It applies every mode change to the load balancer.", (DEPLOYMENTS,)),
    Check(load_balancer.load_balancer_kinds, "Without its kinds no target group is known, and no routing object is served."),
    Check(
        load_balancer.load_balancer_flags,
        "By default every request is answered with 503 when an action or its only Service is missing.",
        (DEPLOYMENTS,),
    ),
    Check(
        load_balancer.readiness_gates,
        "Otherwise Kubernetes ends old pods before the load balancer sends requests to the new ones.",
        (NAMESPACES,),
    ),
    Check(
        load_balancer.verification_budget,
        "Beyond it a mode change is verified late, and a foreign change of a rule is noticed late.",
    ),
    Check(watches.watch_scope, "Each watch is a thread and a connection, here and at the API server."),
    Check(keda.keda, "It sets the replicas: the controller scales up the receiving side through it.", (DEPLOYMENTS,)),
    Check(keda.keda_kinds, "Without them the controller can set no target and no floor, and no HPA gets a value.", (API_SERVICES,)),
    Check(
        keda.keda_authentication,
        "A trigger that cannot read CloudWatch scales nothing: the replicas stay as they are, or follow the trigger's fallback.",
        (SCALED_OBJECTS, TRIGGER_AUTHENTICATIONS),
    ),
    Check(
        devices.nvidia_device_plugin,
        "Without it a node offers no GPU, and pods wait although capacity exists.",
        (DAEMON_SETS, NODE_POOLS, NODES),
    ),
    Check(
        devices.neuron_device_plugin,
        "Without it a node offers no Neuron device, and pods wait although capacity exists.",
        (DAEMON_SETS, NODE_POOLS, NODES),
    ),
    Check(
        devices.container_insights,
        "It shows the utilisation of accelerators and nodes, which reveals a unit's breaking point.",
        (DEPLOYMENTS, DAEMON_SETS),
    ),
)


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """The findings about the cluster.

    Attributes:
        observed: What was examined.
        results: Those of each check that applies, in the order of the checks.
    """

    observed: ClusterObservation
    results: tuple[Result, ...]


def examine_cluster(observed: ClusterObservation) -> ClusterReport:
    """Runs every check that applies."""
    results = (Result(check, finding) for check in CLUSTER_CHECKS for finding in check.findings(observed, observed.unreadable))
    return ClusterReport(observed, tuple(results))
