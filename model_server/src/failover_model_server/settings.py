"""Settings: environment variables, the seed's names where it had one, checked at start."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MODEL_SERVER_"


def _or_seed(field: str, seed: str) -> AliasChoices:
    """Read the field from our own variable, else from that of the seed's scripts."""
    return AliasChoices(f"{PREFIX}{field}".upper(), seed)


class Settings(BaseSettings):
    """Everything that can be set.

    A field `x` is read from `MODEL_SERVER_X`; the variable of the seed's scripts, where there is one, is accepted too.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, populate_by_name=True)

    # What is served, and on what
    app: str = Field(
        default="model", validation_alias=_or_seed("app", "APP"), description="The application; begins the names of the counters."
    )
    task: str = Field(default="echo", description="A task by name; `failover-model-server backends` lists them.")
    backend: str = Field(
        default="cpu", validation_alias=_or_seed("backend", "DEVICE"), description="A backend by name; the seed's `xla` is `neuron`."
    )
    model: str = Field(
        default="",
        validation_alias=_or_seed("model", "MODEL_ID"),
        description="hf://ORG/REPO, s3://BUCKET/PREFIX, file:///PATH or a path; without a scheme and not a path: a hub id.",
    )
    compiled_model: str = Field(
        default="", validation_alias=_or_seed("compiled_model", "COMPILED_MODEL_ID"), description="Compiled artifacts, for Neuron."
    )
    revision: str = Field(default="", description="Commit of a hub model, without which none is served; digest of an S3 prefix.")
    compiled_revision: str = Field(default="", description="The same for the compiled artifacts.")
    variant: str = Field(
        default="fp16",
        pattern=r"^[A-Za-z0-9_]*$",
        description="Precision of the weights to prefer where there are several; empty: the default one.",
    )
    hub_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices(f"{PREFIX}HUB_TOKEN", "HF_TOKEN", "HUGGINGFACE_TOKEN"),
        description="Token for gated models of the hub.",
    )
    hub_endpoint: str = Field(
        default="", validation_alias=_or_seed("hub_endpoint", "HF_ENDPOINT"), description="Another address of the hub: a mirror."
    )
    download_timeout: float = Field(
        default=1500.0, gt=0, description="Seconds for the model to be here; less than what the startup probe allows."
    )
    cache_dir: Path = Field(default=Path("/tmp/failover-model-server"), description="Where models are put.")  # noqa: S108 - a default for laptops; images set it
    compile_cache: str = Field(
        default="", description="Where compile caches of torch.compile are kept for other pods: s3://BUCKET/PREFIX or a path."
    )
    compile_cache_save: bool = Field(default=False, description="Keep what this server compiles there, where it is not there yet.")
    compile_cache_required: bool = Field(default=False, description="Fail rather than compile for minutes what is not there.")
    node_pool: str = Field(default="", validation_alias=_or_seed("node_pool", "NODEPOOL"), description="Node pool, for logs.")
    pod_name: str = Field(default="", validation_alias=_or_seed("pod_name", "POD_NAME"), description="Name of the pod, for logs.")

    # Where it listens
    host: str = Field(default="::", description="Address of both ports; `::` is every address, IPv4 and IPv6.")
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP; 0 takes a free one.")
    grpc_port: int = Field(default=50051, ge=0, le=65535, description="gRPC; 0 takes a free one.")

    engine_url: str = Field(default="http://127.0.0.1:8001", description="vLLM's own address, for the adapter beside it.")

    # Batching
    batch_buckets: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(), description="Batch sizes, as 1,2,4,8; empty: what the task and the backend prefer."
    )
    static_shapes: bool = Field(default=False, description="Pad to buckets also on a backend that does not need it.")
    max_queue: int = Field(default=64, ge=1, description="Requests that may wait; more get 429.")
    max_queue_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Expected seconds that a request may wait for its batch, else 429. 0: its deadline alone decides.",
    )
    threads: int = Field(
        default=0, ge=0, le=64, description="Threads that prepare requests and finish responses; 0: one for each processor, 2 to 4."
    )
    request_timeout: float = Field(default=60.0, gt=0, description="Longest time of a request, seconds.")

    # Life
    load_timeout: float = Field(default=1800.0, gt=0, description="Seconds from start to READY; then the process ends with an error.")
    drain_seconds: float = Field(
        default=10.0, ge=0, description="Seconds to go on accepting after SIGTERM, while load balancers take the pod out."
    )
    finish_seconds: float = Field(default=60.0, ge=0, description="Seconds after that for what is in flight; 0: none.")
    wedge_seconds: float = Field(
        default=60.0, gt=0, description="A batch may go without progress for at least so long before the server calls itself wedged."
    )

    # What operators see
    log_format: Literal["json", "text"] = Field(default="json", description="Logs on standard output.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe log that is written.")
    cloudwatch: bool = Field(default=False, description="Publish the counters that KEDA scales on.")
    cloudwatch_namespace: str = Field(default="hw-agnostic-infer", description="Namespace of the counters.")
    cloudwatch_seconds: float = Field(default=10.0, gt=0, description="Seconds between two calls of PutMetricData.")
    sequence_buckets: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Lengths that prompts are padded to, in tokens, as 32,128,512; empty: 32, 128, 512 … up to what the model reads."
    )

    # How the model runs
    torch_device: str = Field("", description="Device of torch: cpu, cuda, cuda:1; empty: what the backend is for.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Type of the weights; auto: float32 on a CPU, else float16."
    )
    compile_backend: str = Field(
        "inductor", description="torch.compile's backend, for `triton`; aot_eager finds graph breaks without compiling."
    )
    compile_mode: str = Field("max-autotune-no-cudagraphs", description="torch.compile's mode, for `triton` with inductor.")

    # Limits of a client
    max_connections: int = Field(
        default=1000,
        ge=1,
        description="HTTP connections; beyond, the one is closed for which the server has waited longest. "
        "Also gRPC connections, and gRPC calls; beyond, new ones are refused.",
    )
    header_timeout: float = Field(
        default=10.0, gt=0, description="Seconds for the headers of a request, then 408; and for the handshake of a gRPC connection."
    )
    body_timeout: float = Field(default=30.0, gt=0, description="Seconds for its body; then 408. Also for the message of a gRPC call.")

    # Limits of a request
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1, description="Bytes of a request body.")
    max_pixels: int = Field(default=16_000_000, ge=1, description="Pixels of an image that is sent.")
    max_side: int = Field(default=8192, ge=1, description="Pixels of its longer side.")
    max_input_tokens: int = Field(default=2048, ge=1, description="Tokens of a prompt.")
    max_new_tokens: int = Field(
        default=256,
        ge=1,
        validation_alias=_or_seed("max_new_tokens", "MAX_NEW_TOKENS"),
        description="Tokens that vLLM may generate for a request, for the adapter beside it.",
    )

    def seconds(self, timeout: float | None) -> float:
        """Seconds that a request has: what its client allows, at most the setting."""
        return min(timeout or self.request_timeout, self.request_timeout)

    @field_validator("batch_buckets", "sequence_buckets", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        """Read "1,2,4,8"."""
        return tuple(int(part) for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("batch_buckets", "sequence_buckets")
    @classmethod
    def _ascending(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if any(size < 1 for size in value) or list(value) != sorted(set(value)):
            raise ValueError(f"{info.field_name}: list positive sizes in ascending order, each once, as 1,2,4,8")
        return value

    @field_validator("backend")
    @classmethod
    def _seed_device(cls, value: str) -> str:
        """The seed called Neuron `xla`."""
        return "neuron" if value == "xla" else value
