"""The part of an application file that only `failoverctl render` reads: what the pods and nodes of the stack are made of.

`run` and `plan` check that its values are well formed and use none of them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from controller.catalog.fields import DnsName, FileModel

_MAX_ENTRIES: Final = 50

Image = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$",
        max_length=500,
        json_schema_extra={"x-allowed": "an image such as REGISTRY/NAME@sha256:…"},
    ),
]
Location = Annotated[
    str,
    Field(pattern=r"^[ -~]*$", max_length=500, json_schema_extra={"x-allowed": "hf://ORG/REPO, s3://BUCKET/PREFIX or a path"}),
]
Quantity = Annotated[
    str,
    Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$", json_schema_extra={"x-allowed": "a quantity such as 2, 500m or 12Gi, in quotes"}),
]
LabelKey = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        max_length=253,
        json_schema_extra={"x-allowed": "the key of a label"},
    ),
]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
VariableValue = Annotated[str, Field(max_length=4096)]
Text = Annotated[str, Field(max_length=4096)]
Revision = Annotated[
    str, Field(pattern=r"^[-._/A-Za-z0-9]*$", max_length=100, json_schema_extra={"x-allowed": "a commit, or another revision of the hub"})
]
AmiAlias = Annotated[
    str,
    Field(pattern=r"^(al2023|bottlerocket)@.+$", max_length=30, json_schema_extra={"x-allowed": "al2023@VERSION or bottlerocket@VERSION"}),
]

Task = Literal["text-to-image", "text-generation", "text-classification", "image-classification", "object-detection"]


class SecretFile(FileModel):
    """A key of a Secret in the application's namespace."""

    name: DnsName = Field(description="The Secret. It is not rendered: make it yourself.")
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253, json_schema_extra={"x-allowed": "the key of a Secret"})] = (
        Field(default="token", description="The key in it.")
    )


class ImagesFile(FileModel):
    """The model server's images, one for each framework that a unit uses. Name them by digest."""

    neuron: Image | None = Field(default=None, description="For units with framework neuron.")
    cuda: Image | None = Field(default=None, description="For units with framework cuda.")
    triton: Image | None = Field(default=None, description="For units with framework triton (torch.compile's Triton kernels).")
    adapter: Image | None = Field(default=None, description="For units with vllm: what stands in front of it, and fetches its model.")


class NodesFile(FileModel):
    """NodePools and EC2NodeClasses of Karpenter."""

    render: bool = Field(
        default=True,
        description="Whether to make them. Off: the NodePools that the units name are somebody else's, such as another stack's.",
    )
    role: Annotated[str, Field(max_length=128, pattern=r"^[\w+=,.@/-]*$", json_schema_extra={"x-allowed": "the name of an IAM role"})] = (
        Field(default="", description="IAM role of the nodes. Empty: KarpenterNodeRole-CLUSTER, as Karpenter's own guide names it.")
    )
    discovery_tags: dict[Text, Text] = Field(
        default={},
        max_length=20,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Tags of the subnets and security groups. Empty: karpenter.sh/discovery: CLUSTER, as Karpenter's own guide tags them.",
    )
    nvidia_ami: AmiAlias = Field(
        default="al2023@latest",
        description="AMI of NVIDIA nodes as Karpenter's alias FAMILY@VERSION. Pin the version: latest replaces nodes at each release.",
    )
    neuron_ami: AmiAlias = Field(default="al2023@latest", description="AMI of Neuron nodes, likewise.")
    volume_gib: int = Field(default=100, ge=20, le=16_384, description="Root volume for images and, without local disks, models, GiB.")
    empty_s: int = Field(
        default=300, ge=0, le=86_400, description="How long a node stays empty until it is given back, seconds. Only empty nodes are."
    )


class LoadBalancerFile(FileModel):
    """The Ingress."""

    scheme: Literal["internet-facing", "internal"] = Field(default="internet-facing", description="Who reaches the load balancer.")
    annotations: dict[Text, Text] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further annotations of the Ingress, such as a certificate's ARN; they win over those that are made.",
    )


class StackFile(FileModel):
    """What only `failoverctl render` reads."""

    cluster: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][-_A-Za-z0-9]*$",
            max_length=100,
            json_schema_extra={"x-allowed": "letters, digits, - and _; at most 100 characters"},
        ),
    ] = Field(description="Name of the EKS cluster: node role and discovery tags follow from it.")
    region: Annotated[
        str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", json_schema_extra={"x-allowed": "an AWS region such as us-west-2"})
    ] = Field(description="AWS region of the metrics that KEDA reads.")
    task: Task = Field(description="What the model server does with the model.")
    model: Location = Field(default="", description="The model, for units that name none of their own.")
    revision: Revision = Field(
        default="",
        description="Commit of a hub model: the model server fetches none without one. Digest of an S3 prefix, which may be left out.",
    )
    images: ImagesFile = Field(default=ImagesFile(), description="The model server's images by framework.")
    shared_label: LabelKey = Field(
        default="albapp",
        description="Label that the pods of all units share, with the application's name as value: the capacity Service selects it. The "
        "source's own.",
    )
    load_s: int = Field(
        default=900,
        ge=10,
        le=7200,
        description="How long a container needs until it is ready, at most, seconds: image start, download, load, warm-up. The source "
        "reports 5 to 15 minutes. Start-up probe and rollout deadline allow twice that.",
    )
    request_s: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Longest request, seconds. Time-outs of server and load balancer, and how long a pod may drain, follow from it.",
    )
    service_account: DnsName | None = Field(default=None, description="ServiceAccount of the pods. Unset: named as the application.")
    role_arn: Annotated[
        str, Field(max_length=2048, pattern=r"^(arn:[ -~]+)?$", json_schema_extra={"x-allowed": "the ARN of an IAM role"})
    ] = Field(default="", description="IAM role of that ServiceAccount with IRSA. Empty: EKS Pod Identity, or none.")
    hub_token: SecretFile | None = Field(default=None, description="Token for gated models of the hub, as the variable HF_TOKEN.")
    readiness_gates: bool = Field(
        default=True,
        description="Whether the namespace gets the label by which the load-balancer controller adds a readiness gate to each pod: a "
        "rollout then waits for the load balancer's own health checks.",
    )
    nodes: NodesFile = Field(default=NodesFile(), description="NodePools and EC2NodeClasses of Karpenter.")
    load_balancer: LoadBalancerFile = Field(default=LoadBalancerFile(), description="The Ingress.")


class VllmFile(FileModel):
    """vLLM in place of the model server's own text generation, with the model server's adapter in front."""

    image: Image | None = Field(default=None, description="vLLM's image. Unset: AWS' own for the framework, that of images.yaml.")
    max_model_len: int = Field(default=4096, ge=16, le=10_000_000, description="Longest prompt and answer together, tokens.")
    compile_cache: Annotated[
        str, Field(pattern=r"^(s3://[ -~]+|/[ -~]*)?$", max_length=500, json_schema_extra={"x-allowed": "s3://BUCKET/PREFIX or a path"})
    ] = Field(
        default="",
        description="Where what is compiled for Neuron is kept: the first pod compiles, the others find it. Needed with framework neuron.",
    )
    args: tuple[Text, ...] = Field(default=(), max_length=_MAX_ENTRIES, description="Further arguments of vllm serve; they come last.")
    env: dict[Variable, VariableValue] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further variables of vLLM's container; they win over those that are made. No secrets.",
    )


class UnitStackFile(FileModel):
    """What only `failoverctl render` reads of a unit."""

    image: Image | None = Field(default=None, description="Its image. Unset: spec.stack.images of its framework; with vllm, adapter.")
    model: Location = Field(default="", description="Its model. Empty: spec.stack.model.")
    revision: Revision = Field(
        default="", description="Commit of its model. Empty: spec.stack.revision, where the model is that one's too."
    )
    compiled_model: Location = Field(
        default="",
        description="Where the artifacts compiled for Neuron are. Needed with framework neuron: it compiles nothing.",
    )
    compiled_revision: Revision = Field(default="", description="The same for the compiled artifacts.")
    vllm: VllmFile | None = Field(
        default=None, description="Serve a language model with vLLM, with framework cuda or neuron; {} where its defaults suit."
    )
    load_s: int | None = Field(default=None, ge=10, le=7200, description="How long it needs until it is ready, seconds. Unset: as for all.")
    accelerators: int = Field(default=1, ge=1, le=16, description="Accelerators of a pod. Price and throughput are those of such a pod.")
    cpu: Quantity | None = Field(default=None, description="Processors of a pod. Unset: half of its share of the node.")
    memory: Quantity | None = Field(default=None, description="Memory of a pod. Unset: three quarters of its share of the node.")
    disk: Quantity = Field(default="30Gi", description="Local disk of a pod for model and caches.")
    args: tuple[Text, ...] = Field(default=(), max_length=_MAX_ENTRIES, description="Arguments of the image's entry point.")
    env: dict[Variable, VariableValue] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further variables of the container; they win over those that are made. No secrets: manifests are kept in Git.",
    )
