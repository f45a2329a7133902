"""Settings of the process: what one running controller needs to know besides its applications.

`load_settings` reads a YAML file and the environment (``FAILOVERCTL_POLLS__TICK_INTERVAL_S=10``); the environment wins. Every wrong value
is an error that names the place, what was found and what is allowed, and no error ever contains a secret.

The clock's factor is not a setting: only the demo's own wiring can make time run faster.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from controller.documents import (
    Document,
    Fault,
    Place,
    Problem,
    check,
    config_error,
    cross_field_error,
    describe_value,
    place_text,
    problem_texts,
    read_documents,
    read_limited,
    schema_at,
)
from controller.errors import ConfigError

ENV_PREFIX: Final = "FAILOVERCTL_"
ENV_DELIMITER: Final = "__"
SETTINGS_VARIABLE: Final = "FAILOVERCTL_SETTINGS"

# Kubernetes puts these into every pod of a namespace that has a Service named failoverctl (unless enableServiceLinks is false).
_SERVICE_LINK: Final = re.compile(r"FAILOVERCTL_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+")


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    JSON = "json"
    CONSOLE = "console"


def _https(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith("https://") or any(character.isspace() for character in text):
        raise ValueError("not an https URL")
    return url


def _arns(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_ARN.fullmatch(name) for name in names):
        raise ValueError("not an ARN")
    return names


def _not_reserved(namespace: str) -> str:
    if namespace.startswith("AWS/"):
        raise ValueError("AWS keeps namespaces that start with AWS/ to itself")
    return namespace


MetricNamespace = Annotated[
    str,
    AfterValidator(_not_reserved),
    Field(
        pattern=r"^[A-Za-z0-9._/#:-]{1,255}$",
        json_schema_extra={"x-allowed": "1 to 255 of the characters A-Z a-z 0-9 . _ / # : -, not starting with AWS/"},
    ),
]
Label = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        json_schema_extra={"x-allowed": "a DNS label (lower-case letters, digits and -; at most 63 characters)"},
    ),
]
WebhookUrl = Annotated[SecretStr, AfterValidator(_https), Field(json_schema_extra={"x-allowed": "an https:// URL"})]
Arns = Annotated[tuple[str, ...], AfterValidator(_arns), Field(json_schema_extra={"x-allowed": "a list of at most 5 ARNs"})]


class Theme(BaseModel):
    """What all groups of settings have in common: they do not change, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class KubernetesSettings(Theme):
    """How the Kubernetes API is reached and watched."""

    kubeconfig: str | None = Field(
        default=None,
        description="Path of a kubeconfig file. Unset: $KUBECONFIG, then the pod's service account, then ~/.kube/config, like kubectl.",
    )
    context: str | None = Field(default=None, description="Context in the kubeconfig. Unset: its current one.")
    connect_timeout_s: float = Field(default=2, gt=0, le=30, description="Time-out for connecting, seconds. Short: a tick waits for it.")
    read_timeout_s: float = Field(
        default=5, gt=0, le=60, description="Time-out for each answer that is not a watch, seconds. Shorter than a tick."
    )
    watch_timeout_s: int = Field(
        default=300,
        ge=30,
        le=3600,
        description="How long the server keeps one watch open, seconds. The API server's own default is 30 to 60 minutes.",
    )
    watch_idle_s: float = Field(
        default=90,
        ge=10,
        le=3600,
        description="Silence after which a watch counts as dead, seconds. The server sends a bookmark about once a minute.",
    )
    cluster_wide: bool = Field(
        default=False,
        description="Watch all namespaces with a ClusterRole. Off: only the namespaces of the applications, which needs a Role in each.",
    )
    state_namespace: Label = Field(
        default="failover-system", description="Namespace of the ConfigMaps that keep memory, history and status."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.watch_idle_s >= self.watch_timeout_s:
            allowed = f"less than watch_timeout_s ({self.watch_timeout_s}), or it never matters"
            raise cross_field_error([(("watch_idle_s",), f"{self.watch_idle_s:g}", allowed)])
        return self


class LeaderElectionSettings(Theme):
    """How replicas agree on the one that acts, through a Lease in the state namespace."""

    enabled: bool = Field(
        default=True,
        description="Take part. Off: this process always acts; only where something else sees to it that there is one replica.",
    )
    lease_duration_s: int = Field(
        default=15,
        ge=12,
        le=300,
        description="How long a replica waits for a sign of life before it takes over, seconds. Bounds the gap after a crash.",
    )


class AwsSettings(Theme):
    """Which AWS APIs are used. Credentials and endpoint come from where every AWS SDK looks for them."""

    region: str | None = Field(
        default=None,
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$",
        json_schema_extra={"x-allowed": "a region such as us-west-2"},
        description="AWS region. Unset: $AWS_REGION, the profile or the instance.",
    )
    elbv2_enabled: bool = Field(
        default=True,
        description="Verify every switch with DescribeRules and DescribeTargetHealth. Off: no switch can be verified, and it says so.",
    )
    cloudwatch_enabled: bool = Field(default=True, description="Read demand, latency and 5xx. Off: decisions rest on Kubernetes alone.")
    reservations_enabled: bool = Field(
        default=True, description="Show the headroom of capacity reservations. Needs ec2:DescribeCapacityReservations."
    )
    quotas_enabled: bool = Field(
        default=True, description="Show vCPU quotas and their use. Needs servicequotas:GetServiceQuota and cloudwatch:GetMetricData."
    )
    latency_stat: str = Field(
        default="p95",
        pattern=r"^(p\d{1,2}(\.\d{1,2})?|Average|Maximum)$",
        json_schema_extra={"x-allowed": "a percentile such as p95, Average or Maximum"},
        description="CloudWatch statistic of a unit's latency: a percentile such as p95, Average or Maximum.",
    )
    ec2_enabled: bool = Field(
        default=True, description="Read which zones sell an instance type. Off: every zone of the NodePool counts as offered."
    )


class PollSettings(Theme):
    """How often things are asked for that cannot be watched."""

    tick_interval_s: float = Field(
        default=15,
        ge=1,
        le=300,
        description="Longest time between two ticks, seconds; a twentieth of a second an application where that is longer. "
        "Watches wake a tick at once, so this only bounds clocks.",
    )
    cloudwatch_interval_s: float = Field(
        default=60, ge=10, le=3600, description="Between two GetMetricData calls, seconds. Metrics have periods of 60 s."
    )
    ec2_interval_s: float = Field(
        default=300, ge=30, le=86_400, description="Between two looks at EC2 offerings, seconds. They change within days."
    )
    verification_interval_s: float = Field(
        default=5, ge=1, le=60, description="Between two looks at the load balancer while a change is not verified, seconds."
    )
    elbv2_calls_per_s: float = Field(
        default=1,
        gt=0,
        le=20,
        description="Most ELBv2 calls per second. The account's limit is shared with the AWS Load Balancer Controller.",
    )
    catalog_interval_s: float = Field(default=5, ge=1, le=3600, description="Between two looks for changed application files, seconds.")


class FreshnessSettings(Theme):
    """How old a source's last word may be before it counts as stale. A stale required source means: hold, never guess."""

    watch_s: float = Field(
        default=180, ge=30, le=3600, description="Kubernetes watches, seconds: twice the idle limit, so one lost stream is no alarm."
    )
    cloudwatch_s: float = Field(
        default=300, ge=60, le=7200, description="CloudWatch, seconds: a period of 60 s, its delivery, and a few failed polls."
    )
    ec2_s: float = Field(default=1800, ge=60, le=172_800, description="EC2 offerings, seconds: a few failed polls.")


class SlackSettings(Theme):
    """Where people are told. Without a URL nothing is sent to Slack."""

    webhook_url: WebhookUrl | None = Field(
        default=None,
        description="Incoming-webhook URL. A secret: give it by environment or, better, by file. Never shown in logs or errors.",
    )
    webhook_url_file: Path | None = Field(
        default=None,
        description="File that holds the URL, such as a mounted Secret. Read again before use, so a rotated Secret needs no restart.",
    )
    timeout_s: float = Field(
        default=3, gt=0, le=60, description="Time-out of one delivery, seconds. On the sink's own thread, never in a tick."
    )
    attempts: int = Field(default=5, ge=1, le=20, description="Deliveries tried for one message before it is dropped and counted.")
    retry_max_s: float = Field(
        default=60, ge=1, le=3600, description="Longest pause between two tries, seconds, whatever Retry-After says."
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.webhook_url is not None and self.webhook_url_file is not None:
            raise cross_field_error([(("webhook_url_file",), "both webhook_url and webhook_url_file", "one of the two")])
        return self

    def webhook(self) -> SecretStr | None:
        """The webhook URL from wherever it is; None where Slack is not configured.

        Raises:
            ConfigError: The file cannot be read or does not hold an https URL. Its content is not in the message.
        """
        if self.webhook_url_file is None:
            return self.webhook_url
        where = f"slack.webhook_url_file: {self.webhook_url_file}"
        try:
            return _https(SecretStr(read_limited(self.webhook_url_file).decode().strip()))
        except ValueError:  # UnicodeDecodeError is one
            raise ConfigError(f"{where}: found text that is no URL; allowed: one https:// URL") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


class CloudWatchNotifierSettings(Theme):
    """The controller's own metrics in CloudWatch, and an alarm on them."""

    enabled: bool = Field(default=True, description="Publish metrics. Needs cloudwatch:PutMetricData; custom metrics are billed by AWS.")
    namespace: MetricNamespace = Field(default="Failoverctl", description="CloudWatch namespace of the published metrics.")
    publish_interval_s: float = Field(
        default=60, ge=10, le=3600, description="Between two publications, seconds. The standard resolution is 60 s."
    )
    alarm_enabled: bool = Field(default=False, description="Create and keep one alarm an application. Needs cloudwatch:PutMetricAlarm.")
    alarm_actions: Arns = Field(
        default=(), max_length=5, description="ARNs that the alarm notifies, such as an SNS topic. CloudWatch allows 5."
    )


class NotificationSettings(Theme):
    """What all sinks have in common."""

    dedup_window_s: float = Field(
        default=600, ge=0, le=86_400, description="Messages with the same key are sent once in this time, seconds. 0: always."
    )
    queue: int = Field(
        default=100, ge=1, le=10_000, description="Messages that may wait for one sink. Beyond it the oldest is dropped and counted."
    )


class RecordingSettings(Theme):
    """Recorded decisions for `failoverctl replay`: see docs/replay.md."""

    folder: Path | None = Field(
        default=None,
        description="Folder that decisions are recorded in, one of its own for each process. Unset: nothing is recorded.",
    )
    max_file_bytes: int = Field(
        default=16_777_216, ge=1_048_576, le=1_073_741_824, description="Size of a file before it is compressed, bytes."
    )
    max_files: int = Field(
        default=50, ge=1, le=500, description="Compressed files kept besides the one that is written. The oldest goes first."
    )
    heartbeat_s: float = Field(
        default=60, ge=1, le=3600, description="Longest time between two lines of an application for which nothing changes, seconds."
    )


class HttpSettings(Theme):
    """The status page, health checks and metrics. Read-only."""

    host: str = Field(
        default="0.0.0.0",  # noqa: S104 - the kubelet probes the pod's own address
        min_length=1,
        description="Address to listen on. All by default, because the kubelet probes the pod's own.",
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="TCP port to listen on; 0: any free one.")


class LogSettings(Theme):
    """The log on standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="Least severe level that is logged.")
    format: LogFormat = Field(default=LogFormat.JSON, description="json: one object a line, for machines. console: for people.")


class _Fields(BaseModel):
    """All settings, without where they come from: a file alone is checked against this."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    applications: Path = Field(
        default=Path("/etc/failoverctl/applications"),
        description="Application file, or directory of them (*.yaml and *.yml, not below it). Where the manifests mount a ConfigMap.",
    )
    shutdown_grace_s: float = Field(
        default=20,
        ge=1,
        le=600,
        description="Time to finish a tick and send what is queued after SIGTERM, seconds. Below the pod's grace period of 30 s.",
    )
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), description="How the Kubernetes API is reached and watched.")
    leader_election: LeaderElectionSettings = Field(
        default=LeaderElectionSettings(), description="How replicas agree on the one that acts."
    )
    aws: AwsSettings = Field(default=AwsSettings(), description="Which AWS APIs are used.")
    polls: PollSettings = Field(default=PollSettings(), description="How often things are asked for that cannot be watched.")
    freshness: FreshnessSettings = Field(default=FreshnessSettings(), description="How old a source's last word may be.")
    slack: SlackSettings = Field(default=SlackSettings(), description="The Slack sink.")
    cloudwatch: CloudWatchNotifierSettings = Field(default=CloudWatchNotifierSettings(), description="The CloudWatch sink.")
    notifications: NotificationSettings = Field(default=NotificationSettings(), description="What all sinks have in common.")
    http: HttpSettings = Field(default=HttpSettings(), description="The status page, health checks and metrics.")
    recording: RecordingSettings = Field(default=RecordingSettings(), description="Recorded decisions.")
    log: LogSettings = Field(default=LogSettings(), description="The log on standard error.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        """A budget shorter than its poll would always be spent, and a call longer than a tick would delay the next decision."""
        faults: list[Fault] = []
        for place, value, name, least in (
            (("freshness", "watch_s"), self.freshness.watch_s, "kubernetes.watch_idle_s", self.kubernetes.watch_idle_s),
            (("freshness", "cloudwatch_s"), self.freshness.cloudwatch_s, "polls.cloudwatch_interval_s", self.polls.cloudwatch_interval_s),
            (("freshness", "ec2_s"), self.freshness.ec2_s, "polls.ec2_interval_s", self.polls.ec2_interval_s),
        ):
            if value <= least:
                faults.append((place, f"{value:g}", f"more than {name} ({least:g}), or the source is always stale"))
        if self.kubernetes.read_timeout_s >= self.polls.tick_interval_s:
            allowed = f"less than polls.tick_interval_s ({self.polls.tick_interval_s:g}), so that no call outlasts a tick"
            faults.append((("kubernetes", "read_timeout_s"), f"{self.kubernetes.read_timeout_s:g}", allowed))
        if faults:
            raise cross_field_error(faults)
        return self


class Settings(_Fields, BaseSettings):
    """All settings of the process. Make one with `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        env_ignore_empty=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose values are the constructor's arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None, *, ignore_env: Collection[str] = ()) -> Settings:
    """Reads the settings.

    Args:
        path: YAML file; None: the one that ``FAILOVERCTL_SETTINGS`` names, or none at all.
        ignore_env: Further environment variables with our prefix that are no settings, e.g. those of the command line.

    Raises:
        ConfigError: Lists everything that is wrong, by file and line or by environment variable.
    """
    if path is None and os.environ.get(SETTINGS_VARIABLE):
        path = Path(os.environ[SETTINGS_VARIABLE])
    document = _settings_document(path)
    _, problems = check(_Fields, document, together=False)
    values = document.data if isinstance(document.data, dict) else {}
    schema = _Fields.model_json_schema()
    variables = _variables({SETTINGS_VARIABLE, *ignore_env})
    problems += _name_problems(variables, schema)
    result: Settings | None = None
    try:
        result = Settings(**values)
    except SettingsError:
        if not problems:  # usually `_name_problems` has named the variable that is not JSON where it has to be
            problems.append(Problem("environment", 0, (), f"a variable that starts with {ENV_PREFIX} cannot be read"))
    except ValidationError as error:
        problems += _env_problems(error, document, schema, variables, problems)
    if problems or result is None:
        raise config_error(problems)
    return result


def _settings_document(path: Path | None) -> Document:
    if path is None:
        return Document("settings", 0, {})
    documents = read_documents(read_limited(path), str(path))
    if len(documents) > 1:
        raise ConfigError(f"{path}:{documents[1].line}: found a second document; allowed: one")
    return documents[0] if documents else Document(str(path), 1, {})


def _variables(ignored: Collection[str]) -> dict[Place, str]:
    """The environment variables that are meant as settings, by the place that each of them names."""
    names = (name for name in os.environ if name.upper().startswith(ENV_PREFIX) and os.environ[name])
    return {
        tuple(name[len(ENV_PREFIX) :].lower().split(ENV_DELIMITER)): name
        for name in names
        if name.upper() not in ignored and not _SERVICE_LINK.fullmatch(name)
    }


def _name_problems(variables: Mapping[Place, str], schema: Mapping[str, Any]) -> list[Problem]:
    """Variables that name no setting, name a whole group, or hold a list that is not JSON."""
    problems: list[Problem] = []
    for place, name in variables.items():
        node = schema_at(schema, place)
        if not node:
            known = [place_text(setting) for setting in setting_places(schema)]
            near = difflib.get_close_matches(place_text(place), known, n=1)
            guess = f"; did you mean {variable_name(tuple(near[0].split('.')))}?" if near else ""
            problems.append(Problem(name, 0, (), f"found a variable that names no setting{guess}; allowed: see docs/configuration.md"))
        elif "properties" in node:
            example = variable_name((*place, next(iter(node["properties"]))))
            problems.append(Problem(name, 0, place, f"found a whole group; allowed: one variable a setting, such as {example}"))
        elif node.get("type") == "array" and not _is_json_list(os.environ[name]):
            problems.append(Problem(name, 0, place, 'found text that is not JSON; allowed: a JSON list such as ["one", "two"]'))
    return problems


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _env_problems(
    error: ValidationError, document: Document, schema: Mapping[str, Any], variables: Mapping[Place, str], reported: Sequence[Problem]
) -> Iterator[Problem]:
    """What is wrong with the merged settings and was not already wrong in the file alone."""
    known = {problem.place for problem in reported}
    unknown = set(variables) - set(setting_places(schema))

    def value(place: Place) -> Any:  # noqa: ANN401 - text of a variable or whatever the file says
        return os.environ[variables[place]] if place in variables else document.value(place)

    def found(place: Place) -> str:
        return describe_value(value(place)) if place in variables else document.found(place)

    for details in error.errors(include_url=False):
        for place, text in problem_texts(details, schema, found, value, hints=False):
            if any(other[: len(place)] == place for other in unknown):
                continue  # the variable's name is the problem, and has been named
            if place in variables:
                yield Problem(variables[place], 0, place, text)
            elif place not in known:
                yield Problem(document.file, document.line_of(place) if document.line else 0, place, text)


def setting_places(schema: Mapping[str, Any], below: Place = ()) -> list[Place]:
    """Every place of a JSON schema that holds a value and not a group, in order."""
    places: list[Place] = []
    for name in schema_at(schema, below).get("properties", {}):
        place = (*below, name)
        places += setting_places(schema, place) if "properties" in schema_at(schema, place) else [place]
    return places


def variable_name(place: Place) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + ENV_DELIMITER.join(str(step).upper() for step in place)
