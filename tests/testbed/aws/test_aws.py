"""The emulated AWS account: isolated, silent, and empty at every start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from controller.clients.aws import AwsClients, translated
from controller.errors import ConfigError, Rejected
from failover_testbed.aws.server import ACCOUNT, REGION, ZONES, EmulatedAws


@pytest.fixture
def aws() -> Iterator[EmulatedAws]:
    with EmulatedAws() as started:
        yield started


def test_the_environment_leads_the_production_clients_to_it(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    elb = AwsClients().client("elbv2")
    assert elb.describe_load_balancers()["LoadBalancers"] == []
    assert elb.meta.endpoint_url == aws.endpoint
    elb.close()
    assert set(aws.network.subnets) == set(ZONES)


def test_a_proxy_of_the_environment_is_between_nobody_and_it(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the fakes nor the production clients; what the environment excepts besides stays excepted."""
    for name in ("NO_PROXY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "corp.example")
    assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    assert AwsClients().client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "corp.example,127.0.0.1,localhost"


def test_it_is_silent_and_says_what_it_cannot(aws: EmulatedAws, capfd: pytest.CaptureFixture[str]) -> None:
    elb = aws.client("elbv2")
    elb.describe_load_balancers()
    with pytest.raises(ClientError):
        elb.describe_target_groups(Names=["nope"])
    with pytest.raises(Rejected, match=r"UnsupportedOperation not emulated: The describe_trust_stores action"), translated("elbv2", "x"):
        elb.describe_trust_stores()
    assert capfd.readouterr() == ("", "")


def test_a_profile_of_the_user_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "one-that-does-not-exist")
    with EmulatedAws() as aws:
        assert aws.client("elbv2").describe_load_balancers()["LoadBalancers"] == []


def test_only_who_asks_for_machine_images_has_some() -> None:
    """Whatever the environment says, which is as it was afterwards."""
    before = dict(os.environ)
    for wanted in (True, False):
        with EmulatedAws(machine_images=wanted) as aws:
            assert bool(aws.client("ec2").describe_images(Owners=["amazon"])["Images"]) is wanted
    assert dict(os.environ) == before


def test_every_start_is_a_new_account() -> None:
    aws = EmulatedAws()
    for _ in range(2):
        aws.start()
        elb = aws.client("elbv2")
        made = elb.create_target_group(Name="x", Protocol="HTTP", Port=80, VpcId=aws.network.vpc, TargetType="ip")
        assert f":{REGION}:{ACCOUNT}:" in made["TargetGroups"][0]["TargetGroupArn"]
        aws.stop()
    aws.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = aws.endpoint


def test_without_moto_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("moto.moto_server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "moto.moto_server.werkzeug_app", None)
    with pytest.raises(ConfigError, match=r"pip install 'mixed-accelerator-failover\[demo\]'"):
        EmulatedAws().start()
