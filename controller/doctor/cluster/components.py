"""What the components are: how each is recognised, which version is installed by docs/install.md, and the oldest that suffices.

The pinned versions are those that the facts this controller rests on were read from or observed with. A component is recognised by its
charts' and manifests' own names; a mirror in another registry changes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One Deployment or DaemonSet.

    Attributes:
        title: What people call it.
        names: Its ``app.kubernetes.io/name``, or its own name.
        image: End of the path of its image, without tag, for those that have another name.
        pinned: What docs/install.md installs; "" for what comes with another component.
        at_least: The oldest version that suffices, () where none is known to be too old.
        reason: What older ones lack, as the end of a sentence.
        install: The step of docs/install.md.
    """

    title: str
    names: frozenset[str]
    image: str
    install: str
    pinned: str = ""
    at_least: Version = ()
    reason: str = ""


KARPENTER: Final = Component(
    "Karpenter",
    frozenset({"karpenter"}),
    "karpenter/controller",
    "Karpenter",
    "1.14.1",
    (1, 3, 0),
    "do not tell that a NodePool has no instance type left",
)
LOAD_BALANCER_CONTROLLER: Final = Component(
    "the AWS Load Balancer Controller",
    frozenset({"aws-load-balancer-controller"}),
    "aws-load-balancer-controller",
    "AWS Load Balancer Controller",
    "3.5.0",
    (2, 12, 0),
    "delete rules before they make others, and know a rule by its priority alone",
)
KEDA: Final = Component(
    "KEDA",
    frozenset({"keda-operator"}),
    "kedacore/keda",
    "KEDA",
    "2.20.2",
    (2, 13, 0),
    "know no podIdentity provider aws",
)
KEDA_METRICS: Final = Component(
    "KEDA's metrics server",
    frozenset({"keda-operator-metrics-apiserver", "keda-metrics-apiserver"}),
    "keda-metrics-apiserver",
    "KEDA",
)
NVIDIA_PLUGIN: Final = Component(
    "the NVIDIA device plugin",
    frozenset({"nvidia-device-plugin", "nvidia-device-plugin-daemonset"}),
    "nvidia/k8s-device-plugin",
    "NVIDIA device plugin",
    "0.20.0",
)
NEURON_PLUGIN: Final = Component(
    "the Neuron device plugin",
    frozenset({"neuron-device-plugin", "neuron-device-plugin-daemonset"}),
    "neuron-device-plugin",
    "Neuron device plugin",
    "1.9.0",
)
INSIGHTS_OPERATOR: Final = Component(
    "the CloudWatch Observability add-on",
    frozenset({"amazon-cloudwatch-observability", "amazon-cloudwatch-observability-controller-manager"}),
    "cloudwatch-agent-operator",
    "CloudWatch Observability",
    "6.4.0",
)
INSIGHTS_AGENT: Final = Component(
    "the CloudWatch agent",
    frozenset({"cloudwatch-agent"}),
    "cloudwatch-agent",
    "CloudWatch Observability",
)

GUIDE: Final = "docs/install.md"


def step(component: Component) -> str:
    """Where it is described how to install it."""
    return f"{GUIDE}, section {component.install}"
