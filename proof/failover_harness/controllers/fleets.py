"""EC2 calls of Karpenter that moto lacks: fleets that EC2 refuses, and some queries with an empty answer.

The error codes and texts are EC2's (docs/research/karpenter-ec2.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from failover_harness.controllers.front import Answer, Front, ec2_answer, json_answer
from failover_testbed.aws.server import EmulatedAws
from failover_testbed.capacity.ec2 import Offering
from failover_testbed.capacity.reservations import Reservations

_NOTHING: Final[Mapping[str, str]] = {
    "DescribePlacementGroups": "placementGroupSet",
    "DescribeInstanceStatus": "instanceStatusSet",
    "DescribeSpotPriceHistory": "spotPriceHistorySet",
}
_MACHINE_IMAGES: Final = "/aws/service/eks/optimized-ami/"


@dataclass(frozen=True, slots=True)
class Override:
    """An offering that a fleet may use."""

    instance_type: str
    subnet: str
    zone: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why EC2 refuses an offering: an error code, and a text with the placeholders ``{type}`` and ``{zone}``."""

    code: str
    text: str


ICE: Final = Refusal(
    "InsufficientInstanceCapacity",
    "We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}). Our system will be working on "
    "provisioning additional capacity.",
)
QUOTA: Final = Refusal(
    "VcpuLimitExceeded",
    "You have requested more vCPU capacity than your current vCPU limit of 4 allows for the instance bucket that the specified instance "
    "type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
)
SUBNET_FULL: Final = Refusal(
    "InsufficientFreeAddressesInSubnet",
    "There are not enough free addresses in subnet to satisfy the requested number of instances.",
)


@dataclass
class Capacity:
    """Capacity of EC2: refusals by instance type and zone. `refuse` and `restore` may change it at any time.

    Attributes:
        refusals: Why, by instance type and zone.
        fleets: The requested fleets, oldest first.
        fails_whole: Whether a request that FIS has refused fails as a whole, or only each of its offerings. AWS does not say which.
        reservations: Capacity reservations, refused where a fleet is. FIS refuses none: it concerns the calls of Karpenter's role.
    """

    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    fleets: list[tuple[Override, ...]] = field(default_factory=list)
    fails_whole: bool = False
    reservations: Reservations = field(init=False)

    def __post_init__(self) -> None:
        self.reservations = Reservations(self.refused, time.time)

    def refused(self, offering: Offering) -> str | None:
        """The error code with which an offering is refused now; None where it is not."""
        refusal = self.refusals.get((offering.instance_type, offering.zone))
        return None if refusal is None else refusal.code

    def refuse(self, instance_type: str, zones: tuple[str, ...], refusal: Refusal = ICE) -> None:
        """Refuses an instance type in these zones from now on."""
        self.refusals.update({(instance_type, zone): refusal for zone in zones})

    def restore(self, instance_type: str) -> None:
        """Ends all refusals of an instance type."""
        self.refusals = {key: why for key, why in self.refusals.items() if key[0] != instance_type}


class Ec2Front(Front):
    """Karpenter's AWS endpoint. Use it as a context manager.

    Args:
        aws: The emulated account behind it, which gets the capacity's reservations; must be running.
        capacity: Capacity of EC2.
    """

    def __init__(self, aws: EmulatedAws, capacity: Capacity) -> None:
        super().__init__(aws)
        self._capacity = capacity
        aws.reservations = capacity.reservations
        self._zones = {subnet: zone for zone, subnet in aws.network.subnets.items()}

    def own(self, action: str, form: Mapping[str, str]) -> Answer | None:
        """See the base class."""
        if action in _NOTHING:
            return ec2_answer(action, f"<{_NOTHING[action]}/>")
        if action.startswith("GET /clusters/"):
            return json_answer({"cluster": {"kubernetesNetworkConfig": {"serviceIpv4Cidr": "10.0.0.0/24"}}})
        if action == "AmazonSSM.GetParameter" and form["Name"].startswith(_MACHINE_IMAGES):
            return json_answer({"Parameter": {"Name": form["Name"], "Type": "String", "Value": self._recommended(form["Name"])}})
        return self._fleet(form) if action == "CreateFleet" else None

    def _fleet(self, form: Mapping[str, str]) -> Answer:
        overrides = [_override(item, self._zones) for item in _items(form, r"LaunchTemplateConfigs\.\d+\.Overrides\.\d+")]
        tags = [
            {"Key": item["Key"], "Value": item["Value"]}
            for item in _items({k: v for k, v in form.items() if k.startswith("TagSpecification.")}, r"TagSpecification\.1\.Tag\.\d+")
        ]
        with self.lock:
            self._capacity.fleets.append(tuple(overrides))
            refusals = dict(self._capacity.refusals)
        if self._injected(overrides):
            refusals = {(one.instance_type, one.zone): ICE for one in overrides}
            if self._capacity.fails_whole:
                error = f"<Code>{ICE.code}</Code><Message>{_text(overrides[0], ICE)}</Message>"
                return (
                    500,
                    "text/xml",
                    f"<Response><Errors><Error>{error}</Error></Errors><RequestID>emulated</RequestID></Response>".encode(),
                )
        errors = [(one, refusals[key]) for one in overrides if (key := (one.instance_type, one.zone)) in refusals]
        free = [one for one in overrides if (one.instance_type, one.zone) not in refusals]
        if not free:
            return ec2_answer(
                "CreateFleet", f"<fleetId>fleet-{len(self._capacity.fleets):08x}</fleetId><errorSet>{_errors(errors)}</errorSet>"
            )
        count = int(form.get("TargetCapacitySpecification.TotalTargetCapacity", "1"))
        ids = self._run(free[0], count, tags)
        return ec2_answer(
            "CreateFleet",
            f"<fleetId>fleet-{len(self._capacity.fleets):08x}</fleetId><errorSet>{_errors(errors)}</errorSet>"
            f"<fleetInstanceSet><item><instanceIds>{''.join(f'<item>{one}</item>' for one in ids)}</instanceIds>"
            f"<instanceType>{free[0].instance_type}</instanceType><lifecycle>on-demand</lifecycle>{_offering(free[0])}</item></fleetInstanceSet>",
        )

    def _injected(self, overrides: Sequence[Override]) -> bool:
        """Whether FIS has it refused: it refuses no request over several zones."""
        zones = {one.zone for one in overrides}
        return len(zones) == 1 and zones.issubset(self.aws.fis.zones())

    def _run(self, wanted: Override, count: int, tags: list[dict[str, str]]) -> list[str]:
        made = self.aws.client("ec2").run_instances(
            ImageId=self._image(),
            InstanceType=wanted.instance_type,
            SubnetId=wanted.subnet,
            MinCount=count,
            MaxCount=count,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return [one["InstanceId"] for one in made["Instances"]]

    def _recommended(self, name: str) -> str:
        """The machine image of an EKS parameter. Each kind of accelerator has its own, by which Karpenter distinguishes them."""
        architecture = "arm64" if "/arm64/" in name else "x86_64"
        images = self.aws.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": [architecture]}])["Images"]
        place = next((index for index, kind in enumerate(("neuron", "nvidia"), 1) if f"/{kind}/" in name), 0)
        return str(images[place % len(images)]["ImageId"])

    def _image(self) -> str:
        images = self.aws.client("ec2").describe_images(Owners=["self", "amazon"])["Images"]
        return str(images[0]["ImageId"])


def _items(form: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
    """The entries of a list in a form of EC2's query API, in order."""
    found: dict[str, dict[str, str]] = {}
    pattern = re.compile(rf"({prefix})\.(.+)")
    for key, value in form.items():
        if match := pattern.fullmatch(key):
            found.setdefault(match[1], {})[match[2]] = value
    return list(found.values())


def _override(item: Mapping[str, str], zones: Mapping[str, str]) -> Override:
    subnet = item.get("SubnetId", "")
    return Override(item["InstanceType"], subnet, item.get("AvailabilityZone") or zones.get(subnet, ""))


def _offering(one: Override) -> str:
    return (
        "<launchTemplateAndOverrides><overrides>"
        f"<instanceType>{one.instance_type}</instanceType><subnetId>{one.subnet}</subnetId><availabilityZone>{one.zone}</availabilityZone>"
        "</overrides></launchTemplateAndOverrides>"
    )


def _errors(errors: list[tuple[Override, Refusal]]) -> str:
    return "".join(
        f"<item><errorCode>{why.code}</errorCode><errorMessage>{_text(one, why)}</errorMessage><lifecycle>on-demand</lifecycle>"
        f"{_offering(one)}</item>"
        for one, why in errors
    )


def _text(one: Override, why: Refusal) -> str:
    return escape(why.text.format(type=one.instance_type, zone=one.zone))
