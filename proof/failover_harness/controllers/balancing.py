"""AWS calls of the AWS Load Balancer Controller that moto lacks: WAF, Shield, and the network interfaces of pod addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from failover_harness.controllers.front import Answer, Call, Front, ec2_answer, json_answer
from failover_testbed.aws.server import EmulatedAws

_UNGUARDED: Final[Mapping[str, Mapping[str, str]]] = {
    "AWSWAF_Regional_20161128.GetWebACLForResource": {},
    "AWSShield_20160616.GetSubscriptionState": {"SubscriptionState": "INACTIVE"},
}
_DENIED: Final = (
    b'<ErrorResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"><Error><Type>Sender</Type><Code>AccessDenied</Code>'
    b"<Message>User: lbc is not authorized to perform this</Message></Error><RequestId>emulated</RequestId></ErrorResponse>"
)
_PODS: Final = "10.2.0.0/16"
"""The network from which the fake kubelets take pod addresses."""

_WRITES: Final = ("Create", "Modify", "Delete", "Register", "Deregister", "Set", "Add", "Remove", "Authorize", "Revoke")


class BalancingFront(Front):
    """The load-balancer controller's AWS endpoint. Use it as a context manager.

    Args:
        aws: The emulated account behind it; must be running.
    """

    def __init__(self, aws: EmulatedAws) -> None:
        super().__init__(aws)
        self.forbidden: set[str] = set()  # calls that the role may not make; may change at any time
        # The tags that a person sets for it: https://docs.aws.amazon.com/eks/latest/userguide/alb-ingress.html
        tags = [{"Key": "kubernetes.io/role/elb", "Value": "1"}]
        aws.client("ec2").create_tags(Resources=list(aws.network.subnets.values()), Tags=tags)

    def own(self, action: str, form: Mapping[str, str]) -> Answer | None:
        """See the base class."""
        if action in _UNGUARDED:
            return json_answer(_UNGUARDED[action])
        if action in self.forbidden:
            return 403, "text/xml", _DENIED
        instances = [value for name, value in form.items() if name.startswith("InstanceId.")]
        if action == "DescribeInstances" and instances:
            return ec2_answer(
                action, f"<reservationSet><item><instancesSet>{''.join(map(self._node, instances))}</instancesSet></item></reservationSet>"
            )
        return None

    def _node(self, instance: str) -> str:
        """A node to which every pod address can belong."""
        group = f"<groupSet><item><groupId>{self.aws.network.security_group}</groupId></item></groupSet>"
        prefix = f"<ipv4PrefixSet><item><ipv4Prefix>{_PODS}</ipv4Prefix></item></ipv4PrefixSet>"
        interface = f"<item><networkInterfaceId>eni-{instance}</networkInterfaceId>{group}{prefix}</item>"
        return f"<item><instanceId>{instance}</instanceId><networkInterfaceSet>{interface}</networkInterfaceSet></item>"

    def writes(self) -> list[Call]:
        """The calls that changed AWS, oldest first."""
        return [one for one in self.calls() if one.action.startswith(_WRITES)]
