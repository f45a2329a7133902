"""What a drill does, before it does anything: the shortage, its bounds, and the limits that it is judged by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import ConfigError

TAG: Final = "failoverctl-drill"
"""The tag of everything that a drill makes in AWS. Its value is the application's key."""
ACTION: Final = "aws:ec2:api-insufficient-instance-capacity-error"
"""https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html"""
DOLLARS_PER_MINUTE: Final = 0.10
"""List price of one minute of one action: https://aws.amazon.com/fis/pricing/."""
LONGEST_S: Final = 3600.0
"""The longest shortage, seconds."""

_ARN: Final = {
    "--karpenter-role": re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}"),
    "--fis-role": re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}"),
    "--stop-alarm": re.compile(r"arn:aws[a-z-]*:cloudwatch:[a-z0-9-]{1,32}:\d{12}:alarm:[^\x00-\x1f]{1,255}"),
}
_ZONE: Final = re.compile(r"[a-z]{2}-[a-z0-9-]{3,30}")
"""A zone's name, as a NodePool has it; an ID, such as usw2-az1, is none."""
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Limits:
    """What a drill must keep to pass.

    Attributes:
        failover_s: From the first refusal until the load balancer shows capacity mode, seconds.
        return_s: From the end of the shortage until the load balancer shows cost mode, seconds.
        failed: Share of the drill's own requests that may fail or come late.
        latency_s: From when on an answer is late, seconds.
    """

    failover_s: float
    return_s: float
    failed: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A drill.

    Attributes:
        application: Key of the application.
        karpenter_role: ARN of the role whose requests for instances EC2 refuses.
        fis_role: ARN of the role with which FIS does so.
        zones: Availability Zones in which it refuses.
        percentage: How many of the requests it refuses, 1 to 100.
        duration_s: How long, seconds: whole minutes. FIS itself ends it then.
        stop_alarms: ARNs of CloudWatch alarms that end it early.
        rate: The drill's own load, requests per second.
        limits: What it is judged by.
    """

    application: str
    karpenter_role: str
    fis_role: str
    zones: tuple[str, ...]
    percentage: int
    duration_s: float
    stop_alarms: tuple[str, ...]
    rate: float
    limits: Limits

    def __post_init__(self) -> None:
        arns = [("--karpenter-role", self.karpenter_role), ("--fis-role", self.fis_role)]
        for option, value in [*arns, *(("--stop-alarm", one) for one in self.stop_alarms)]:
            if not _ARN[option].fullmatch(value):
                raise ConfigError(f"{option}: found {value[:200]!r}; allowed: the ARN of a{'n alarm' if 'alarm' in option else ' role'}")
        if wrong := [zone for zone in self.zones if not _ZONE.fullmatch(zone)]:
            raise ConfigError(f"--zone: found {wrong[0][:50]!r}; allowed: the name of a zone, such as us-west-2a")
        if self.duration_s % _MINUTE_S or not _MINUTE_S <= self.duration_s <= LONGEST_S:
            raise ConfigError(f"--duration: found {self.duration_s:g} s; allowed: whole minutes, 1m to {LONGEST_S / _MINUTE_S:.0f}m")

    @property
    def dollars(self) -> float:
        """What FIS takes for it at most."""
        return self.duration_s / _MINUTE_S * DOLLARS_PER_MINUTE

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the template and the experiment."""
        return {TAG: self.application}

    def template(self) -> dict[str, Any]:
        """The arguments of CreateExperimentTemplate."""
        return {
            "description": f"failoverctl drill of {self.application}"[:512],
            "roleArn": self.fis_role,
            "targets": {"karpenter": {"resourceType": "aws:iam:role", "resourceArns": [self.karpenter_role], "selectionMode": "ALL"}},
            "actions": {
                "shortage": {
                    "actionId": ACTION,
                    "parameters": {
                        "availabilityZoneIdentifiers": ",".join(self.zones),
                        "duration": f"PT{self.duration_s / _MINUTE_S:.0f}M",
                        "percentage": str(self.percentage),
                    },
                    "targets": {"Roles": "karpenter"},
                }
            },
            "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": one} for one in self.stop_alarms] or [{"source": "none"}],
            "tags": self.tags,
        }
