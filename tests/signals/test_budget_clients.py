"""No AWS call is ever made with botocore's defaults, which wait a minute to connect and another to read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import controller
import failover_setup
from controller.clients.aws import ATTEMPTS, CONNECT_S, READ_S, AwsClients

SOURCES = sorted(path for package in (controller, failover_setup) for path in Path(str(package.__file__)).parent.rglob("*.py"))


def services() -> set[str]:
    """Every service that a module of the project asks the factory for, by name or through the constant of its module."""
    found = set()
    for source in SOURCES:
        text = source.read_text()
        constants = dict(re.findall(r'^(_?[A-Z_]+)(?:: Final)? = "([a-z0-9-]+)"', text, re.MULTILINE))
        for literal, constant in re.findall(r'lients\.client\((?:"([a-z0-9-]+)"|(_?[A-Z_]+))\)', text):
            found.add(literal or constants[constant])
        found.update(re.findall(r'self\._calls\.call\("([a-z0-9-]+)"', text))
    return found


def test_every_client_of_the_factory_has_short_time_outs_and_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attempts of two and five seconds: shorter than what a tick may take to be called stuck."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    clients = AwsClients("us-west-2")
    names = services() | {"ec2"}
    assert names >= {"cloudwatch", "ec2", "elbv2", "service-quotas"}
    for name in sorted(names):
        config = clients.client(name).meta.config
        assert (config.connect_timeout, config.read_timeout) == (CONNECT_S, READ_S) == (2, 5), name
        assert config.retries["mode"] == "standard", name
        assert config.retries["total_max_attempts"] == ATTEMPTS == 3, name
        assert clients.client(name) is clients.client(name)


def test_no_module_makes_a_client_past_the_factory() -> None:
    """The embedded environment's own server is no client of ours."""
    for source in SOURCES:
        if source.name != "aws.py":
            assert not re.search(r"boto3\.(client|resource|session)|[sS]ession\(\)\.client", source.read_text()), source
