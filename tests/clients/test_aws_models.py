"""What is kept of botocore's descriptions of services."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from controller.clients.aws import AwsClients
from controller.clients.aws_models import OPERATIONS, make_loader
from tests.clients.test_iam import IMPLIED, PREFIXES

POLICY = Path(__file__).parents[2] / "deploy" / "iam" / "policy.json"


def shown(shape: Any, depth: int = 12) -> Any:
    """A shape with all that it contains, as far as clients use it."""
    if shape is None or not depth:
        return None
    members = {name: shown(one, depth - 1) for name, one in getattr(shape, "members", {}).items()}
    inside = [shown(one, depth - 1) for one in (getattr(shape, "member", None), getattr(shape, "key", None), getattr(shape, "value", None))]
    return shape.type_name, shape.serialization, list(getattr(shape, "required_members", [])), members, inside


@pytest.mark.parametrize("service", PREFIXES)
def test_what_is_kept_is_as_botocore_has_it(service: str) -> None:
    """Requests and answers of every operation, with all their shapes."""
    ours, theirs = botocore.session.Session(), botocore.session.Session()
    ours.register_component("data_loader", make_loader())
    mine, whole = (one.get_service_model(service) for one in (ours, theirs))
    assert set(mine.operation_names) == OPERATIONS.get(service, set(whole.operation_names))
    assert mine.metadata == whole.metadata
    for name in mine.operation_names:
        one, other = mine.operation_model(name), whole.operation_model(name)
        assert (one.http, shown(one.input_shape), shown(one.output_shape)) == (
            other.http,
            shown(other.input_shape),
            shown(other.output_shape),
        )


@cache
def _resolvers() -> tuple[EndpointResolver, EndpointResolver]:
    """With the endpoints that the controller keeps, and with all of botocore's."""
    mine, whole = (EndpointResolver(loader.load_data("endpoints")) for loader in (make_loader(), Loader()))
    return mine, whole


@pytest.mark.parametrize("service", [*PREFIXES, "sso", "sso-oidc", "sts"])
def test_every_endpoint_is_as_botocore_has_it(service: str) -> None:
    """Of what the controller calls, and of the services that give it credentials; in all regions."""
    session = botocore.session.Session()
    prefix = session.get_service_model(service).endpoint_prefix
    mine, whole = _resolvers()
    regions = [region for partition in whole.get_available_partitions() for region in session.get_available_regions("ec2", partition)]
    assert len(regions) > 30
    for region in [*regions, "aws-global", "us-west-9"]:
        assert mine.construct_endpoint(prefix, region) == whole.construct_endpoint(prefix, region)


def test_the_operations_are_those_that_iam_grants() -> None:
    """A call that is added to one is added to the other. Tags are made with what has them, and not by a call of their own."""
    actions = {one for statement in json.loads(POLICY.read_text())["Statement"] for one in statement["Action"]} - set(IMPLIED.values())
    for service, kept in OPERATIONS.items():
        assert kept == {one.partition(":")[2] for one in actions if one.startswith(f"{PREFIXES[service]}:")}


def test_the_clients_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of all 700 operations of EC2."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    model = AwsClients("us-west-2").client("ec2").meta.service_model
    assert set(model.operation_names) == OPERATIONS["ec2"]
