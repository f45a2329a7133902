"""A region of every partition of AWS is one for settings and application files."""

from __future__ import annotations

import json

import botocore.session
import pytest
from pydantic import TypeAdapter, ValidationError

from controller.documents import Region
from controller.settings import AwsSettings
from failover_setup.stack import StackFile


def _regions() -> list[str]:
    """Every region that botocore knows, of all partitions."""
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    return sorted({name for one in partitions for name in session.get_available_regions("ec2", partition_name=one)})


def test_all_regions_of_all_partitions_are_allowed() -> None:
    """The European sovereign cloud begins with four letters; no rule says that the next one does not."""
    found = _regions()
    assert {"eusc-de-east-1", "us-gov-west-1", "us-isob-east-1", "cn-north-1", "us-west-2"} <= set(found)
    refused = []
    for name in found:
        try:
            TypeAdapter(Region).validate_python(name)
        except ValidationError:
            refused.append(name)
    assert refused == []


@pytest.mark.parametrize("text", ["", "Oregon", "us-west", "us-west-2a", "us_west_2", "-west-2"])
def test_what_is_no_region_is_refused(text: str) -> None:
    """A zone among them."""
    with pytest.raises(ValidationError):
        TypeAdapter(Region).validate_python(text)


def test_settings_and_application_files_allow_the_same() -> None:
    """One type for both."""
    allowed = TypeAdapter(Region).json_schema()["pattern"]
    for model in (AwsSettings, StackFile):
        assert json.dumps(allowed) in json.dumps(model.model_json_schema()["properties"]["region"])
