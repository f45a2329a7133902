"""The region of AWS clients."""

from __future__ import annotations

import pytest

from controller.clients.aws import AwsClients


@pytest.mark.parametrize(
    ("setting", "variables", "region"),
    [
        pytest.param(None, {"AWS_REGION": "eu-west-1"}, "eu-west-1", id="as EKS sets it"),
        pytest.param(None, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1", id="as other SDKs choose"),
        pytest.param(None, {"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1", id="boto3's own"),
        pytest.param("us-west-2", {"AWS_REGION": "eu-west-1"}, "us-west-2", id="the setting first"),
    ],
)
def test_the_region(setting: str | None, variables: dict[str, str], region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, $AWS_REGION, then what boto3 finds."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert AwsClients(setting).client("sts").meta.region_name == region
