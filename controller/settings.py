"""Settings of one running controller, apart from its applications.

`load_settings` reads a YAML file and the environment (``FAILOVERCTL_POLLS__TICK_INTERVAL_S=10``); the environment overrides the file. For
each invalid value the error names the place, what was found and what is allowed. No error contains a secret.

The clock's factor is not a setting: only the demo can make time run faster.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from controller.documents import (
    Document,
    Place,
    Problem,
    Region,
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
from controller.removed import what_to_do

ENV_PREFIX: Final = "FAILOVERCTL_"
ENV_DELIMITER: Final = "__"
SETTINGS_VARIABLE: Final = "FAILOVERCTL_SETTINGS"
_NAMED: Final[set[str]] = set()  # the variables of this process that standard error has named

# Kubernetes puts these into every pod of a namespace that has a Service named failoverctl (unless enableServiceLinks is false).
_SERVICE_LINK: Final = re.compile(r"FAILOVERCTL_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+")


class LogLevel(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """The format of log lines."""

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
        raise ValueError("AWS reserves namespaces that start with AWS/")
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


_TOPIC: Final = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"
SLACK_CHANNEL: Final = r"^(#\S{1,80}|[CDG][A-Z0-9]{2,20})$"
_BUS: Final = r"^(arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/)?[A-Za-z0-9._/-]{1,256}$"
SlackChannel = Annotated[
    str,
    Field(pattern=SLACK_CHANNEL, json_schema_extra={"x-allowed": "a channel's ID such as C0123456789, or its name with a # such as #ops"}),
]
TopicArn = Annotated[
    str,
    Field(pattern=_TOPIC, json_schema_extra={"x-allowed": "the ARN of a topic such as arn:aws:sns:us-west-2:123456789012:alerts"}),
]
EventBus = Annotated[
    str,
    Field(pattern=_BUS, json_schema_extra={"x-allowed": "the ARN of an event bus, or its name: letters, digits and . _ / -"}),
]


_QUEUE: Final = r"^https://sqs\.[a-z0-9-]+\.[a-z.]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}$"
QueueUrl = Annotated[
    str,
    Field(
        pattern=_QUEUE,
        json_schema_extra={"x-allowed": "a standard queue's URL such as https://sqs.us-west-2.amazonaws.com/123456789012/failoverctl"},
    ),
]


class Theme(BaseModel):
    """Base of all groups of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class KubernetesSettings(Theme):
    """Connection to the Kubernetes API."""

    kubeconfig: str | None = Field(
        default=None,
        description="Path of a kubeconfig file. Unset: $KUBECONFIG, then the pod's service account, then ~/.kube/config, like kubectl.",
    )
    context: str | None = Field(default=None, description="Context in the kubeconfig. Unset: its current one.")
    cluster_wide: bool = Field(
        default=False,
        description="Watch all namespaces, which needs a ClusterRole. Off: only the applications' namespaces, which needs a Role in each. "
        "From ten namespaces on it takes less memory and fewer connections.",
    )
    state_namespace: Label = Field(
        default="failover-system", description="Namespace of the ConfigMaps that hold memory, history and status."
    )


class LeaderElectionSettings(Theme):
    """Election of the one replica that acts, through a Lease in the state namespace."""

    enabled: bool = Field(
        default=True,
        description="Take part in the election. Off: this process always acts; only safe if something else guarantees a single replica.",
    )


class AwsApi(StrEnum):
    """What the controller asks of AWS."""

    ELBV2 = "elbv2"
    CLOUDWATCH = "cloudwatch"
    EC2 = "ec2"
    RESERVATIONS = "reservations"
    QUOTAS = "quotas"
    PRICES = "prices"


class AwsSettings(Theme):
    """Use of the AWS APIs. Credentials and endpoint come from the usual places of the AWS SDKs."""

    region: Region | None = Field(default=None, description="AWS region. Unset: $AWS_REGION, the profile or the instance.")
    apis: tuple[AwsApi, ...] = Field(
        default=tuple(api for api in AwsApi if api is not AwsApi.PRICES),
        description="What is asked of AWS. Leave out what the role may not ask. "
        "elbv2 verifies every mode change: without it every change stays unverified, as status and alerts report. cloudwatch reads demand, "
        "latency and 5xx: without it decisions rest on Kubernetes alone. ec2 reads which zones offer an instance type: without it every "
        "zone of the NodePool counts as offered. reservations reads capacity reservations: without it traffic cannot leave a Capacity "
        "Block before it ends. quotas shows vCPU quotas. prices, off by default, takes AWS's list prices in place of the files' prices, "
        "where Karpenter's metrics give none: leave it off where the files have your discount. docs/aws.md names the permissions.",
    )
    latency_stat: str = Field(
        default="p95",
        pattern=r"^(p\d{1,2}(\.\d{1,2})?|Average|Maximum)$",
        json_schema_extra={"x-allowed": "a percentile such as p95, Average or Maximum"},
        description="CloudWatch statistic of a unit's latency: a percentile such as p95, Average or Maximum.",
    )
    refusal_queue_url: QueueUrl | None = Field(
        default=None,
        description="URL of an SQS queue with CloudTrail's records of EC2's answers to Karpenter, in the account and region of the cluster "
        "(docs/aws.md). They name every refused offering, of which Karpenter's events name the first ones; alone they prove nothing. "
        "The leader receives and deletes the messages: give each cluster its own queue. Unset: not read.",
    )

    @model_validator(mode="after")
    def _in_region(self) -> Self:
        url = self.refusal_queue_url
        if url is not None and self.region is not None and f"//sqs.{self.region}." not in url:
            raise cross_field_error(
                [(("refusal_queue_url",), "a queue of another region than aws.region", "a queue of the cluster's region")]
            )
        return self


def _in_cluster(url: str) -> str:
    """Accepts a URL of this host, of a private address, or of a Service by its full name: nobody's metrics are on the internet."""
    parts = urlsplit(url)  # a ValueError is the refusal of something that is no URL
    host = parts.hostname or ""
    try:
        address = ip_address(host)
        near = address.is_private and not address.is_link_local  # not the instance's metadata
    except ValueError:
        near = host == "localhost" or host.endswith(".svc") or ".svc." in host
    if parts.scheme not in {"http", "https"} or not near or parts.username or parts.query or parts.fragment or re.search(r"\s", url):
        raise ValueError("not a URL of this cluster")
    return url


ClusterUrl = Annotated[
    str,
    AfterValidator(_in_cluster),
    Field(
        max_length=500,
        json_schema_extra={"x-allowed": "an http(s) URL whose host is a Service (NAME.NAMESPACE.svc), localhost or a private address"},
    ),
]


class KarpenterSettings(Theme):
    """Use of Karpenter's own metrics. Without a URL they are not read; its objects and events, and the files' prices, suffice."""

    metrics_url: ClusterUrl | None = Field(
        default=None,
        description="Where Karpenter's metrics are, such as http://karpenter.kube-system.svc:8080/metrics. An offering that its gauge "
        "calls unavailable then needs no refusal of its own to complete a proof; the gauge alone proves nothing. The NetworkPolicy must "
        "let the port out (chart: networkPolicy.egressPorts). Unset: not read.",
    )
    prices_enabled: bool = Field(
        default=True,
        description="With metrics_url, take prices from Karpenter's gauge in place of the application files', also of spot instances. They "
        "are list prices: switch it off where the files have your discount.",
    )


class PollSettings(Theme):
    """How often the controller asks, for what cannot be watched."""

    tick_interval_s: float = Field(
        default=15,
        ge=6,
        le=300,
        description="Longest time between two ticks, seconds; 0.05 s per application if that is longer. Watches trigger a tick at once, "
        "so this bounds only decisions that depend on time alone.",
    )
    elbv2_calls_per_s: float = Field(
        default=1,
        gt=0,
        le=20,
        description="Most ELBv2 calls per second. The AWS Load Balancer Controller uses the same limit of the account.",
    )


class SlackSettings(Theme):
    """Notifications to Slack, by an incoming webhook or, with a thread for each incident, by a bot. Without either nothing is sent."""

    webhook_url: WebhookUrl | None = Field(
        default=None,
        description="Incoming-webhook URL. It is a secret: set it by environment or, better, by file. Logs and errors never show it.",
    )
    webhook_url_file: Path | None = Field(
        default=None,
        description="File with the URL, such as a mounted Secret. It is read for each message, so a rotated Secret needs no restart.",
    )
    token_file: Path | None = Field(
        default=None,
        description="File with a bot's token (xoxb-…, scope chat:write), in place of a webhook. Read for each message.",
    )
    channel: SlackChannel | None = Field(
        default=None,
        description="Where the bot posts: a channel's ID (C…), or its name with a #. Invite the bot to it.",
    )
    api_url: str = Field(
        default="https://slack.com/api",
        pattern=r"^https?://\S+[^/\s]$",
        json_schema_extra={"x-allowed": "an http(s) URL without a slash at its end"},
        description="Slack's Web API, without the last slash. GovSlack: https://slack-gov.com/api.",
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.webhook_url is not None and self.webhook_url_file is not None:
            raise cross_field_error([(("webhook_url_file",), "both webhook_url and webhook_url_file", "one of the two")])
        if self.token_file is not None and (self.webhook_url is not None or self.webhook_url_file is not None):
            raise cross_field_error([(("token_file",), "both a webhook and a bot's token", "one of the two")])
        if (self.token_file is None) != (self.channel is None):
            found = "token_file without channel" if self.channel is None else "channel without token_file"
            raise cross_field_error([(("channel",), found, "both or neither; the webhook has its own channel")])
        return self


class WebhookSettings(Theme):
    """Messages as JSON to a receiver of your own. Without a URL nothing is sent."""

    url_file: Path | None = Field(
        default=None,
        description="File with the URL, such as a mounted Secret: many receivers know their senders by it alone. Read for each message.",
    )
    key_file: Path | None = Field(
        default=None, description="File with a key. Each body then carries its HMAC in the header X-Failoverctl-Signature."
    )


class SnsSettings(Theme):
    """Messages to an Amazon SNS topic. Needs sns:Publish."""

    topic_arn: TopicArn | None = Field(default=None, description="ARN of the topic. Unset: nothing is sent.")


class EventBridgeSettings(Theme):
    """Messages to an Amazon EventBridge bus. Needs events:PutEvents."""

    bus: EventBus | None = Field(default=None, description="Name or ARN of the event bus, such as default. Unset: nothing is sent.")


class CloudWatchNotifierSettings(Theme):
    """The controller's own metrics in CloudWatch, and alarms on them."""

    enabled: bool = Field(default=True, description="Publish metrics. Needs cloudwatch:PutMetricData; AWS bills custom metrics.")
    namespace: MetricNamespace = Field(default="Failoverctl", description="CloudWatch namespace of the published metrics.")
    alarm_actions: Arns = Field(
        default=(),
        max_length=5,
        description="ARNs, such as that of an SNS topic, that an alarm for each application notifies; CloudWatch allows 5. The controller "
        "creates and maintains the alarms. Empty: no alarm. Needs cloudwatch:PutMetricAlarm.",
    )


class NotificationSettings(Theme):
    """Settings common to all sinks."""

    cluster: str = Field(default="", max_length=100, description="Name of the cluster in every message; empty: none.")
    runbooks: str = Field(
        default="",
        pattern=r"^(https://\S+[^/\s])?$",
        json_schema_extra={"x-allowed": "an https:// URL without a slash at its end, or empty text"},
        description="Where you publish docs/runbooks, without the last slash. Messages link there; empty: they name the path.",
    )


class RecordingSettings(Theme):
    """Recorded decisions for `failoverctl replay`: see docs/replay.md."""

    folder: Path | None = Field(
        default=None,
        description="Folder for recorded decisions; each process needs its own. Unset: nothing is recorded.",
    )


class HttpSettings(Theme):
    """The status page, health checks and metrics. Read-only."""

    host: str = Field(
        default="::",
        min_length=1,
        description="Address to listen on. All addresses by default, IPv4 and IPv6, because the kubelet probes the pod's address.",
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="TCP port to listen on; 0: any free one.")
    unit_metrics: bool = Field(
        default=True,
        description="Whether /metrics has the series of every deployment unit, about half of its size. Without "
        "them failoverctl_unit_short has the units that are short, which its alert needs, and the dashboards show no replicas of units.",
    )


class LogSettings(Theme):
    """The log on standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="The least severe level that is logged.")
    format: LogFormat = Field(default=LogFormat.JSON, description="json: one object per line, for machines. console: for people.")


class _Fields(BaseModel):
    """All settings without their sources: a file alone is checked against this model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    applications: Path | None = Field(
        default=None,
        description="Application file, or directory of application files (*.yaml and *.yml, also in its subdirectories, one level deep). "
        "They are read once, for a run outside of a cluster. Unset: the FailoverApplication objects of the cluster.",
    )
    kubernetes: KubernetesSettings = Field(default=KubernetesSettings(), description="Connection to the Kubernetes API.")
    leader_election: LeaderElectionSettings = Field(default=LeaderElectionSettings(), description="Election of the one replica that acts.")
    aws: AwsSettings = Field(default=AwsSettings(), description="Use of the AWS APIs.")
    karpenter: KarpenterSettings = Field(default=KarpenterSettings(), description="Use of Karpenter's own metrics.")
    polls: PollSettings = Field(default=PollSettings(), description="How often the controller asks.")
    slack: SlackSettings = Field(default=SlackSettings(), description="The Slack sink.")
    webhook: WebhookSettings = Field(default=WebhookSettings(), description="The webhook sink.")
    sns: SnsSettings = Field(default=SnsSettings(), description="The SNS sink.")
    eventbridge: EventBridgeSettings = Field(default=EventBridgeSettings(), description="The EventBridge sink.")
    cloudwatch: CloudWatchNotifierSettings = Field(default=CloudWatchNotifierSettings(), description="The CloudWatch sink.")
    notifications: NotificationSettings = Field(default=NotificationSettings(), description="Settings common to all sinks.")
    http: HttpSettings = Field(default=HttpSettings(), description="The status page, health checks and metrics.")
    recording: RecordingSettings = Field(default=RecordingSettings(), description="Recorded decisions.")
    log: LogSettings = Field(default=LogSettings(), description="The log on standard error.")


class Settings(_Fields, BaseSettings):
    """All settings of the process. `load_settings` creates them."""

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
        """The environment overrides the file, whose values are the constructor's arguments. Variables that name no setting are left out."""
        if isinstance(env_settings, EnvSettingsSource):
            schema = _schema()
            env_settings.env_vars = {name: value for name, value in env_settings.env_vars.items() if schema_at(schema, _place(name))}
        return env_settings, init_settings


@functools.cache
def _schema() -> dict[str, Any]:
    """The JSON schema of the fields: it takes longer than all the rest of loading."""
    return _Fields.model_json_schema()


def load_settings(path: Path | None = None, *, ignore_env: Collection[str] = ()) -> Settings:
    """Reads the settings.

    Args:
        path: YAML file. None: the file that ``FAILOVERCTL_SETTINGS`` names, if any.
        ignore_env: Further environment variables with our prefix that are not settings, e.g. those of the command line.

    Raises:
        ConfigError: Lists every fault, by file and line or by environment variable. A variable that names no setting is none: standard
            error says so once.
    """
    if path is None and os.environ.get(SETTINGS_VARIABLE):
        path = Path(os.environ[SETTINGS_VARIABLE])
    document = _settings_document(path)
    _, problems = check(_Fields, document, together=False)
    values = document.data if isinstance(document.data, dict) else {}
    schema = _schema()
    variables = _variables({SETTINGS_VARIABLE, *ignore_env})
    variables = _known(variables, schema)
    problems += _name_problems(variables, schema)
    result: Settings | None = None
    try:
        result = Settings(**values)
    except SettingsError:
        if not problems:  # usually `_name_problems` has already named the variable that must be JSON and is not
            problems.append(Problem("environment", 0, (), f"a variable that starts with {ENV_PREFIX} cannot be read"))
    except ValidationError as error:
        problems += _env_problems(error, document, schema, variables, problems)
    if problems or result is None:
        raise config_error(problems)
    return result


def _settings_document(path: Path | None) -> Document:
    if path is None:
        return Document("settings", 0, {})
    documents = read_documents(read_limited(path, "settings file"), str(path))
    if len(documents) > 1:
        raise ConfigError(f"{path}:{documents[1].line}: found a second document; allowed: one")
    return documents[0] if documents else Document(str(path), 1, {})


def _variables(ignored: Collection[str]) -> dict[Place, str]:
    """The names of the environment variables with our prefix, by the setting that each names."""
    names = (name for name in os.environ if name.upper().startswith(ENV_PREFIX) and os.environ[name])
    return {_place(name): name for name in names if name.upper() not in ignored and not _SERVICE_LINK.fullmatch(name)}


def _place(name: str) -> Place:
    """The setting that an environment variable with our prefix names."""
    return tuple(name[len(ENV_PREFIX) :].lower().split(ENV_DELIMITER))


def _known(variables: Mapping[Place, str], schema: Mapping[str, Any]) -> dict[Place, str]:
    """The variables that name a setting, or a group of them. Standard error names the others, once in a process.

    Whatever shares the environment with a command must not stop it: a test's variable, or a setting of another version.
    """
    unknown = {place: name for place, name in variables.items() if not schema_at(schema, place)}
    known = [place_text(setting) for setting in setting_places(schema)] if unknown else []
    for place, name in unknown.items():
        near = difflib.get_close_matches(place_text(place), known, n=1)
        remedy = what_to_do(place_text(place))
        guess = f"; {remedy}" if remedy else f"; did you mean {variable_name(tuple(near[0].split('.')))}?" if near else ""
        if name not in _NAMED:
            _NAMED.add(name)
            sys.stderr.write(f"{name}: names no setting and is ignored{guess}\n")
    return {place: name for place, name in variables.items() if place not in unknown}


def _name_problems(variables: Mapping[Place, str], schema: Mapping[str, Any]) -> list[Problem]:
    """The problems of variables that name a whole group, or hold a list that is not JSON."""
    problems: list[Problem] = []
    for place, name in variables.items():
        node = schema_at(schema, place)
        if "properties" in node:
            example = variable_name((*place, next(iter(node["properties"]))))
            problems.append(Problem(name, 0, place, f"found a whole group; allowed: one variable per setting, such as {example}"))
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
    """The problems of the merged settings that the file alone does not have."""
    known = {problem.place for problem in reported}
    groups = set(variables) - set(setting_places(schema))

    def value(place: Place) -> Any:  # noqa: ANN401 - text of a variable or any value of the file
        return os.environ[variables[place]] if place in variables else document.value(place)

    def found(place: Place) -> str:
        return describe_value(value(place)) if place in variables else document.found(place)

    for details in error.errors(include_url=False):
        for place, text in problem_texts(details, schema, found, value, hints=False):
            if any(other[: len(place)] == place for other in groups):
                continue  # the variable's name is the problem and is already reported
            if place in variables:
                yield Problem(variables[place], 0, place, text)
            elif place not in known:
                yield Problem(document.file, document.line_of(place) if document.line else 0, place, text)


def setting_places(schema: Mapping[str, Any], below: Place = ()) -> list[Place]:
    """Every place of a JSON schema that holds a value rather than a group, in order."""
    places: list[Place] = []
    for name in schema_at(schema, below).get("properties", {}):
        place = (*below, name)
        places += setting_places(schema, place) if "properties" in schema_at(schema, place) else [place]
    return places


def variable_name(place: Place) -> str:
    """The name of a setting's environment variable."""
    return ENV_PREFIX + ENV_DELIMITER.join(str(step).upper() for step in place)
