"""The region of AWS clients."""

from __future__ import annotations

import pytest

from controller.clients.aws import AwsClients, why_forbidden
from controller.errors import Forbidden


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


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_ENDPOINT_URL": "garbage"}, "AWS_ENDPOINT_URL, or that of one service, is no URL"),
        ({"AWS_ENDPOINT_URL_STS": "garbage"}, "AWS_ENDPOINT_URL, or that of one service, is no URL"),
        ({"AWS_REGION": "us west"}, "AWS_REGION, or aws.region in the settings, is no name of a region"),
    ],
)
def test_what_botocore_cannot_use_is_named(variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises a ValueError, which stopped every command with a traceback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name, value in ({"AWS_REGION": "eu-west-1"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Forbidden, match=says) as caught:
        AwsClients().client("sts")
    assert says in why_forbidden(caught.value, "sts:GetCallerIdentity")
