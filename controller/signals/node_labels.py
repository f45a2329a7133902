"""The labels by which nodes, NodeClaims and requirements say which instance they are."""

from __future__ import annotations

from typing import Final

POOL_LABEL: Final = "karpenter.sh/nodepool"
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
CAPACITY_LABEL: Final = "karpenter.sh/capacity-type"
RESERVATION_LABEL: Final = "karpenter.k8s.aws/capacity-reservation-id"
RESERVATION_TYPE_LABEL: Final = "karpenter.k8s.aws/capacity-reservation-type"
