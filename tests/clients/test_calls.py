"""The account of calls."""

from __future__ import annotations

import threading

import boto3
from moto import mock_aws

from controller.clients.aws import AwsClients
from controller.clients.calls import CallMeter, on_behalf_of


def test_calls_count_for_whom_they_are_made() -> None:
    """One for several is shared out; one for nobody is the process's own; what was taken is not there a second time."""
    meter = CallMeter()
    meter.count("kubernetes")
    with on_behalf_of("a"):
        meter.count("kubernetes")
        with on_behalf_of("a", "b"):
            meter.count("cloudwatch")
        meter.count("elbv2")
    assert meter.totals() == {"cloudwatch": 1, "elbv2": 1, "kubernetes": 2}
    assert meter.take("a") == {"kubernetes": 1, "cloudwatch": 0.5, "elbv2": 1}
    assert meter.take("a") == {}
    meter.retain(["a"])
    assert meter.take("b") == {}, "an application that is gone"


def test_another_thread_says_for_itself_whom_it_works_for() -> None:
    """Or two applications side by side would pay for each other."""
    meter = CallMeter()
    with on_behalf_of("a"):
        thread = threading.Thread(target=meter.count, args=("kubernetes",))
        thread.start()
        thread.join()
    assert meter.take("a") == {}
    assert meter.totals() == {"kubernetes": 1}


def test_every_aws_request_counts_with_its_service() -> None:
    """As botocore sends it, whatever the client's methods are."""
    meter = CallMeter()
    with mock_aws():
        clients = AwsClients("us-west-2", meter)
        with on_behalf_of("a"):
            assert clients.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
            clients.client("elbv2").describe_load_balancers()
        clients.client("ec2").describe_regions()
        boto3.client("ec2", "us-west-2").describe_regions()  # not ours
    assert meter.take("a") == {"elbv2": 2}
    assert meter.totals() == {"ec2": 1, "elbv2": 2}
