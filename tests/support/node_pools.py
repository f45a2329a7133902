"""Changes of NodePools in an emulated cluster."""

from __future__ import annotations

from controller.signals.node_labels import ZONE_LABEL
from failover_testbed.kube_api import KubeStore


def restrict(store: KubeStore, pool: str, *zones: str) -> None:
    """Leaves a NodePool these zones."""
    kept = [one for one in store.get("NodePool", pool)["spec"]["template"]["spec"]["requirements"] if one["key"] != ZONE_LABEL]
    requirements = [*kept, {"key": ZONE_LABEL, "operator": "In", "values": [*zones]}]
    store.patch("NodePool", pool, {"spec": {"template": {"spec": {"requirements": requirements}}}})
