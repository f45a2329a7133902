"""The labels by which a NodePool or a pod says which instances it takes, other than by the type's name.

Karpenter and EKS Auto Mode have the same labels under two domains. A requirement of either restricts the instance in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from controller.catalog.instances import GPU_NAMES, family_of
from controller.objects import in_values

DOMAINS: Final = ("karpenter.k8s.aws", "eks.amazonaws.com")
"""Of the labels: Karpenter's, and those of EKS Auto Mode (docs/research/auto-mode.md)."""
TYPE_LABEL: Final = "node.kubernetes.io/instance-type"

_SCHEME: Final = re.compile(r"^([a-z]+)(?:-[0-9]+tb)?([0-9]++)[^.]*+\.")  # category and generation of a type, as Karpenter reads them


@dataclass(frozen=True, slots=True)
class InstanceFilter:
    """What requirements say of the instances that suit them, as far as a type's name shows it; () where they do not restrict it.

    Attributes:
        types: Names of types.
        families: ``g6e``.
        sizes: ``2xlarge``.
        categories: ``g``.
        generations: ``6``.
    """

    types: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    generations: tuple[str, ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether it excludes any type."""
        return bool(self.types or self.families or self.sizes or self.categories or self.generations)

    def admits(self, instance_type: str) -> bool:
        """Whether a type suits, as far as its name shows. A requirement on, say, memory is not considered."""
        scheme = _SCHEME.match(instance_type)
        category, generation = scheme.groups() if scheme else ("", "")
        size = instance_type.partition(".")[2]
        asked = (
            (self.types, instance_type),
            (self.families, family_of(instance_type)),
            (self.sizes, size),
            (self.categories, category),
            (self.generations, generation),
        )
        return all(not allowed or value in allowed for allowed, value in asked)


def instance_filter(requirements: object) -> InstanceFilter:
    """Reads a list of node selector requirements. Only the operator `In` is understood: the others exclude nothing here."""
    return InstanceFilter(
        types=in_values(requirements, TYPE_LABEL)[0],
        families=families(requirements),
        sizes=values(requirements, "instance-size"),
        categories=values(requirements, "instance-category"),
        generations=values(requirements, "instance-generation"),
    )


def families(requirements: object) -> tuple[str, ...]:
    """The instance families that requirements name, by family or by GPU; () if they name none, or a GPU whose families are not known."""
    gpus = values(requirements, "instance-gpu-name")
    by_gpu = {family for name in gpus for family in GPU_NAMES[name]} if all(name in GPU_NAMES for name in gpus) else ()
    return values(requirements, "instance-family") or tuple(sorted(by_gpu))


def values(requirements: object, name: str) -> tuple[str, ...]:
    """The values that requirements allow for one of the labels, whichever domain it has; () where none restricts it."""
    found = [one for one in (in_values(requirements, f"{domain}/{name}")[0] for domain in DOMAINS) if one]
    common = set.intersection(*map(set, found)) if found else set()
    return tuple(sorted(common))
