"""An AWS account that moto emulates in the test's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID


@contextmanager
def emulated_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes every AWS client created inside call moto, with credentials of no real account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        yield


def default_network(region: str) -> tuple[str, list[str]]:
    """The account's default VPC and two of its subnets, straight from moto's model: an EC2 client takes longer than most tests.

    Args:
        region: One of the emulated account.
    """
    from moto.ec2.models import ec2_backends  # reads the models of all services; nobody who collects the tests needs to wait for that

    subnets = list(ec2_backends[DEFAULT_ACCOUNT_ID][region].get_default_subnets().values())[:2]
    return subnets[0].vpc_id, [subnet.id for subnet in subnets]
