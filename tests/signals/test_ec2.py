"""Offerings, reservations and quotas: scripted, over botocore's Stubber for the shapes, and over moto where it has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import ANY, Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.clients.aws import AwsClients
from controller.policy.model import Backend, Reservation, Unit
from controller.signals.budget import CallBudget
from controller.signals.ec2 import Ec2Poller, vcpus
from controller.signals.price_list import PERMISSION
from failover_testbed.clocks import ManualClock
from tests.support.aws import emulated_account

NOW = 1_800_000_017.0
PARTS = {
    "describe_instance_type_offerings": "ec2:DescribeInstanceTypeOfferings",
    "describe_capacity_reservations": "ec2:DescribeCapacityReservations",
    "get_service_quota": "servicequotas:GetServiceQuota",
    "get_metric_data": "cloudwatch:GetMetricData",
}


def unit(name: str, instance_type: str, *more: str) -> Unit:
    return Unit(name, Backend(name, 80), name, name, instance_type, 0.76, 105, 0.67, instance_types=more)


UNITS = (unit("inf2", "inf2.xlarge"), unit("g5", "g5.xlarge", "g6.xlarge"))


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Describe")


@dataclass
class Aws(AwsClients):
    """EC2, Service Quotas and CloudWatch in one, answering what the test wrote into it."""

    offerings: dict[str, list[str]] = field(default_factory=dict)
    reservations: list[dict[str, Any]] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    page: int = 1000
    calls: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)

    def client(self, service: str, region: str | None = None) -> Any:
        self.services.append(service)
        return self

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.errors:
            raise self.errors[operation]

    def _paged(self, key: str, entries: list[dict[str, Any]], token: str) -> dict[str, Any]:
        start = int(token or 0)
        more = {"NextToken": str(start + self.page)} if start + self.page < len(entries) else {}
        return {key: entries[start : start + self.page], **more}

    def describe_instance_type_offerings(self, Filters: list[dict[str, Any]], NextToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("describe_instance_type_offerings")
        wanted = Filters[0]["Values"]
        entries = [{"InstanceType": name, "Location": zone} for name, zones in self.offerings.items() for zone in zones if name in wanted]
        return self._paged("InstanceTypeOfferings", entries, NextToken)

    def describe_capacity_reservations(self, NextToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("describe_capacity_reservations")
        return self._paged("CapacityReservations", self.reservations, NextToken)

    def get_service_quota(self, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:  # noqa: N803
        self._called("get_service_quota")
        assert ServiceCode == "ec2"
        if QuotaCode not in self.limits:
            raise refusal("NoSuchResourceException")
        metric = {
            "MetricNamespace": "AWS/Usage",
            "MetricName": "ResourceCount",
            "MetricDimensions": {"Class": QuotaCode, "Resource": "vCPU", "Service": "EC2", "Type": "Resource"},
            "MetricStatisticRecommendation": "Maximum",
        }
        return {"Quota": {"QuotaCode": QuotaCode, "Value": self.limits[QuotaCode], "UsageMetric": metric}}

    def get_metric_data(self, MetricDataQueries: list[dict[str, Any]], EndTime: datetime, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._called("get_metric_data")
        results = []
        for query in MetricDataQueries:
            dimensions = {entry["Name"]: entry["Value"] for entry in query["MetricStat"]["Metric"]["Dimensions"]}
            value = self.used.get(dimensions["Class"])
            stamps = [] if value is None else [datetime.fromtimestamp(EndTime.timestamp() - ago, UTC) for ago in (900, 600)]
            results.append(
                {"Id": query["Id"], "Timestamps": stamps, "Values": [] if value is None else [1.0, value], "StatusCode": "Complete"}
            )
        return {"MetricDataResults": results}


INF, G, P = "L-1945791B", "L-DB2E81BA", "L-417A185B"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def aws() -> Aws:
    return Aws(
        offerings={"inf2.xlarge": ["us-west-2b", "us-west-2a"], "g5.xlarge": ["us-west-2c"], "m5.large": ["us-west-2a"]},
        limits={INF: 96, G: 64},
        used={INF: 92, G: 16},
    )


@pytest.fixture
def poller(aws: Aws, clock: ManualClock) -> Ec2Poller:
    return Ec2Poller(aws, clock)


def test_the_zones_that_sell_a_type_are_known_sorted(poller: Ec2Poller) -> None:
    """For every type that a unit may run on, and no other."""
    poller.poll(UNITS)
    assert poller.offered_zones("inf2.xlarge") == ("us-west-2a", "us-west-2b")
    assert poller.offered_zones("g5.xlarge") == ("us-west-2c",)
    assert poller.offered_zones("g6.xlarge") == ()
    assert poller.offered_zones("m5.large") == ()


def test_a_type_that_is_sold_nowhere_is_said_to_be(poller: Ec2Poller) -> None:
    """A mistake that looks like a shortage."""
    poller.poll(UNITS)
    assert "EC2 does not offer g6.xlarge in any zone of this region" in poller.notes("g6.xlarge")


def test_the_quota_is_noted_with_its_use_and_what_one_instance_needs(poller: Ec2Poller) -> None:
    """Quota never heals by waiting, so a person must see it coming."""
    poller.poll(UNITS)
    assert poller.notes("inf2.xlarge") == ("On-Demand vCPU quota Inf 96, 92 in use: 4 left (an inf2.xlarge needs 4)",)
    assert poller.notes("g5.xlarge") == ("On-Demand vCPU quota G and VT 64, 16 in use: 48 left (a g5.xlarge needs 4)",)


def test_without_a_use_the_limit_alone_is_noted(aws: Aws, poller: Ec2Poller) -> None:
    """The metric has gaps where nothing runs."""
    aws.used = {}
    poller.poll(UNITS)
    assert poller.notes("inf2.xlarge") == ("On-Demand vCPU quota Inf 96, use unknown (an inf2.xlarge needs 4)",)


def test_more_in_use_than_the_limit_leaves_none(aws: Aws, poller: Ec2Poller) -> None:
    """A quota can be lowered."""
    aws.used = {INF: 128}
    poller.poll(UNITS)
    assert "128 in use: 0 left" in poller.notes("inf2.xlarge")[0]


def reservation(zone: str, free: int, total: int, **more: Any) -> dict[str, Any]:
    counts = {"AvailableInstanceCount": free, "TotalInstanceCount": total}
    return {"InstanceType": "inf2.xlarge", "AvailabilityZone": zone, "State": "active", "InstanceMatchCriteria": "open", **counts, **more}


def test_free_reservations_are_noted_by_zone(aws: Aws, poller: Ec2Poller) -> None:
    """Active ones; those that must be named are listed apart."""
    aws.reservations = [
        reservation("us-west-2a", 2, 6),
        reservation("us-west-2b", 1, 4, InstanceMatchCriteria="targeted"),
        reservation("us-west-2b", 9, 9, State="expired"),
        reservation("us-west-2b", 9, 9, InstanceType="p5.48xlarge"),
    ]
    poller.poll(UNITS)
    assert poller.notes("inf2.xlarge")[0] == (
        "capacity reservations for inf2.xlarge: 3 of 10 instances free (us-west-2a 2 of 6, us-west-2b 1 of 4); "
        "1 of the free ones only for launches that name the reservation"
    )
    assert len(poller.notes("g5.xlarge")) == 1


def test_the_end_of_a_block_outlives_the_answers(aws: Aws, poller: Ec2Poller, clock: ManualClock) -> None:
    """What is free is dropped half an hour after the last answer. When a block ends stays true, until a day after."""
    end = datetime.fromtimestamp(NOW + 7200, UTC)
    found = {"CapacityReservationId": "cr-1", "ReservationType": "capacity-block", "InstanceMatchCriteria": "targeted", "EndDate": end}
    aws.reservations = [reservation("us-west-2a", 1, 2, **found), reservation("us-west-2b", 1, 1, CapacityReservationId="cr-2")]
    assert (poller.reservations({"inf2.xlarge"}), poller.blocks({"inf2.xlarge"})) == (None, ())
    poller.poll(UNITS)
    block = Reservation("cr-1", "inf2.xlarge", "us-west-2a", 1, 2, block=True, targeted=True, ends_at=NOW + 7200)
    other = Reservation("cr-2", "inf2.xlarge", "us-west-2b", 1, 1)
    assert (poller.reservations({"inf2.xlarge"}), poller.blocks({"inf2.xlarge"})) == ((block, other), (block,))
    assert (poller.reservations({"g5.xlarge"}), poller.blocks({"g5.xlarge"})) == ((), ())
    aws.errors["describe_capacity_reservations"] = refusal("RequestLimitExceeded", 503)
    clock.advance(3600)
    poller.poll(UNITS)
    assert (poller.reservations({"inf2.xlarge"}), poller.blocks({"inf2.xlarge"})) == (None, (block,))
    aws.errors.clear()
    aws.reservations = []
    for ahead, known in ((7200, (block,)), (90_000, ())):
        clock.advance(ahead)
        poller.poll(UNITS)
        assert (poller.reservations({"inf2.xlarge"}), poller.blocks({"inf2.xlarge"})) == ((), known)


def test_all_pages_are_read(aws: Aws, poller: Ec2Poller) -> None:
    """One entry a page."""
    aws.page = 1
    aws.reservations = [reservation("us-west-2a", 1, 1), reservation("us-west-2b", 1, 1)]
    poller.poll(UNITS)
    assert poller.offered_zones("inf2.xlarge") == ("us-west-2a", "us-west-2b")
    assert "2 of 2 instances free" in poller.notes("inf2.xlarge")[0]
    assert (aws.calls.count("describe_instance_type_offerings"), aws.calls.count("describe_capacity_reservations")) == (3, 2)


@pytest.mark.parametrize("circle", [True, False])
def test_pages_that_never_end_are_given_up(circle: bool, aws: Aws, poller: Ec2Poller) -> None:
    """The other parts are still had."""
    tokens = iter(range(1000))
    aws.describe_capacity_reservations = lambda **_: {"NextToken": "same" if circle else str(next(tokens) + 1)}  # type: ignore[method-assign]
    poller.poll(UNITS)
    assert poller.source().problem == "capacity reservations: ec2 DescribeCapacityReservations: the pages do not end"
    assert poller.offered_zones("g5.xlarge") == ("us-west-2c",)
    assert next(tokens) == (0 if circle else 20)


def test_more_types_than_one_filter_takes_are_queried_in_parts(aws: Aws, poller: Ec2Poller) -> None:
    """EC2 takes two hundred values."""
    aws.offerings = {f"g5.{number}xlarge": ["us-west-2a"] for number in range(150)}
    poller.poll([unit(name, name) for name in aws.offerings])
    assert aws.calls.count("describe_instance_type_offerings") == 2
    assert poller.offered_zones("g5.149xlarge") == ("us-west-2a",)


# --- degrading --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(PARTS))
def test_each_permission_can_be_missing_and_is_named(operation: str, aws: Aws, poller: Ec2Poller) -> None:
    """The other parts are there, and EC2 is not absent."""
    aws.reservations = [reservation("us-west-2a", 1, 1)]
    aws.errors[operation] = refusal("UnauthorizedOperation" if operation.startswith("describe") else "AccessDeniedException", 403)
    poller.poll(UNITS)
    source = poller.source()
    assert source.problem.endswith(f": IAM does not allow {PARTS[operation]}")
    assert (source.name, source.required, source.absent, source.last_ok) == ("ec2", False, False, NOW)
    assert (poller.offered_zones("inf2.xlarge") == ()) == (operation == "describe_instance_type_offerings")
    known = " ".join(poller.notes("inf2.xlarge"))
    assert ("reservations" not in known) == (operation == "describe_capacity_reservations")
    assert ("Inf 96" not in known) == (operation == "get_service_quota")
    assert ("4 left" not in known) == (operation in {"get_service_quota", "get_metric_data"})


def test_without_any_permission_ec2_is_absent(aws: Aws, poller: Ec2Poller) -> None:
    """A named degradation; zones then come from the NodePools."""
    aws.errors = {operation: refusal("UnauthorizedOperation", 403) for operation in PARTS}
    poller.poll(UNITS)
    assert poller.source().absent
    assert poller.source().problem.count("IAM does not allow") == 3  # without a quota there is no use to ask for
    assert poller.offered_zones("inf2.xlarge") == poller.notes("inf2.xlarge") == ()
    assert not poller.source().stale(NOW + 10**9)


def test_disabled_it_never_calls(aws: Aws, clock: ManualClock) -> None:
    """And makes no client: EC2's costs 16 MiB."""
    poller = Ec2Poller(aws, clock, enabled=False)
    poller.poll(UNITS)
    assert aws.services == []
    assert (poller.source().absent, poller.source().problem) == (True, "disabled by configuration")


def test_without_units_no_client_is_made(aws: Aws, poller: Ec2Poller) -> None:
    """Lazily means on the first poll that needs it."""
    poller.poll([])
    assert aws.services == []
    assert poller.source().last_ok is None


def test_parts_that_an_endpoint_lacks_can_be_left_out(aws: Aws, clock: ManualClock) -> None:
    """As the demo does: moto answers them with an error."""
    poller = Ec2Poller(aws, clock, reservations=False, quotas=False)
    poller.poll(UNITS)
    assert aws.calls == ["describe_instance_type_offerings"]
    assert (poller.source().absent, poller.source().problem) == (False, "")


def test_a_quota_that_a_region_does_not_have_leaves_the_others(aws: Aws, poller: Ec2Poller) -> None:
    """Service Quotas says NoSuchResourceException."""
    aws.limits = {INF: 96}
    poller.poll(UNITS)
    assert poller.notes("inf2.xlarge")
    assert poller.notes("g5.xlarge") == ()
    assert poller.source().problem == ""


def test_without_any_quota_the_part_is_absent(aws: Aws, poller: Ec2Poller) -> None:
    """As with moto."""
    aws.limits = {}
    poller.poll(UNITS)
    assert poller.source().problem == "vCPU quotas: service-quotas GetServiceQuota: NoSuchResourceException no"


def test_a_family_whose_quota_is_unknown_has_no_note(aws: Aws, poller: Ec2Poller) -> None:
    """Better none than a wrong one."""
    poller.poll([unit("odd", "hpc7g.4xlarge"), unit("none", "7")])
    assert "get_service_quota" not in aws.calls
    assert poller.notes("hpc7g.4xlarge") == ("EC2 does not offer hpc7g.4xlarge in any zone of this region",)


def test_an_outage_keeps_the_zones_and_drops_old_numbers(aws: Aws, poller: Ec2Poller, clock: ManualClock) -> None:
    """Zones stay true for long, vCPUs in use for minutes."""
    aws.reservations = [reservation("us-west-2a", 1, 1)]
    poller.poll(UNITS)
    aws.errors = {operation: EndpointConnectionError(endpoint_url="x") for operation in PARTS}
    for _ in range(20):
        clock.advance(300)
        poller.poll(UNITS)
        if clock.now() - NOW == 600:
            assert "4 left" in poller.notes("inf2.xlarge")[1]
    assert poller.offered_zones("inf2.xlarge") == ("us-west-2a", "us-west-2b")
    assert poller.notes("inf2.xlarge") == ("On-Demand vCPU quota Inf 96, use unknown (an inf2.xlarge needs 4)",)
    assert poller.source().stale(clock.now())
    assert not poller.source().absent
    aws.errors = {}
    clock.advance(3600)
    poller.poll(UNITS)
    assert poller.source().problem == ""


# --- pacing -----------------------------------------------------------------------------------------------------------------------------


def test_each_part_is_polled_as_seldom_as_it_changes(aws: Aws, clock: ManualClock) -> None:
    """EC2's request buckets are Karpenter's too."""
    poller = Ec2Poller(aws, clock, freshness_s=43_200)
    for _ in range(24 * 60):
        poller.poll(UNITS)
        clock.advance(60)
    assert {operation: aws.calls.count(operation) for operation in PARTS} == {
        "describe_instance_type_offerings": 6,
        "describe_capacity_reservations": 288,
        "get_service_quota": 6 * 2,
        "get_metric_data": 288,
    }


def test_a_new_type_is_polled_at_once_and_one_that_is_gone_is_forgotten(aws: Aws, poller: Ec2Poller) -> None:
    """A reloaded application file need not wait for hours."""
    poller.poll(UNITS)
    poller.poll([unit("m5", "m5.large")])
    assert poller.offered_zones("m5.large") == ("us-west-2a",)
    assert poller.offered_zones("inf2.xlarge") == ()


def test_failures_are_tried_again_more_and_more_rarely(aws: Aws, clock: ManualClock) -> None:
    """Up to an hour."""
    aws.errors = {"describe_instance_type_offerings": refusal("RequestLimitExceeded", 503)}
    poller = Ec2Poller(aws, clock, reservations=False, quotas=False)
    at = []
    for _ in range(4 * 3600 // 60):
        made = len(aws.calls)
        poller.poll(UNITS)
        if len(aws.calls) > made:
            at.append(clock.now() - NOW)
        clock.advance(60)
    assert at == [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980]


def test_the_budget_bounds_the_calls(aws: Aws, clock: ManualClock) -> None:
    """What it does not grant now comes later."""
    poller = Ec2Poller(aws, clock, budget=CallBudget(0.01, 1, clock))
    poller.poll(UNITS)
    assert aws.calls == ["describe_instance_type_offerings"]
    clock.advance(100)
    poller.poll(UNITS)
    assert aws.calls[1:] == ["describe_capacity_reservations"]


# --- shapes -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("inf2.xlarge", 4),
        ("inf2.8xlarge", 32),
        ("inf2.24xlarge", 96),
        ("inf2.48xlarge", 192),
        ("trn1.2xlarge", 8),
        ("trn1.32xlarge", 128),
        ("g5.xlarge", 4),
        ("m5.large", 2),
        ("g4dn.metal", None),
        ("t3.medium", None),
        ("m5.2large", None),
        ("nonsense", None),
    ],
)
def test_the_vcpus_of_a_type_follow_from_its_size(name: str, number: int | None) -> None:
    """Where they do; elsewhere nothing is claimed."""
    assert vcpus(name) == number


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["inf2.xlarge", "active", INF, "a"])
)
KEYS = st.sampled_from([
    "InstanceTypeOfferings", "InstanceType", "Location", "CapacityReservations", "State", "AvailableInstanceCount", "TotalInstanceCount",
    "Quota", "Value", "UsageMetric", "MetricNamespace", "MetricName", "MetricDimensions", "NextToken",
])  # fmt: skip
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=15)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(answers=st.fixed_dictionaries(dict.fromkeys(PARTS, ANYTHING)))
def test_no_answer_however_broken_is_an_exception(answers: dict[str, Any]) -> None:
    """And what is kept of it can be shown."""

    class Broken(Aws):
        def __getattribute__(self, name: str) -> Any:
            return (lambda **_: answers[name]) if name in PARTS else super().__getattribute__(name)

    poller = Ec2Poller(Broken(), ManualClock(NOW))
    poller.poll(UNITS)
    assert all(isinstance(zone, str) for zone in poller.offered_zones("inf2.xlarge"))
    assert all(isinstance(note, str) for note in poller.notes("inf2.xlarge"))
    assert isinstance(poller.source().problem, str)


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsClients]:
    with emulated_account(monkeypatch):
        yield AwsClients("us-west-2")


def test_offerings_are_read_from_moto(clients: AwsClients, clock: ManualClock) -> None:
    """It knows which zones of us-west-2 sell inf2 and trn1."""
    poller = Ec2Poller(clients, clock, reservations=False, quotas=False)
    poller.poll([unit("inf2", "inf2.xlarge"), unit("trn1", "trn1.2xlarge")])
    assert poller.offered_zones("inf2.xlarge") == ("us-west-2a", "us-west-2b", "us-west-2c", "us-west-2d")
    assert poller.offered_zones("trn1.2xlarge") == ("us-west-2b", "us-west-2d")


def test_what_is_sent_and_read_fits_the_models_of_the_apis(clients: AwsClients, clock: ManualClock) -> None:
    """The Stubber checks both directions against botocore."""
    ec2, quotas, cloudwatch = (clients.client(name) for name in ("ec2", "service-quotas", "cloudwatch"))
    types = {"Name": "instance-type", "Values": ["inf2.xlarge"]}
    metric = {
        "MetricNamespace": "AWS/Usage",
        "MetricName": "ResourceCount",
        "MetricDimensions": {"Class": "Inf/OnDemand", "Resource": "vCPU", "Service": "EC2", "Type": "Resource"},
        "MetricStatisticRecommendation": "Maximum",
    }
    with Stubber(ec2) as ec2_stub, Stubber(quotas) as quotas_stub, Stubber(cloudwatch) as cloudwatch_stub:
        ec2_stub.add_response(
            "describe_instance_type_offerings",
            {"InstanceTypeOfferings": [{"InstanceType": "inf2.xlarge", "LocationType": "availability-zone", "Location": "us-west-2a"}]},
            {"LocationType": "availability-zone", "Filters": [types]},
        )
        ec2_stub.add_response(
            "describe_capacity_reservations",
            {"CapacityReservations": [reservation("us-west-2a", 1, 2)]},
            {"Filters": [types, {"Name": "state", "Values": ["active"]}]},
        )
        quotas_stub.add_response(
            "get_service_quota", {"Quota": {"Value": 96.0, "UsageMetric": metric}}, {"ServiceCode": "ec2", "QuotaCode": INF}
        )
        stamp = datetime.fromtimestamp(NOW - 200, UTC)
        cloudwatch_stub.add_response(
            "get_metric_data",
            {"MetricDataResults": [{"Id": "q0", "Timestamps": [stamp], "Values": [92.0], "StatusCode": "Complete"}]},
            {"MetricDataQueries": ANY, "StartTime": ANY, "EndTime": ANY, "ScanBy": "TimestampDescending"},
        )
        poller = Ec2Poller(clients, clock)
        poller.poll([unit("inf2", "inf2.xlarge")])
        for stub in (ec2_stub, quotas_stub, cloudwatch_stub):
            stub.assert_no_pending_responses()
    assert poller.source().problem == ""
    assert poller.notes("inf2.xlarge") == (
        "capacity reservations for inf2.xlarge: 1 of 2 instances free (us-west-2a 1 of 2)",
        "On-Demand vCPU quota Inf 96, 92 in use: 4 left (an inf2.xlarge needs 4)",
    )


# --- the IAM document -------------------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
OURS = {
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeTargetHealth",
    *PARTS.values(),
    PERMISSION,
}
PROBES = {"ec2:CreateCapacityReservation", "ec2:CreateTags", "ec2:CancelCapacityReservation"}
QUEUE = {"sqs:DeleteMessage", "sqs:ReceiveMessage"}
SINKS = {"sns:Publish", "events:PutEvents"}
NOTIFIER = {"cloudwatch:PutMetricData", "cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms", *SINKS}


def test_the_iam_document_allows_what_is_called_and_nothing_else() -> None:
    """No wildcard in an action; what can be bound to a namespace or a name is."""
    statements = json.loads((ROOT / "deploy/iam/policy.json").read_text())["Statement"]
    actions = [action for statement in statements for action in statement["Action"]]
    assert sorted(actions) == sorted(OURS | PROBES | QUEUE | NOTIFIER)
    assert all(statement["Effect"] == "Allow" for statement in statements)
    bound = {action: statement for statement in statements for action in statement["Action"]}
    assert bound["cloudwatch:PutMetricData"]["Condition"] == {"StringEquals": {"cloudwatch:namespace": "Failoverctl"}}
    assert bound["cloudwatch:PutMetricAlarm"]["Resource"] == "arn:aws:cloudwatch:*:*:alarm:failoverctl *"
    named = {action for action, statement in bound.items() if statement["Resource"] != "*"}
    assert named == {"cloudwatch:PutMetricAlarm", "ec2:CreateTags", *QUEUE, *SINKS}
    assert bound["sns:Publish"]["Resource"] == ["arn:aws:events:*:*:event-bus/failoverctl*", "arn:aws:sns:*:*:failoverctl*"]


def test_every_call_of_the_iam_document_is_explained() -> None:
    """Why it is made, and what is missing without it."""
    text = (ROOT / "docs/aws.md").read_text()
    assert [action for action in sorted(OURS | PROBES | QUEUE | NOTIFIER) if f"`{action}`" not in text] == []
