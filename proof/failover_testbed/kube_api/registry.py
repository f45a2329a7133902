"""The resources that the emulator serves, and how a real server treats each."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class GenerationRule(enum.Enum):
    """Which changes increase ``metadata.generation``."""

    NEVER = "never"  # the kind has no generation
    SPEC = "spec"
    SPEC_OR_ANNOTATIONS = "spec or annotations"  # Deployments copy their annotations to ReplicaSets
    CONTENT_OR_LABELS = "anything but metadata, or labels"
    CONTENT = "anything but metadata and, with a status subresource, status"


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of the table.

    Attributes:
        group: API group, "" for core.
        version: The only version served.
        plural: Name in paths.
        kind: Name in objects.
        namespaced: Whether objects live in a namespace.
        status: Whether there is a ``status`` subresource.
        custom: Whether a CRD defines it.
        generation: Which changes increase the generation.
        unconditional_update: Whether PUT without a resourceVersion is allowed.
        create_on_update: Whether PUT creates an absent object.
        keeps_status_on_create: Whether POST keeps ``status`` despite the subresource.
        returns_deleted: Whether DELETE returns the object instead of a ``Status``.
        field_labels: Field selector labels beyond ``metadata.name`` and ``metadata.namespace``.
        own_field_labels: Whether the kind has its own list of labels, which changes the error text.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = True
    custom: bool = False
    generation: GenerationRule = GenerationRule.NEVER
    unconditional_update: bool = True
    create_on_update: bool = False
    keeps_status_on_create: bool = False
    returns_deleted: bool = False
    field_labels: tuple[str, ...] = ()
    own_field_labels: bool = False

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version for core."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``plural.group``, as error messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """``Kind.group``, as validation errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def list_kind(self) -> str:
        """Kind of a list of these."""
        return f"{self.kind}List"


_EVENT_LABELS = (
    *(f"involvedObject.{leaf}" for leaf in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_POD_LABELS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)


def _custom(group: str, version: str, plural: str, kind: str, *, namespaced: bool, status: bool = True) -> Resource:
    return Resource(
        group,
        version,
        plural,
        kind,
        namespaced=namespaced,
        status=status,
        custom=True,
        generation=GenerationRule.CONTENT,
        unconditional_update=False,
        own_field_labels=True,
    )


_RBAC = "rbac.authorization.k8s.io"


def _admission(plural: str, kind: str, *, status: bool) -> Resource:
    group, rule = "admissionregistration.k8s.io", GenerationRule.SPEC
    return Resource(group, "v1", plural, kind, namespaced=False, status=status, generation=rule, unconditional_update=False)


RESOURCES: tuple[Resource, ...] = (
    Resource("", "v1", "configmaps", "ConfigMap", status=False),
    Resource("", "v1", "events", "Event", status=False, create_on_update=True, field_labels=_EVENT_LABELS, own_field_labels=True),
    Resource(
        "",
        "v1",
        "namespaces",
        "Namespace",
        namespaced=False,
        returns_deleted=True,
        field_labels=("status.phase",),
        own_field_labels=True,
    ),
    Resource(
        "",
        "v1",
        "nodes",
        "Node",
        namespaced=False,
        keeps_status_on_create=True,
        field_labels=("spec.unschedulable",),
        own_field_labels=True,
    ),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        generation=GenerationRule.SPEC,
        returns_deleted=True,
        field_labels=_POD_LABELS,
        own_field_labels=True,
    ),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", status=False, returns_deleted=True),
    Resource(
        "",
        "v1",
        "services",
        "Service",
        create_on_update=True,
        returns_deleted=True,
        field_labels=("spec.clusterIP", "spec.type"),
        own_field_labels=True,
    ),
    Resource("apps", "v1", "deployments", "Deployment", generation=GenerationRule.SPEC_OR_ANNOTATIONS),
    Resource("apps", "v1", "statefulsets", "StatefulSet", generation=GenerationRule.SPEC),
    Resource("apps", "v1", "daemonsets", "DaemonSet", generation=GenerationRule.SPEC),
    Resource("apps", "v1", "replicasets", "ReplicaSet", generation=GenerationRule.SPEC),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress", generation=GenerationRule.SPEC),
    Resource(
        "networking.k8s.io", "v1", "ingressclasses", "IngressClass", namespaced=False, status=False, generation=GenerationRule.CONTENT
    ),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", status=False, generation=GenerationRule.SPEC),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", generation=GenerationRule.SPEC, unconditional_update=False),
    Resource(_RBAC, "v1", "roles", "Role", status=False, create_on_update=True),
    Resource(_RBAC, "v1", "rolebindings", "RoleBinding", status=False, create_on_update=True),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False, status=False, create_on_update=True),
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False, status=False, create_on_update=True),
    _admission("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", status=False),
    _admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy", status=True),
    _admission("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", status=False),
    Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", status=False, generation=GenerationRule.CONTENT_OR_LABELS),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", status=False, create_on_update=True, unconditional_update=False),
    _custom("failoverctl.dev", "v1alpha1", "failoverapplications", "FailoverApplication", namespaced=True),
    _custom("argoproj.io", "v1alpha1", "rollouts", "Rollout", namespaced=True),
    _custom("leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet", namespaced=True),
    _custom("karpenter.sh", "v1", "nodepools", "NodePool", namespaced=False),
    _custom("karpenter.sh", "v1", "nodeclaims", "NodeClaim", namespaced=False),
    _custom("karpenter.sh", "v1alpha1", "nodeoverlays", "NodeOverlay", namespaced=False),
    _custom("karpenter.k8s.aws", "v1", "ec2nodeclasses", "EC2NodeClass", namespaced=False),
    _custom("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", namespaced=True),
    _custom("keda.sh", "v1alpha1", "triggerauthentications", "TriggerAuthentication", namespaced=True),
    _custom("keda.sh", "v1alpha1", "clustertriggerauthentications", "ClusterTriggerAuthentication", namespaced=False),
    _custom("elbv2.k8s.aws", "v1beta1", "targetgroupbindings", "TargetGroupBinding", namespaced=True),
    _custom("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", namespaced=False),
    _custom("gateway.networking.k8s.io", "v1", "gateways", "Gateway", namespaced=True),
    _custom("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", namespaced=True),
    _custom("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute", namespaced=True),
    _custom("gateway.networking.k8s.io", "v1beta1", "referencegrants", "ReferenceGrant", namespaced=True, status=False),
    _custom("gateway.k8s.aws", "v1", "loadbalancerconfigurations", "LoadBalancerConfiguration", namespaced=True),
    _custom("gateway.k8s.aws", "v1", "targetgroupconfigurations", "TargetGroupConfiguration", namespaced=True),
    _custom("gateway.k8s.aws", "v1", "listenerruleconfigurations", "ListenerRuleConfiguration", namespaced=True),
)

# Kinds that a cluster has only with EKS Auto Mode. Their CRDs are not published: these take what the public examples show.
AUTO_MODE: tuple[Resource, ...] = (
    _custom("eks.amazonaws.com", "v1", "nodeclasses", "NodeClass", namespaced=False),
    _custom("eks.amazonaws.com", "v1", "targetgroupbindings", "TargetGroupBinding", namespaced=True),
)

# Groups that every real server has and this one lacks: requests get 501, not 404.
KNOWN_GROUPS = frozenset(
    {
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "node.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)


class Registry:
    """The resources that one emulator serves.

    Args:
        without_groups: API groups to leave out, as if their CRDs were not installed.
        auto_mode: Whether to serve the kinds of EKS Auto Mode, too.

    Raises:
        ValueError: If the table lacks a group of `without_groups`.
    """

    def __init__(self, without_groups: Iterable[str] = (), *, auto_mode: bool = False) -> None:
        left_out = frozenset(without_groups)
        unknown = left_out - {resource.group for resource in RESOURCES}
        if unknown:
            raise ValueError(f"unknown API groups in without_groups: {sorted(unknown)}")
        self.resources = (*(resource for resource in RESOURCES if resource.group not in left_out), *(AUTO_MODE if auto_mode else ()))
        self._by_path = {(item.group, item.version, item.plural): item for item in self.resources}
        self._by_kind = {item.kind: item for item in reversed(self.resources)}  # the first of a kind that two groups have
        self.group_versions = tuple(dict.fromkeys((item.group, item.version) for item in self.resources))

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at a path, None if there is none."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, kind: str) -> Resource:
        """The resource of a kind.

        Raises:
            KeyError: If no resource has this kind.
        """
        try:
            return self._by_kind[kind]
        except KeyError:
            raise KeyError(f"kind {kind!r} is not served; served: {sorted(self._by_kind)}") from None
