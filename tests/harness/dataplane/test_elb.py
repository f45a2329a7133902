"""What the data plane reads from the emulated ELBv2, and the target health that ELBv2 reports in return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from failover_harness.dataplane import elb
from failover_harness.dataplane.elb import Fixed, Forward, Group, HealthCheck, Rule, Target
from failover_testbed.aws.server import EmulatedAws

FIXED = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404", "ContentType": "text/plain"}}


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    """An account with a network."""
    with EmulatedAws() as account:
        yield account


def target_group(aws: EmulatedAws, name: str) -> str:
    """A target group with one pod, and settings of its own."""
    client = aws.client("elbv2")
    made = client.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=1,
        VpcId=aws.network.vpc,
        TargetType="ip",
        HealthCheckPath="/health",
        HealthCheckIntervalSeconds=15,
        HealthCheckTimeoutSeconds=5,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=3,
        Matcher={"HttpCode": "200-299"},
    )
    arn = str(made["TargetGroups"][0]["TargetGroupArn"])
    client.register_targets(TargetGroupArn=arn, Targets=[{"Id": "10.1.0.7", "Port": 8000}])
    client.modify_target_group_attributes(
        TargetGroupArn=arn, Attributes=[{"Key": "load_balancing.algorithm.type", "Value": "least_outstanding_requests"}]
    )
    return arn


def listener(aws: EmulatedAws) -> str:
    """A load balancer's listener whose default is 404."""
    client = aws.client("elbv2")
    made = client.create_load_balancer(
        Name="lb", Subnets=list(aws.network.subnets.values()), SecurityGroups=[aws.network.security_group], Type="application"
    )
    arn = made["LoadBalancers"][0]["LoadBalancerArn"]
    answer = client.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=[FIXED])
    return str(answer["Listeners"][0]["ListenerArn"])


def test_it_reads_everything_that_the_data_plane_follows(aws: EmulatedAws) -> None:
    """Rules with their conditions, weights, stickiness, targets and health checks."""
    a, b, where = target_group(aws, "a"), target_group(aws, "b"), listener(aws)
    conditions: list[dict[str, Any]] = [
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["standby.invalid"]}},
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a", "/a/*"]}},
        {"Field": "source-ip", "SourceIpConfig": {"Values": ["192.0.2.1/32"]}},
        {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "x-a", "Values": ["b"]}},
    ]
    config = {
        "TargetGroups": [{"TargetGroupArn": a, "Weight": 40}, {"TargetGroupArn": b, "Weight": 0}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 200},
    }
    client = aws.client("elbv2")
    client.create_rule(ListenerArn=where, Priority=2, Conditions=conditions, Actions=[{"Type": "forward", "TargetGroupArn": b}])
    client.create_rule(ListenerArn=where, Priority=1, Conditions=conditions[1:2], Actions=[{"Type": "forward", "ForwardConfig": config}])
    state = elb.read()
    check = HealthCheck("/health", 15.0, 5.0, 2, 3, "200-299")
    assert state.groups == tuple(Group(arn, (Target("10.1.0.7", 8000),), check, "least_outstanding_requests") for arn in (a, b))
    (found,) = state.listeners
    assert found.default == Fixed(404)
    live = Rule(1, (("path-pattern", ("/a", "/a/*")),), Forward(((a, 40), (b, 0)), 200))
    addressed = (("host-header", ("standby.invalid",)), ("path-pattern", ("/a", "/a/*")), ("source-ip", ("192.0.2.1/32",)))
    unreachable = (*addressed, ("http-header:x-a", ("b",)))
    assert found.rules == (live, Rule(2, unreachable, Forward(((b, 1),))))
    assert state.used() == {a, b}


def test_what_the_data_plane_sees_is_what_aws_says(aws: EmulatedAws) -> None:
    """DescribeTargetHealth answers with the data plane's health."""
    arn = target_group(aws, "a")
    aws.target_health = lambda group, address, port: ("unhealthy", f"{group == arn} {address} {port}")
    described = aws.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert [(one["TargetHealth"]["State"], one["TargetHealth"]["Reason"]) for one in described] == [("unhealthy", "True 10.1.0.7 8000")]
