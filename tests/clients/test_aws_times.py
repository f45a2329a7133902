"""Times in the answers of AWS."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from controller.clients.aws import AwsClients, parsed_time

AT = datetime(2026, 8, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(AT.timestamp(), id="JSON"),
        pytest.param(int(AT.timestamp()), id="whole seconds"),
        pytest.param("2026-08-01T12:00:00.000Z", id="XML"),
        pytest.param("2026-08-01T14:00:00+02:00", id="another zone"),
    ],
)
def test_every_form_is_the_same_time(value: Any) -> None:
    """CloudWatch sends numbers, ELBv2 and EC2 send text."""
    assert parsed_time(value) == AT


@pytest.mark.parametrize("value", [1e300, float("nan"), "soon", "", "1e30", "-1e30", "1e400", "nan"])
def test_what_is_no_time_is_no_answer(value: Any) -> None:
    """As any other answer that is not from AWS."""
    with pytest.raises(ResponseParserError):
        parsed_time(value)


def test_the_clients_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore's own parser asks for the machine's time zone for each value."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = AwsClients("us-west-2").client("cloudwatch")
    assert client._endpoint._response_parser_factory.create_parser("json")._timestamp_parser is parsed_time
