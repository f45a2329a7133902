"""The rendered stack with real Karpenter, KEDA and load-balancer controller; only AWS and the machines are fakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.clients.kube import NODE_CLASSES
from failover_testbed.aws.server import EmulatedAws
from tests.cluster.stack import remove
from tests.support.stacks import document
from tests.world.balanced import BalancedStack
from tests.world.stack import World

_ROLE_TRUST: Final = '{"Version": "2012-10-17", "Statement": []}'


class WholeStack(BalancedStack, World):
    """Uses the rendered NodePools and EC2NodeClasses; Karpenter launches every node for a pod."""

    def node(self, unit: str, labels: Mapping[str, str] | None = None) -> str:
        """Karpenter does."""
        return ""

    def written(self) -> dict[str, Any]:
        """See the base class."""
        values = super().written()
        values["spec"]["policy"] |= {"patienceSeconds": 2}
        return values

    def close(self) -> None:
        """See the base class. Karpenter keeps node classes while they have nodes; this does not wait for that."""
        for name in ("sd21-neuron", "sd21-nvidia"):
            remove(self.session, NODE_CLASSES.path(None, name))
        super().close()


def prepare(aws: EmulatedAws, cluster: str = "") -> None:
    """Creates what `docs/install.md` requires for Karpenter: tags on the network, and the nodes' role.

    Args:
        aws: The account.
        cluster: The name of the cluster in the node classes; by default the rendered stack's.
    """
    cluster = cluster or document()["spec"]["stack"]["cluster"]
    tagged = [*aws.network.subnets.values(), aws.network.security_group]
    aws.client("ec2").create_tags(Resources=tagged, Tags=[{"Key": "karpenter.sh/discovery", "Value": cluster}])
    aws.client("iam").create_role(RoleName=f"KarpenterNodeRole-{cluster}", AssumeRolePolicyDocument=_ROLE_TRUST)
