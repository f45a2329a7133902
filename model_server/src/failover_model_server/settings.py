"""Settings: environment variables, the seed's names where it had one, checked at start."""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MODEL_SERVER_"


def _or_seed(field: str, seed: str) -> AliasChoices:
    """Read the field from our own variable, else from that of the seed's scripts."""
    return AliasChoices(f"{PREFIX}{field}".upper(), seed)


class Settings(BaseSettings):
    """Everything that can be set. A field `x` is read from `MODEL_SERVER_X`; the seed's variable, where there is one, is accepted too."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, populate_by_name=True)

    # What is served, and on what
    app: str = Field(
        "model", validation_alias=_or_seed("app", "APP"), description="Name of the application; begins the CloudWatch metrics."
    )
    task: str = Field("echo", description="A name of the entry-point group of tasks.")
    backend: str = Field(
        "cpu",
        validation_alias=_or_seed("backend", "DEVICE"),
        description="A name of the group of backends; the seed's `xla` means `neuron`.",
    )
    model: str = Field(
        "",
        validation_alias=_or_seed("model", "MODEL_ID"),
        description="hf://ORG/REPO, s3://BUCKET/PREFIX, file:///PATH or a path; without a scheme and not a path: a hub id.",
    )
    compiled_model: str = Field(
        "",
        validation_alias=_or_seed("compiled_model", "COMPILED_MODEL_ID"),
        description="Compiled artifacts for Neuron, from the same places.",
    )
    revision: str = Field("", description="Pinned revision (a commit) of a hub model.")
    variant: str = Field(
        "fp16",
        pattern=r"^[A-Za-z0-9_]*$",
        description="Precision of the weights to prefer where there are several; empty: the default one.",
    )
    hub_token: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices(f"{PREFIX}HUB_TOKEN", "HF_TOKEN", "HUGGINGFACE_TOKEN"),
        description="Token for gated models of the hub.",
    )
    hub_endpoint: str = Field(
        "", validation_alias=_or_seed("hub_endpoint", "HF_ENDPOINT"), description="Another address of the hub: a mirror."
    )
    download_timeout: float = Field(1500.0, gt=0, description="Seconds for the model to be here; less than what the startup probe allows.")
    cache_dir: Path = Field(
        Path("/tmp/failover-model-server"),  # noqa: S108 - a default for laptops; images set it
        description="Where models are put.",
    )
    node_pool: str = Field(
        "", validation_alias=_or_seed("node_pool", "NODEPOOL"), description="Node pool, for logs and the pool's counter."
    )
    pod_name: str = Field("", validation_alias=_or_seed("pod_name", "POD_NAME"), description="Name of the pod, for logs.")

    # Where it listens
    host: str = Field("0.0.0.0", description="Address of both ports.")  # noqa: S104 - a container is reached from outside
    port: int = Field(8000, ge=0, le=65535, description="HTTP; 0 takes a free one.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC; 0 takes a free one.")

    # Batching
    batch_buckets: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Batch sizes, as 1,2,4,8; empty: what the task and the backend prefer."
    )
    static_shapes: bool = Field(False, description="Pad to buckets also on a backend that does not need it.")
    max_queue: int = Field(64, ge=1, description="Requests that may wait; more get 429.")
    request_timeout: float = Field(60.0, gt=0, description="Longest time of a request, seconds.")

    # Limits of a request
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1, description="Bytes of a request body.")
    max_pixels: int = Field(16_000_000, ge=1, description="Pixels of an image that is sent.")
    max_input_tokens: int = Field(2048, ge=1, description="Tokens of a prompt.")
    max_new_tokens: int = Field(
        256, ge=1, validation_alias=_or_seed("max_new_tokens", "MAX_NEW_TOKENS"), description="Tokens that may be generated."
    )
    url_allow_list: Annotated[tuple[str, ...], NoDecode] = Field((), description="Hosts that images may be fetched from; empty: none.")

    @field_validator("batch_buckets", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Read "1,2,4,8"."""
        return tuple(int(part) for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("batch_buckets")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(size < 1 for size in value) or list(value) != sorted(set(value)):
            raise ValueError("batch_buckets: list positive sizes in ascending order, each once, as 1,2,4,8")
        return value

    @field_validator("url_allow_list", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        """Read "images.example.com,cdn.example.com"."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("backend")
    @classmethod
    def _seed_device(cls, value: str) -> str:
        """The seed called Neuron `xla`."""
        return "neuron" if value == "xla" else value
