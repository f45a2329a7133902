"""The part of an application file that only `failoverctl render` reads: the pods and nodes of the stack."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from controller.catalog.fields import DnsName, FileModel, QualifiedName
from controller.documents import Region, cross_field_error, describe_value

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
    Field(
        pattern=r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$",
        max_length=30,
        json_schema_extra={"x-allowed": "a quantity of Kubernetes such as 2, 500m or 12Gi, in quotes"},
    ),
]
Variable = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=100,
        json_schema_extra={"x-allowed": "a variable's name: letters, digits and _, no digit first, at most 100 characters"},
    ),
]
VariableValue = Annotated[str, Field(max_length=4096)]
Text = Annotated[str, Field(max_length=4096)]
TagText = Annotated[str, Field(min_length=1, max_length=256)]
Revision = Annotated[
    str, Field(pattern=r"^[-._/A-Za-z0-9]*$", max_length=100, json_schema_extra={"x-allowed": "a commit, or another revision of the hub"})
]
AmiAlias = Annotated[
    str,
    Field(pattern=r"^(al2023|bottlerocket)@.+$", max_length=30, json_schema_extra={"x-allowed": "al2023@VERSION or bottlerocket@VERSION"}),
]

CapacityType = Literal["reserved", "spot", "on-demand"]
Task = Literal["text-to-image", "text-generation", "text-classification", "image-classification", "object-detection"]


class SecretFile(FileModel):
    """A key of a Secret in the application's namespace."""

    name: DnsName = Field(description="The Secret. `render` does not create it: create it yourself.")
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253, json_schema_extra={"x-allowed": "the key of a Secret"})] = (
        Field(default="token", description="The key in the Secret.")
    )


class ImagesFile(FileModel):
    """The model server's images, one for each framework that a unit uses. Name them by digest."""

    neuron: Image | None = Field(default=None, description="For units with framework neuron.")
    cuda: Image | None = Field(default=None, description="For units with framework cuda.")
    triton: Image | None = Field(default=None, description="For units with framework triton (torch.compile's Triton kernels).")
    adapter: Image | None = Field(
        default=None, description="For units with vllm: the adapter in front of it, which also fetches its model."
    )


class NodesFile(FileModel):
    """NodePools and EC2NodeClasses of Karpenter."""

    render: bool = Field(
        default=True,
        description="Whether to render them. Off: the NodePools that the units name are managed elsewhere, such as in another stack.",
    )
    role: Annotated[str, Field(max_length=128, pattern=r"^[\w+=,.@/-]*$", json_schema_extra={"x-allowed": "the name of an IAM role"})] = (
        Field(default="", description="IAM role of the nodes. Empty: KarpenterNodeRole-CLUSTER, as in Karpenter's guide.")
    )
    discovery_tags: dict[TagText, TagText] = Field(
        default={},
        max_length=20,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Tags of the subnets and security groups. Empty: karpenter.sh/discovery: CLUSTER, as in Karpenter's guide.",
    )
    nvidia_ami: AmiAlias = Field(
        default="al2023@latest",
        description="AMI of NVIDIA nodes as Karpenter's alias FAMILY@VERSION. Pin the version: latest replaces nodes at each release.",
    )
    neuron_ami: AmiAlias = Field(default="al2023@latest", description="AMI of Neuron nodes, in the same form.")
    volume_gib: int = Field(
        default=100, ge=20, le=16_384, description="Root volume, GiB. It holds images and, on nodes without local disks, models."
    )
    empty_s: int = Field(
        default=300, ge=0, le=86_400, description="How long a node must be empty before Karpenter removes it, seconds. It removes no other."
    )


class LoadBalancerFile(FileModel):
    """The load balancer."""

    scheme: Literal["internet-facing", "internal"] = Field(
        default="internet-facing", description="Whether the load balancer is reachable from the internet."
    )
    annotations: dict[QualifiedName, Text] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further annotations of the Ingress, such as a certificate's ARN; they override the rendered ones.",
    )


class StackFile(FileModel):
    """Fields that only `failoverctl render` reads."""

    cluster: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9][-_A-Za-z0-9]*$",
            max_length=100,
            json_schema_extra={"x-allowed": "letters, digits, - and _; at most 100 characters"},
        ),
    ] = Field(description="Name of the EKS cluster; the defaults of node role and discovery tags contain it.")
    region: Region = Field(description="AWS region of the metrics that KEDA reads.")
    task: Task = Field(description="The task of the model server.")
    model: Location = Field(default="", description="The model of units that name none themselves.")
    revision: Revision = Field(
        default="",
        description="For a hub model its commit, which the model server requires. For an S3 prefix its digest, which is optional.",
    )
    images: ImagesFile = Field(default=ImagesFile(), description="The model server's images by framework.")
    shared_label: QualifiedName = Field(
        default="albapp",
        description="Label of the pods of all units, with the application's name as value. The capacity Service selects it. The default "
        "is that of the AWS sample.",
    )
    load_s: int = Field(
        default=900,
        ge=10,
        le=7200,
        description="Longest time until a container is ready, seconds: start, download, load, warm-up. The AWS sample reports 5 to 15 "
        "minutes. Start-up probe and rollout deadline allow twice that.",
    )
    request_s: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="Longest request, seconds. It determines the time-outs of server and load balancer, and how long a pod may drain.",
    )
    service_account: DnsName | None = Field(default=None, description="ServiceAccount of the pods. Unset: the application's name.")
    role_arn: Annotated[
        str, Field(max_length=2048, pattern=r"^(arn:[ -~]+)?$", json_schema_extra={"x-allowed": "the ARN of an IAM role"})
    ] = Field(default="", description="IAM role of that ServiceAccount for IRSA. Empty: EKS Pod Identity, or no role.")
    hub_token: SecretFile | None = Field(default=None, description="Token for gated models of the hub; becomes the variable HF_TOKEN.")
    readiness_gates: bool = Field(
        default=True,
        description="Whether to label the namespace so that the load-balancer controller adds a readiness gate to each pod. A rollout "
        "then waits for the load balancer's health checks.",
    )
    nodes: NodesFile = Field(default=NodesFile(), description="NodePools and EC2NodeClasses of Karpenter.")
    load_balancer: LoadBalancerFile = Field(default=LoadBalancerFile(), description="The load balancer.")


class ReservationFile(FileModel):
    """Capacity reservations that Karpenter may launch into: one by its id, or all with some tags."""

    id: (
        Annotated[
            str,
            Field(
                pattern=r"^cr-[0-9a-z]+$", max_length=50, json_schema_extra={"x-allowed": "the id of a reservation such as cr-0123456789"}
            ),
        ]
        | None
    ) = Field(default=None, description="Id of a reservation or Capacity Block. Excludes tags and ownerId.")
    tags: dict[TagText, TagText] = Field(
        default={},
        max_length=20,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Tags that a reservation must have, all of them; the value * stands for any.",
    )
    owner_id: (
        Annotated[str, Field(pattern=r"^[0-9]{12}$", json_schema_extra={"x-allowed": "an AWS account's id, 12 digits in quotes"})] | None
    ) = Field(default=None, description="AWS account that must own it. Unset: any that shares it with yours. Needs tags.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.id is None) == (not self.tags):
            found = "both" if self.tags else "nothing"
            raise cross_field_error([(("id",), found, "either id or tags")])
        if self.id is not None and self.owner_id is not None:
            raise cross_field_error([(("ownerId",), describe_value(self.owner_id), "nothing beside id")])
        return self


class VllmFile(FileModel):
    """vLLM, which serves language models, behind the model server's adapter."""

    image: Image | None = Field(default=None, description="vLLM's image. Unset: that of the matrix for the device, see docs/images.md.")
    max_model_len: int = Field(default=4096, ge=16, le=10_000_000, description="Maximum length of prompt and answer together, tokens.")
    compile_cache: Annotated[
        str, Field(pattern=r"^(s3://[ -~]+|/[ -~]*)?$", max_length=500, json_schema_extra={"x-allowed": "s3://BUCKET/PREFIX or a path"})
    ] = Field(
        default="",
        description="Location of the compiled Neuron artifacts: the first pod compiles, the others reuse them. Required where the device's "
        "vLLM reads them there: on Inferentia2 and Trainium1.",
    )
    args: tuple[Text, ...] = Field(default=(), max_length=_MAX_ENTRIES, description="Further arguments of vllm serve, appended last.")
    env: dict[Variable, VariableValue] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further variables of vLLM's container; they override the rendered ones. No secrets.",
    )


class UnitStackFile(FileModel):
    """Fields of a unit that only `failoverctl render` reads."""

    image: Image | None = Field(
        default=None, description="The unit's image. Unset: that of its framework in spec.stack.images, or adapter with vllm."
    )
    model: Location = Field(default="", description="The unit's model. Empty: spec.stack.model.")
    revision: Revision = Field(
        default="", description="Commit or digest of the unit's model. Empty: spec.stack.revision, if the unit uses spec.stack.model."
    )
    compiled_model: Location = Field(
        default="",
        description="Location of the artifacts compiled for Neuron. Required with framework neuron, which compiles nothing.",
    )
    compiled_revision: Revision = Field(default="", description="Commit or digest of the compiled artifacts.")
    vllm: VllmFile | None = Field(
        default=None,
        description="Serve with vLLM, with framework cuda or neuron; {} for its defaults. Required where the task is text-generation.",
    )
    load_s: int | None = Field(
        default=None,
        ge=10,
        le=7200,
        description="Longest time until the unit's container is ready, seconds. Unset: spec.stack.loadSeconds, and half an hour at least "
        "where vLLM compiles for Neuron.",
    )
    reservations: tuple[ReservationFile, ...] = Field(
        default=(),
        max_length=30,
        description="Capacity reservations for the unit: selected by its EC2NodeClass, and used before on-demand capacity. Needs "
        "Karpenter's feature gate ReservedCapacity. With the gate on, on-demand launches refuse every reservation that is not listed.",
    )
    capacity_types: tuple[CapacityType, ...] = Field(
        default=(),
        max_length=3,
        description="What the unit's NodePool may buy. Karpenter tries reserved first, then spot, then on-demand, in whatever order they "
        "stand here. Unset: on-demand, and reserved where the unit has reservations. With [reserved] nothing can replace the nodes of a "
        "Capacity Block that ends. With [spot], name the unit's zones: EC2 takes spot instances back by zone (docs/planned-fleet.md).",
    )
    accelerators: int = Field(default=1, ge=1, le=16, description="Accelerators per pod. Price and throughput are those of such a pod.")
    cpu: Quantity | None = Field(default=None, description="Processors per pod. Unset: half of its share of the node.")
    memory: Quantity | None = Field(default=None, description="Memory per pod. Unset: three quarters of its share of the node.")
    disk: Quantity = Field(default="30Gi", description="Local disk per pod, for model and caches.")
    args: tuple[Text, ...] = Field(default=(), max_length=_MAX_ENTRIES, description="Arguments of the image's entry point.")
    env: dict[Variable, VariableValue] = Field(
        default={},
        max_length=_MAX_ENTRIES,
        json_schema_extra={"x-allowed": "a mapping from text to text"},
        description="Further variables of the container; they override the rendered ones. No secrets: manifests are kept in Git.",
    )
