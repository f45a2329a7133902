"""Checks of EKS Auto Mode: what AWS runs outside the cluster, and what of it the cluster shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.clients.kube import AUTO_NODE_CLASSES, NODE_POOLS
from controller.foreign import shown
from controller.objects import Object, condition, entries, mapping, name_of, text
from controller.policy import text as words
from controller.signals.instance_labels import DOMAINS
from failover_setup.doctor.cluster.observe import AUTO_MODE, ClusterObservation
from failover_setup.doctor.report import Finding, ok, problem, unknown, warning


def auto_mode(observed: ClusterObservation) -> Iterator[Finding]:
    """The units' NodePools on EKS Auto Mode have a NodeClass that is ready, and requirements that it knows."""
    if not observed.auto_mode:
        yield from [ok("not enabled")] if NODE_POOLS.name in observed.served else []
        return
    pools = [pool for pool in _units_pools(observed) if _class_of(pool)[0] == AUTO_MODE]
    wrong = [*_node_classes(observed, pools), *(one for pool in pools for one in _requirements(pool))]
    yield from wrong
    if wrong:
        return
    names = words.listing(name_of(pool) for pool in pools) if pools else "no unit's NodePool"
    yield unknown(
        f"it serves {names}; the cluster does not show whether the reserved capacity of a NodeClass is free, and no log or metric of "
        "Karpenter or of the load-balancer controller",
        "deliver AUTO_MODE_COMPUTE_LOGS and AUTO_MODE_LOAD_BALANCING_LOGS to CloudWatch Logs: see docs/auto-mode.md",
    )


def _units_pools(observed: ClusterObservation) -> list[Object]:
    names = {unit.node_pool for unit in observed.units}
    return [one for one in observed.objects(NODE_POOLS) if name_of(one) in names]


def _class_of(pool: Object) -> tuple[str, str]:
    """The API group and name of a NodePool's node class."""
    reference = mapping(pool, "spec", "template", "spec", "nodeClassRef")
    return text(reference, "group"), text(reference, "name")


def _node_classes(observed: ClusterObservation, pools: Sequence[Object]) -> Iterator[Finding]:
    if AUTO_NODE_CLASSES.name in observed.unreadable:
        return
    known = {name_of(one): one for one in observed.objects(AUTO_NODE_CLASSES)}
    for wanted in dict.fromkeys(_class_of(pool)[1] for pool in pools):
        where = f"NodeClass {wanted} of {words.listing(name_of(pool) for pool in pools if _class_of(pool)[1] == wanted)}"
        ready = condition(known.get(wanted, {}), "Ready")
        if wanted not in known:
            yield problem(f"{where} does not exist", "create it, or correct nodeClassRef of the NodePools")
        elif text(ready, "status") == "False":
            why = shown(text(ready, "message") or text(ready, "reason")) or "it does not say why"
            yield problem(f"{where} is not ready: {why}", f"kubectl describe nodeclass.{AUTO_MODE} {wanted}")


def _requirements(pool: Object) -> Iterator[Finding]:
    own, auto = DOMAINS
    keys = (text(one, "key") for one in entries(pool, "spec", "template", "spec", "requirements"))
    unknown_keys = sorted({key for key in keys if key.startswith(f"{own}/")})
    if unknown_keys:
        yield warning(
            f"NodePool {name_of(pool)} asks for {words.listing(unknown_keys)}, which EKS Auto Mode does not know",
            f"use the labels of {auto}: {words.listing(key.replace(own, auto, 1) for key in unknown_keys)}",
        )
