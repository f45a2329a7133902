"""The plan of a drill: its template is what FIS takes, and a wrong option is named."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from controller.errors import ConfigError
from failover_setup.drill.plan import ACTION, TAG
from tests.drill.drills import KEY, plan

ALARM = "arn:aws:cloudwatch:us-west-2:123456789012:alarm:errors of users"


def test_the_template_is_what_the_model_of_fis_takes() -> None:
    template = plan(stop_alarms=(ALARM,)).template()
    shape = botocore.session.get_session().get_service_model("fis").operation_model("CreateExperimentTemplate").input_shape
    wrong = ParamValidator().validate({"clientToken": "one", **template}, shape)
    assert not wrong.has_errors(), wrong.generate_report()
    assert template["actions"]["shortage"]["actionId"] == ACTION
    assert template["actions"]["shortage"]["parameters"] == {
        "availabilityZoneIdentifiers": "us-west-2a,us-west-2b,us-west-2c",
        "duration": "PT5M",
        "percentage": "100",
    }
    assert template["stopConditions"] == [{"source": "aws:cloudwatch:alarm", "value": ALARM}]
    assert template["tags"] == {TAG: KEY}


def test_without_an_alarm_nothing_ends_it_early() -> None:
    assert plan().template()["stopConditions"] == [{"source": "none"}]


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("--karpenter-role", {"karpenter_role": "karpenter"}),
        ("--fis-role", {"fis_role": "arn:aws:iam::1:role/fis"}),
        ("--stop-alarm", {"stop_alarms": ("errors",)}),
        ("--zone", {"zones": ("us-west-2a,us-west-2b",)}),
        ("--zone", {"zones": ("usw2-az1",)}),
        ("--duration", {"duration_s": 90}),
        ("--duration", {"duration_s": 7200}),
    ],
)
def test_a_wrong_option_is_named(option: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: found .*; allowed: "):
        plan(**changes)


def test_it_costs_a_tenth_of_a_dollar_a_minute() -> None:
    assert plan(duration_s=600).dollars == pytest.approx(1.0)
