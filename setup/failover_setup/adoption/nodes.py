"""Infers a unit's NodePool and instance type from the nodes of its pods, the requirements of its pods, and the NodePool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from controller.catalog.instances import INSTANCES, PRICES, Maker, accelerator_of
from controller.objects import Object, in_values, items, mapping, name_of, pinned_values, pod_requirements, text
from controller.signals.instance_labels import DOMAINS, TYPE_LABEL, InstanceFilter, families, instance_filter
from controller.signals.launchable import Needs, Placement, instance_pins, needs_of
from controller.signals.node_labels import POOL_LABEL
from failover_setup.adoption.facts import Fact, assumed, missing, read
from failover_setup.adoption.observe import Observation

_WELL_KNOWN: Final = ("kubernetes.io", "karpenter.sh", *DOMAINS)
"""Domains of labels that the launched instance determines."""


def node_pool(observed: Observation, deployment: Object, pods: Sequence[Object]) -> Fact:
    """The unit's NodePool."""
    spec = mapping(deployment, "spec", "template", "spec")
    pinned = pinned_values(spec, POOL_LABEL)
    if len(pinned) == 1:
        return read(pinned[0], "the pods require it")
    if pinned:
        return missing(f"the pods may run on any of {', '.join(pinned)}; a unit has one NodePool")
    used = Counter(text(claim, "metadata", "labels", POOL_LABEL) for claim in _claims(observed, pods))
    used.pop("", None)
    if len(used) == 1:
        return read(next(iter(used)), "its pods run on its nodes; nothing pins them to it, so a shortage cannot be attributed to the unit")
    if used:
        return missing(f"its pods run on nodes of {', '.join(sorted(used))}; pin them to one NodePool")
    fitting = [name for name, pool in sorted(observed.node_pools.items()) if _fits(spec, pool)]
    if len(fitting) == 1:
        return assumed(fitting[0], "the only NodePool that its pods can run on; none of its pods runs")
    if fitting:
        return missing(f"its pods can run on {', '.join(fitting)}, and none runs; pin them to one")
    return missing("none of its pods runs, and no readable NodePool fits their requirements")


def _claims(observed: Observation, pods: Sequence[Object]) -> Iterator[Object]:
    """The NodeClaim of each pod's node, for the pods that run on one."""
    by_node = {text(claim, "status", "nodeName"): claim for claim in observed.node_claims}
    for pod in pods:
        claim = by_node.get(text(pod, "spec", "nodeName") or "-")
        if claim is not None:
            yield claim


def _fits(spec: Object, pool: Object) -> bool:
    """Whether pods can run on a NodePool, judged by the keys that both name."""
    template = mapping(pool, "spec", "template")
    requirements, labels = items(template, "spec", "requirements"), mapping(template, "metadata", "labels")
    tolerated = items(spec, "tolerations")
    if not all(_tolerates(tolerated, taint) for taint in items(template, "spec", "taints")):
        return False
    return any(_compatible(alternative, requirements, labels, name_of(pool)) for alternative in pod_requirements(spec))


def _tolerates(tolerations: Sequence[Any], taint: Mapping[str, Any]) -> bool:
    key, effect, value = (text(taint, name) for name in ("key", "effect", "value"))
    return effect == "PreferNoSchedule" or any(
        text(one, "key") in {"", key}
        and text(one, "effect") in {"", effect}
        and (text(one, "operator") == "Exists" or text(one, "value") == value)
        for one in tolerations
    )


def _compatible(wanted: Sequence[Any], requirements: Sequence[Any], labels: Mapping[str, Any], pool: str) -> bool:
    """Whether the NodePool provides every key that the pods require, or leaves it to the instance type."""
    kinds, launched = families(list(wanted)), families(list(requirements))
    if kinds and launched and not set(kinds) & set(launched):
        return False
    for key in {text(one, "key") for one in wanted}:
        asked, _ = in_values(list(wanted), key)
        offered = in_values(list(requirements), key)[0] or ((str(labels[key]),) if key in labels else (pool,) if key == POOL_LABEL else ())
        if asked and offered and not set(asked) & set(offered):
            return False
        if asked and not offered and not key.partition("/")[0].endswith(_WELL_KNOWN):
            return False  # a custom label that the NodePool does not set
    return True


def instance_type(observed: Observation, pool: str | None, deployment: Object, pods: Sequence[Object], maker: Maker | None) -> Fact:
    """The instance type to which price and throughput apply."""
    asked = instance_filter(items(observed.node_pools.get(pool or ""), "spec", "template", "spec", "requirements"))
    template = mapping(deployment, "spec", "template", "spec")
    known = _launchable(asked, template)
    used = Counter(text(claim, "metadata", "labels", TYPE_LABEL) for claim in _claims(observed, pods))
    used.pop("", None)
    if used:
        name = min(used, key=lambda one: (-used[one], one))
        others = sorted(set(used) - {name})
        beside = f"; others run on {', '.join(others)}, whose prices count too; throughput applies to one type" if others else ""
        return Fact(name, f"{used[name]} of its pods run on it{beside}{_further(pool, known, {*used})}", sure=not others)
    pinned = pinned_values(template, TYPE_LABEL)
    if len(pinned) == 1:
        return read(pinned[0], "the pods require it")
    if len(asked.types) == 1:
        return read(asked.types[0], f"NodePool {pool} launches no other")
    kinds = sorted({accelerator_of(name) for name in known})
    if len(kinds) > 1:
        return missing(f"NodePool {pool} launches {', '.join(kinds)}, none of which its pods pin, and no pod of the unit runs")
    if known and maker is not None:
        origin = f"the smallest that NodePool {pool} launches for its pods; none of them runs"
        return assumed(known[0], f"{origin}{_further(pool, known, {known[0]})}")
    return missing("no pod of the unit runs, and its NodePool does not state which type it launches")


def _launchable(asked: InstanceFilter, template: Object) -> list[str]:
    """The types of the catalog that a NodePool may launch for pods, the smallest first."""
    found = [name for name in Placement(instance_pins(template), needs_of(template)).among(asked) if name in INSTANCES]
    return sorted(found, key=lambda name: (INSTANCES[name].vcpus, INSTANCES[name].accelerators, name))


def _further(pool: str | None, known: Sequence[str], named: Collection[str]) -> str:
    """What else a NodePool may launch for the pods, in words."""
    others = [name for name in known if name not in named]
    return f"; NodePool {pool} may also launch {', '.join(others)} for them, which count as its capacity" if others else ""


def price(instance: str | None, needs: Needs) -> Fact:
    """Price of a replica, US dollars per hour: its share of the node's price if the type has several accelerators."""
    if instance is None:
        return missing("it depends on the instance type, which is unknown")
    if instance not in PRICES:
        return missing(f"no price of {instance} is known here; take it from the AWS price list of your region, for one replica's share")
    known = INSTANCES[instance]
    share = min(1.0, max(1, needs.devices_on(known)) / known.accelerators)
    return assumed(round(PRICES[instance] * share, 4), "the on-demand price in us-west-2; check your region's")
