"""What the identities of the emulated cluster may do: the same as on a real cluster."""

from __future__ import annotations

from typing import Final

from failover_testbed.kube_api import Rule

_READ: Final = ("get", "list", "watch")
_CONFIGURATIONS: Final = ("loadbalancerconfigurations", "targetgroupconfigurations", "listenerruleconfigurations")


def _rule(group: str, resources: tuple[str, ...], verbs: tuple[str, ...]) -> Rule:
    return Rule(frozenset({group}), frozenset(resources), frozenset(verbs))


CONTROLLER: Final = (
    _rule("", ("pods", "services"), _READ),
    _rule("", ("events",), (*_READ, "create", "patch")),
    _rule("", ("configmaps",), (*_READ, "create", "update", "patch")),
    _rule("apps", ("deployments", "statefulsets"), _READ),
    _rule("argoproj.io", ("rollouts",), _READ),
    _rule("leaderworkerset.x-k8s.io", ("leaderworkersets",), _READ),
    _rule("discovery.k8s.io", ("endpointslices",), _READ),
    _rule("networking.k8s.io", ("ingresses",), (*_READ, "patch")),
    _rule("gateway.networking.k8s.io", ("httproutes", "grpcroutes"), (*_READ, "patch")),
    _rule("gateway.networking.k8s.io", ("gateways", "referencegrants"), _READ),
    _rule("gateway.k8s.aws", _CONFIGURATIONS, _READ),
    _rule("karpenter.sh", ("nodeclaims", "nodepools"), _READ),
    _rule("karpenter.k8s.aws", ("ec2nodeclasses",), _READ),
    _rule("keda.sh", ("scaledobjects",), (*_READ, "patch")),
    _rule("elbv2.k8s.aws", ("targetgroupbindings",), _READ),
    _rule("eks.amazonaws.com", ("targetgroupbindings", "nodeclasses"), _READ),
    _rule("coordination.k8s.io", ("leases",), (*_READ, "create", "update", "patch")),
    _rule("failoverctl.dev", ("failoverapplications",), _READ),
    _rule("failoverctl.dev", ("failoverapplications/status",), ("patch",)),
)
"""The controller under test."""

LOAD_BALANCER_CONTROLLER: Final = (
    _rule("", ("services",), _READ),
    _rule("", ("events",), ("get", "create", "patch")),
    _rule("discovery.k8s.io", ("endpointslices",), _READ),
    _rule("networking.k8s.io", ("ingresses", "ingresses/status"), (*_READ, "patch", "update")),
    _rule("elbv2.k8s.aws", ("targetgroupbindings", "targetgroupbindings/status"), (*_READ, "create", "patch", "update", "delete")),
    _rule("gateway.networking.k8s.io", ("gatewayclasses", "gateways", "httproutes", "grpcroutes", "referencegrants"), (*_READ, "patch")),
    _rule("gateway.networking.k8s.io", ("gateways/status", "httproutes/status", "grpcroutes/status"), ("get", "patch", "update")),
    _rule("gateway.k8s.aws", _CONFIGURATIONS, (*_READ, "patch")),
    _rule("gateway.k8s.aws", tuple(f"{name}/status" for name in _CONFIGURATIONS), ("get", "patch", "update")),
)
"""The fake of the AWS Load Balancer Controller."""
