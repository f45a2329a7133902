"""EC2 instance types with accelerators that a unit may run on: their size, and the price of some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Maker(StrEnum):
    """The maker of an accelerator. The value is the suffix of the EC2NodeClass's name."""

    NVIDIA = "nvidia"
    NEURON = "neuron"

    @property
    def resource(self) -> str:
        """The extended resource that the device plugin offers; also the key of its nodes' taint."""
        return "nvidia.com/gpu" if self is Maker.NVIDIA else "aws.amazon.com/neuron"


FRAMEWORKS: Final[Mapping[str, Maker]] = {"neuron": Maker.NEURON, "cuda": Maker.NVIDIA, "triton": Maker.NVIDIA}
"""The maker of the accelerator that each backend of the model server needs."""


@dataclass(frozen=True, slots=True)
class Instance:
    """The size of an instance type.

    Attributes:
        vcpus: Virtual processors.
        memory_gib: Memory, GiB.
        accelerators: GPUs, or Neuron devices.
        cores: NeuronCores of a device as the device plugin counts them: Trainium2 has eight, in pairs unless the node says otherwise.
    """

    vcpus: int
    memory_gib: int
    accelerators: int
    cores: int = 2


INSTANCES: Final[Mapping[str, Instance]] = {
    "g4dn.xlarge": Instance(4, 16, 1),
    "g4dn.2xlarge": Instance(8, 32, 1),
    "g4dn.4xlarge": Instance(16, 64, 1),
    "g4dn.8xlarge": Instance(32, 128, 1),
    "g4dn.12xlarge": Instance(48, 192, 4),
    "g4dn.16xlarge": Instance(64, 256, 1),
    "g5.xlarge": Instance(4, 16, 1),
    "g5.2xlarge": Instance(8, 32, 1),
    "g5.4xlarge": Instance(16, 64, 1),
    "g5.8xlarge": Instance(32, 128, 1),
    "g5.12xlarge": Instance(48, 192, 4),
    "g5.16xlarge": Instance(64, 256, 1),
    "g5.24xlarge": Instance(96, 384, 4),
    "g5.48xlarge": Instance(192, 768, 8),
    "g6.xlarge": Instance(4, 16, 1),
    "g6.2xlarge": Instance(8, 32, 1),
    "g6.4xlarge": Instance(16, 64, 1),
    "g6.8xlarge": Instance(32, 128, 1),
    "g6.12xlarge": Instance(48, 192, 4),
    "g6.16xlarge": Instance(64, 256, 1),
    "g6.24xlarge": Instance(96, 384, 4),
    "g6.48xlarge": Instance(192, 768, 8),
    "g6e.xlarge": Instance(4, 32, 1),
    "g6e.2xlarge": Instance(8, 64, 1),
    "g6e.4xlarge": Instance(16, 128, 1),
    "g6e.8xlarge": Instance(32, 256, 1),
    "g6e.12xlarge": Instance(48, 384, 4),
    "g6e.16xlarge": Instance(64, 512, 1),
    "g6e.24xlarge": Instance(96, 768, 4),
    "g6e.48xlarge": Instance(192, 1536, 8),
    "gr6.4xlarge": Instance(16, 128, 1),
    "gr6.8xlarge": Instance(32, 256, 1),
    "inf2.xlarge": Instance(4, 16, 1),
    "inf2.8xlarge": Instance(32, 128, 1),
    "inf2.24xlarge": Instance(96, 384, 6),
    "inf2.48xlarge": Instance(192, 768, 12),
    "trn1.2xlarge": Instance(8, 32, 1),
    "p4d.24xlarge": Instance(96, 1152, 8),
    "p4de.24xlarge": Instance(96, 1152, 8),
    "p5.4xlarge": Instance(16, 256, 1),
    "p5.48xlarge": Instance(192, 2048, 8),
    "p5e.48xlarge": Instance(192, 2048, 8),
    "p5en.48xlarge": Instance(192, 2048, 8),
    "p6-b200.48xlarge": Instance(192, 2048, 8),
    "p6-b300.48xlarge": Instance(192, 4096, 8),
    "trn1.32xlarge": Instance(128, 512, 16),
    "trn1n.32xlarge": Instance(128, 512, 16),
    "trn2.3xlarge": Instance(12, 128, 1, 4),
    "trn2.48xlarge": Instance(192, 2048, 16, 4),
}
"""Every size of the families, without bare metal. A test compares them with the EC2 API's answer, as moto has it."""

PRICES: Final[Mapping[str, float]] = {
    "g5.xlarge": 1.0060,
    "g5.2xlarge": 1.2120,
    "g5.4xlarge": 1.6240,
    "g5.8xlarge": 2.4480,
    "g5.12xlarge": 5.6720,
    "g5.16xlarge": 4.0960,
    "g5.24xlarge": 8.1440,
    "g5.48xlarge": 16.2880,
    "g6.xlarge": 0.8048,
    "g6.2xlarge": 0.9776,
    "g6.4xlarge": 1.3232,
    "g6.8xlarge": 2.0144,
    "g6.12xlarge": 4.6016,
    "g6.16xlarge": 3.3968,
    "g6.24xlarge": 6.6752,
    "g6.48xlarge": 13.3504,
    "g6e.xlarge": 1.8610,
    "g6e.2xlarge": 2.2421,
    "g6e.4xlarge": 3.0042,
    "g6e.8xlarge": 4.5286,
    "g6e.12xlarge": 10.4926,
    "g6e.16xlarge": 7.5772,
    "g6e.24xlarge": 15.0656,
    "g6e.48xlarge": 30.1312,
    "inf2.xlarge": 0.7582,
    "inf2.8xlarge": 1.9679,
    "inf2.24xlarge": 6.4906,
    "inf2.48xlarge": 12.9813,
    "trn1.2xlarge": 1.3438,
    "trn1.32xlarge": 21.5000,
}
"""US dollars per hour on demand in us-west-2: from Table 1 of the AWS sample, and for the other sizes from EC2's price list."""

GPU_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "t4": ("g4dn",),
    "a10g": ("g5",),
    "l4": ("g6", "gr6"),
    "l40s": ("g6e",),
    "a100": ("p4d", "p4de"),
    "h100": ("p5",),
    "h200": ("p5e", "p5en"),
    "b200": ("p6-b200",),
    "b300": ("p6-b300",),
}
"""Families with whole GPUs by Karpenter's label ``karpenter.k8s.aws/instance-gpu-name``."""

_NEURON: Final = re.compile(r"(inf|trn)\d")
_NVIDIA: Final = re.compile(r"(g|gr|p)\d")


def family_of(instance_type: str) -> str:
    """``g5`` of ``g5.xlarge``."""
    return instance_type.split(".", 1)[0]


def accelerator_of(instance_type: str) -> str:
    """The family that stands for all with the accelerator of a type: g6 for gr6, which has more memory beside the same GPU."""
    family = family_of(instance_type)
    return next((families[0] for families in GPU_NAMES.values() if family in families), family)


def maker_of(instance_type: str) -> Maker | None:
    """The maker of a type's accelerators, even if `INSTANCES` does not list the type; None if it has none that is known."""
    if _NEURON.match(instance_type):
        return Maker.NEURON
    return Maker.NVIDIA if _NVIDIA.match(instance_type) else None
