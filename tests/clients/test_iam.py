"""The IAM policy allows exactly the AWS calls that the controller makes: recorded by botocore's own hooks, and searched for in the code."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.session import get_session

from controller.clients.aws import AwsClients
from controller.clients.kube import INGRESSES, TARGET_GROUP_BINDINGS
from controller.notifiers.cloudwatch import CloudWatchNotifier
from controller.notifiers.topics import EventBridgeNotifier, SnsNotifier
from controller.policy.model import Application, Mode, ReturnProbe, Target, Verdict
from controller.ports import Message, MessageKind, Severity
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.service.pollers import make_external
from controller.settings import AwsApi, Settings
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.reservation_probe import TAG
from deploy.images.trim import client_services
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application, probed_by, seed_units
from tests.support.aws import default_network, emulated_account

ROOT: Final = Path(__file__).parents[2]
POLICY: Final = ROOT / "deploy" / "iam" / "policy.json"
REGION = "us-west-2"

PREFIXES: Final = {
    "elbv2": "elasticloadbalancing",
    "cloudwatch": "cloudwatch",
    "ec2": "ec2",
    "service-quotas": "servicequotas",
    "sns": "sns",
    "events": "events",
    "pricing": "pricing",
    "sqs": "sqs",
}
"""IAM's prefix of each service that the controller calls, by botocore's name of it."""

IMPLIED: Final = {"ec2:CreateCapacityReservation": "ec2:CreateTags"}
"""Actions that a call needs besides its own: a reservation is made with its tags."""

OTHERWISE_NAMED: Final = {("sqs", "DeleteMessageBatch"): "sqs:DeleteMessage"}
"""Operations whose IAM action is not the prefix and the operation's own name."""

# What moto does not have: answers in the shape of botocore's model, given in the place of a call.
_USAGE = {
    "MetricNamespace": "AWS/Usage",
    "MetricName": "ResourceCount",
    "MetricDimensions": {"Service": "EC2", "Type": "Resource", "Resource": "vCPU", "Class": "Standard/OnDemand"},
    "MetricStatisticRecommendation": "Maximum",
}
ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "CancelCapacityReservation": {"Return": True},
    "CreateCapacityReservation": {"CapacityReservation": {"CapacityReservationId": "cr-1", "State": "active"}},
    "DescribeCapacityReservations": {"CapacityReservations": []},
    "GetProducts": {"PriceList": []},
    "ReceiveMessage": {"Messages": [{"Body": "{}", "ReceiptHandle": "handle"}]},
    "DeleteMessageBatch": {"Successful": [{"Id": "0"}], "Failed": []},
    "GetServiceQuota": {"Quota": {"Value": 96.0, "UsageMetric": _USAGE}},
}


def action_of(service: str, operation: str) -> str:
    """The IAM action that allows an operation."""
    return OTHERWISE_NAMED.get((service, operation), f"{PREFIXES[service]}:{operation}")


def allowed() -> set[str]:
    """The actions of the policy document."""
    statements = json.loads(POLICY.read_text())["Statement"]
    assert all(one["Effect"] == "Allow" for one in statements)
    actions = [action for one in statements for action in one["Action"]]
    assert len(actions) == len(set(actions)), "an action is allowed twice"
    return set(actions)


class RecordingClients(AwsClients):
    """The production factory; every client that it makes notes what is called."""

    def __init__(self) -> None:
        super().__init__(REGION)
        self.made: list[tuple[str, str, dict[str, Any]]] = []
        self._hooked: set[str] = set()

    def client(self, service: str, region: str | None = None) -> Any:
        found = super().client(service, region)
        if service not in self._hooked:
            self._hooked.add(service)

            def note(model: Any, params: dict[str, Any], **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
                self.made.append((service, model.name, params))
                canned = ANSWERS.get(model.name)
                return None if canned is None else (AWSResponse("", 200, {}, None), {**canned, "ResponseMetadata": {}})

            found.meta.events.register("before-call.*.*", note)
        return found

    def operations(self) -> dict[str, int]:
        """How often each operation was called."""
        names = [operation for _, operation, _ in self.made]
        return {name: names.count(name) for name in names}

    def actions(self) -> set[str]:
        """The IAM actions that were needed."""
        made = {action_of(service, operation) for service, operation, _ in self.made}
        return made | {IMPLIED[one] for one in made if one in IMPLIED}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingClients]:
    with emulated_account(monkeypatch):
        yield RecordingClients()


# --- the controller on an AWS account -------------------------------------------------------------------------------------------------


def balanced(app: Application, view: ClusterView) -> None:
    """A load balancer, among others, that shows the cost mode of the application; the Ingress and its bindings are in view."""
    elb = boto3.client("elbv2", region_name=REGION)  # of an administrator: what it calls is not the controller's
    vpc, subnets = default_network(REGION)
    elb.create_load_balancer(Name="another", Subnets=subnets)
    made = elb.create_load_balancer(Name="k8s-shop-sd21", Subnets=subnets)["LoadBalancers"][0]
    tuples, bindings = [], []
    for unit in app.units:
        service = unit.backend.service
        group = elb.create_target_group(Name=service, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="ip")
        arn = group["TargetGroups"][0]["TargetGroupArn"]
        elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": "10.0.0.1"}])
        tuples.append({"TargetGroupArn": arn, "Weight": unit.weight})
        labels = {"ingress.k8s.aws/stack-namespace": app.namespace, "ingress.k8s.aws/stack-name": app.route.name}
        metadata = {"name": f"k8s-{service}", "namespace": app.namespace, "labels": labels}
        bindings.append({"metadata": metadata, "spec": {"serviceRef": {"name": service, "port": 80}, "targetGroupARN": arn}})
    fixed = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
    listener = elb.create_listener(LoadBalancerArn=made["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=fixed)
    forward = {"Type": "forward", "ForwardConfig": {"TargetGroups": tuples, "TargetGroupStickinessConfig": {"Enabled": False}}}
    path = [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}]
    elb.create_rule(ListenerArn=listener["Listeners"][0]["ListenerArn"], Priority=1, Conditions=path, Actions=[forward])
    targets = tuple(Target(unit.backend.service, 80, unit.weight or 0) for unit in app.units)
    backend = {"service": {"name": app.route.part, "port": {"name": "use-annotation"}}}
    ingress = {
        "metadata": {
            "name": app.route.name,
            "namespace": app.namespace,
            "annotations": {action_key(app.route.part): format_action(targets, 0)},
        },
        "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": made["DNSName"]}]}},
    }
    view.listed(INGRESSES, None, [ingress])
    view.listed(TARGET_GROUP_BINDINGS, None, bindings)


def everything_on() -> Settings:
    """Settings with every use of AWS enabled."""
    queue = f"https://sqs.{REGION}.amazonaws.com/123456789012/failoverctl-refusals"
    wanted = {"region": REGION, "latency_stat": "Average", "apis": list(AwsApi), "refusal_queue_url": queue}
    return Settings.model_validate({"cloudwatch": {"enabled": True}, "aws": wanted})


def observe(external: ExternalSources, app: Application) -> None:
    """Runs the scheduled jobs of the service once."""
    external.verify([app])
    for name in external.polls:
        external.poll(name, [app])


def test_the_policy_allows_exactly_what_is_called(clients: RecordingClients, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification over several pages, metrics, offerings, reservations, quotas and their use, metrics of our own, and the alarm."""
    monkeypatch.setattr("controller.signals.load_balancer.calls._PAGE_SIZE", 1)
    clock = ManualClock(NOW)
    view = ClusterView(clock, lambda: None)
    app = probed_by(ReturnProbe.RESERVATION, application(units=seed_units()))
    balanced(app, view)
    settings = everything_on()
    external = make_external(settings, view, clock, clients, installation="failover-system")
    external.ask(app.key, {app.units[0].name: (("inf2.xlarge", "us-west-2a"),)})
    for _ in range(2):
        observe(external, app)
        clock.advance(400)
    verification = external.of(app).verification
    assert verification is not None
    assert verification.verdict is Verdict.YES, verification.problem
    notifier = CloudWatchNotifier(clients, settings.cloudwatch.namespace, clock=clock, alarms=True)
    message = Message(MessageKind.FAILOVER, Severity.WARNING, app.key, "ShortageProven", "t", "w", NOW, mode="capacity")
    topic = AwsClients(REGION).client("sns").create_topic(Name="failoverctl")["TopicArn"]  # an administrator's call
    for sink in (notifier, SnsNotifier(clients, topic), EventBridgeNotifier(clients, "default")):
        sink.send(message)
    notifier.publish_modes({app.key: Mode.CAPACITY})
    assert clients.actions() == allowed()
    made = clients.operations()
    assert min(made[name] for name in ("DescribeRules", "DescribeTargetHealth", "GetMetricData", "GetServiceQuota")) >= 2, made
    assert {arguments["Namespace"] for _, name, arguments in _bodies(clients) if name == "PutMetricData"} == _namespaces()


def _bodies(clients: RecordingClients) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The calls with their arguments as they were sent: JSON, or form fields of the query protocol."""
    for service, operation, params in clients.made:
        body = params.get("body")
        found = json.loads(body) if isinstance(body, bytes | str) and body else body if isinstance(body, dict) else {}
        yield service, operation, found


def _namespaces() -> set[str]:
    """The namespaces that the policy's condition lets metrics be written to."""
    statements = (one.get("Condition", {}).get("StringEquals", {}) for one in json.loads(POLICY.read_text())["Statement"])
    return {condition["cloudwatch:namespace"] for condition in statements if "cloudwatch:namespace" in condition}


def test_only_reservations_with_the_tag_of_probes_may_be_made_and_cancelled() -> None:
    """Those that somebody else pays for on purpose are out of reach."""
    by_action = {action: one for one in json.loads(POLICY.read_text())["Statement"] for action in one["Action"]}
    assert by_action["ec2:CreateCapacityReservation"]["Condition"] == {"Null": {f"aws:RequestTag/{TAG}": "false"}}
    assert by_action["ec2:CancelCapacityReservation"]["Condition"] == {"Null": {f"aws:ResourceTag/{TAG}": "false"}}
    assert by_action["ec2:CreateTags"]["Condition"] == {"StringEquals": {"ec2:CreateAction": "CreateCapacityReservation"}}


def test_an_alarm_has_a_name_that_the_policy_allows() -> None:
    """The policy allows only alarms with the project's name."""
    from controller.notifiers.cloudwatch import alarm_name

    (resource,) = (one["Resource"] for one in json.loads(POLICY.read_text())["Statement"] if "cloudwatch:PutMetricAlarm" in one["Action"])
    assert resource.startswith("arn:aws:cloudwatch:*:*:alarm:")
    assert re.fullmatch(resource.rpartition(":")[2].replace("*", ".+"), alarm_name("shop/sd21"))


def test_a_use_of_aws_that_is_off_needs_no_permission(clients: RecordingClients) -> None:
    """With every use of AWS off, no call is made."""
    clock = ManualClock(NOW)
    view = ClusterView(clock, lambda: None)
    settings = Settings(aws={"region": REGION, "apis": ()})  # type: ignore[arg-type]
    observe(make_external(settings, view, clock, clients), application())
    assert clients.made == []


# --- the code --------------------------------------------------------------------------------------------------------------------------


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    """The code that asks AWS: the controller's, and that of setting up."""
    paths = sorted(path for folder in ("controller", "setup") for path in (ROOT / folder).rglob("*.py"))
    return [(path, ast.parse(path.read_text())) for path in paths]


def operations() -> dict[str, tuple[str, str]]:
    """Every operation of the services in use, by its own name and by the name of the client's method."""
    found: dict[str, tuple[str, str]] = {}
    session = get_session()
    for service in PREFIXES:
        for name in session.get_service_model(service).operation_names:
            found[name] = (service, name)
            found[re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()] = (service, name)
    return found


def words(tree: ast.Module) -> Iterable[str]:
    """Attribute names and string constants: a call is made by either."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_code_names_no_other_operation() -> None:
    """Neither as a method nor as the name from which a method is derived; and it names each that the policy allows."""
    known = operations()
    named: dict[str, set[str]] = {}
    for path, tree in sources():
        for word in words(tree):
            if word in known:
                named.setdefault(action_of(*known[word]), set()).add(path.name)
    assert named.pop("ec2:CreateFleet") == {"fleet_answers.py"}  # Karpenter's call, whose record is read there
    assert set(named) | set(IMPLIED.values()) == allowed(), named


def imported(tree: ast.Module) -> Iterator[str]:
    """The top-level packages that a module imports."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.partition(".")[0] for name in names)


def test_every_client_comes_from_the_one_factory() -> None:
    """boto3 is imported where time-outs and retries are set, and clients exist only for services whose permissions are known."""
    found = sources()
    importing = {str(path.relative_to(ROOT)) for path, tree in found if not {"boto3", "botocore"}.isdisjoint(imported(tree))}
    assert importing == {"controller/clients/aws.py", "controller/clients/aws_models.py"}
    by_people = {"fis"}  # of who runs a drill, and not of the controller: docs/prove-it.md
    assert {service for _, tree in found for service in client_services(tree)} == set(PREFIXES) | by_people


def test_the_documents_name_the_same_actions() -> None:
    """docs/aws.md explains exactly these."""
    table = re.findall(r"^\| `([a-z0-9]+:[A-Za-z]+)` \|", (ROOT / "docs" / "aws.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(allowed())
