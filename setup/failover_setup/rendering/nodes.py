"""Karpenter's NodePools, and the EC2NodeClass of each accelerator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, get_args

from controller.catalog.instances import Maker
from failover_setup.application import ApplicationFile, UnitFile
from failover_setup.rendering.parts import ARCHITECTURE, CAPACITY_TYPE, INSTANCE_TYPE, ZONE, Object, allowed_types, maker, manifest
from failover_setup.stack import CapacityType, StackFile

_ROOT_DEVICES: Final = {"al2023": "/dev/xvda", "bottlerocket": "/dev/xvdb"}
"""The device that holds container images; Bottlerocket has a separate volume for them."""


def nodes(file: ApplicationFile, stack: StackFile) -> Iterator[Object]:
    """The node classes and NodePools of a stack."""
    for one in sorted({maker(unit) for unit in file.spec.units}):
        yield _node_class(file, stack, one, [unit for unit in file.spec.units if maker(unit) is one])
    for pool in sorted({unit.node_pool for unit in file.spec.units}):
        yield _node_pool(file, stack, pool, [unit for unit in file.spec.units if unit.node_pool == pool])


def pool_types(units: Sequence[UnitFile]) -> list[str]:
    """The instance types that a NodePool may launch for the units that share it."""
    return sorted({name for unit in units for name in allowed_types(unit)})


def pool_zones(units: Sequence[UnitFile]) -> list[str]:
    """The zones of a NodePool; [] for all zones of the node class, if any of the units names none."""
    return sorted({zone for unit in units for zone in unit.zones}) if all(unit.zones for unit in units) else []


def class_name(file: ApplicationFile, made_by: Maker) -> str:
    """The EC2NodeClass of a maker's accelerators; Karpenter labels the nodes with it."""
    return f"{file.metadata.name}-{made_by}"


def pool_capacity_types(units: Sequence[UnitFile]) -> list[str]:
    """The capacity types of a NodePool, in the order in which Karpenter tries them."""
    reserved = any(unit.stack.reservations for unit in units)
    named = units[0].stack.capacity_types or (("reserved", "on-demand") if reserved else ("on-demand",))
    return [kind for kind in get_args(CapacityType) if kind in named]


def _reservation_terms(units: Sequence[UnitFile]) -> list[Object]:
    """What an EC2NodeClass selects for its units; each term once."""
    terms: list[Object] = []
    for one in (one for unit in units for one in unit.stack.reservations):
        term: Object = {"id": one.id} if one.id else {"tags": dict(one.tags)}
        term |= {"ownerID": one.owner_id} if one.owner_id else {}
        if term not in terms:
            terms.append(term)
    return terms


def _node_class(file: ApplicationFile, stack: StackFile, made_by: Maker, units: Sequence[UnitFile]) -> Object:
    alias = stack.nodes.nvidia_ami if made_by is Maker.NVIDIA else stack.nodes.neuron_ami
    terms = [{"tags": dict(stack.nodes.discovery_tags) or {"karpenter.sh/discovery": stack.cluster}}]
    volume = {"volumeSize": f"{stack.nodes.volume_gib}Gi", "volumeType": "gp3", "encrypted": True, "deleteOnTermination": True}
    reserved = _reservation_terms(units)
    spec: Object = {
        "amiSelectorTerms": [{"alias": alias}],
        "role": stack.nodes.role or f"KarpenterNodeRole-{stack.cluster}",
        "subnetSelectorTerms": terms,
        "securityGroupSelectorTerms": [dict(term) for term in terms],
        **({"capacityReservationSelectorTerms": reserved} if reserved else {}),
        "blockDeviceMappings": [{"deviceName": _ROOT_DEVICES[alias.split("@", 1)[0]], "ebs": volume}],
        "instanceStorePolicy": "RAID0",  # models are then read from local disks, if the type has some
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
    }
    return manifest("karpenter.k8s.aws/v1", "EC2NodeClass", class_name(file, made_by), file, namespaced=False, spec=spec)


def _node_pool(file: ApplicationFile, stack: StackFile, name: str, units: Sequence[UnitFile]) -> Object:
    """A NodePool whose requirements are no narrower than those of its units.

    A NodeClaim then allows everything that the units allow, and one refusal of it proves the unit short at once; see docs/decision.md.
    """
    made_by = maker(units[0])
    zones = pool_zones(units)
    requirements = [
        {"key": ARCHITECTURE, "operator": "In", "values": ["amd64"]},
        {"key": CAPACITY_TYPE, "operator": "In", "values": pool_capacity_types(units)},
        {"key": INSTANCE_TYPE, "operator": "In", "values": pool_types(units)},
        *([{"key": ZONE, "operator": "In", "values": zones}] if zones else []),
    ]
    template = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": class_name(file, made_by)},
        "requirements": requirements,
        "taints": [{"key": made_by.resource, "value": "true", "effect": "NoSchedule"}],
        "expireAfter": "720h",
    }
    spec = {
        "template": {"spec": template},
        # Never by utilisation: a model takes minutes to load, and the replacement may be refused.
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": f"{stack.nodes.empty_s}s", "budgets": [{"nodes": "10%"}]},
        # A rollout surges by one pod per unit.
        "limits": {made_by.resource: str(sum((unit.max_replicas + 1) * unit.stack.accelerators for unit in units))},
    }
    return manifest("karpenter.sh/v1", "NodePool", name, file, namespaced=False, spec=spec)
