"""The counts of calls by application."""

from __future__ import annotations

import threading

import boto3
from moto import mock_aws

from controller.clients.aws import AwsClients
from controller.clients.calls import CallMeter, on_behalf_of


def test_calls_count_for_the_applications_they_serve() -> None:
    """A call for several counts in equal shares, a call for none is the process's own; `take` resets the counts."""
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


def test_each_thread_states_its_own_applications() -> None:
    """Otherwise two applications in two threads would be charged for each other's calls."""
    meter = CallMeter()
    with on_behalf_of("a"):
        thread = threading.Thread(target=meter.count, args=("kubernetes",))
        thread.start()
        thread.join()
    assert meter.take("a") == {}
    assert meter.totals() == {"kubernetes": 1}


def test_every_aws_request_counts_with_its_service() -> None:
    """It is counted when botocore sends it, for every method of a client."""
    meter = CallMeter()
    with mock_aws():
        clients = AwsClients("us-west-2", meter)
        with on_behalf_of("a"):
            assert clients.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
            clients.client("elbv2").describe_load_balancers()
        clients.client("ec2").describe_instance_type_offerings()
        boto3.client("ec2", "us-west-2").describe_regions()  # not ours
    assert meter.take("a") == {"elbv2": 2}
    assert meter.totals() == {"ec2": 1, "elbv2": 2}
