"""The components: how to recognise each, the version that docs/install.md installs, and the oldest version that suffices.

The pinned versions are those whose behaviour this controller relies on, as read in their source or observed. A component is recognised by
the names in its charts and manifests, which a mirror in another registry keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Component:
    """One Deployment or DaemonSet.

    Attributes:
        title: Its name in texts.
        names: Values of its ``app.kubernetes.io/name``, or of its own name.
        image: End of its image's path without the tag; recognises an installation under another name.
        install: The section of docs/install.md.
        pinned: The version that docs/install.md installs; "" if it comes with another component.
        at_least: The oldest version that suffices, () if no version is known to be too old.
        reason: What older versions do wrong, as the end of a sentence.
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
    "do not report that a NodePool has no instance type left",
)
LOAD_BALANCER_CONTROLLER: Final = Component(
    "the AWS Load Balancer Controller",
    frozenset({"aws-load-balancer-controller"}),
    "aws-load-balancer-controller",
    "AWS Load Balancer Controller",
    "3.5.0",
    (2, 12, 0),
    "delete rules before they create new ones, and identify a rule by its priority alone",
)
KEDA: Final = Component(
    "KEDA",
    frozenset({"keda-operator"}),
    "kedacore/keda",
    "KEDA",
    "2.20.2",
    (2, 17, 0),
    "do not know `fallback.behavior`, by which replicas stay while CloudWatch does not answer",
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
    """The section that describes how to install a component."""
    return f"{GUIDE}, section {component.install}"
