"""The schema of the chart's values follows the settings and fits the values."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from controller import __version__
from tools import chart_readme
from tools.chart_schema import DOCUMENT, document


def test_the_schema_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert DOCUMENT.read_text() == document(), "make docs"


def test_the_defaults_and_every_example_satisfy_the_schema() -> None:
    """An example states only its changes, so the schema requires no value."""
    schema = json.loads(DOCUMENT.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    values = yaml.safe_load((DOCUMENT.parent / "values.yaml").read_text())
    examples = [yaml.safe_load(path.read_text()) for path in sorted((DOCUMENT.parent / "ci").glob("*.yaml"))]
    assert examples
    for one in ({}, *examples):
        jsonschema.validate(_merged(values, one), schema)


@pytest.mark.parametrize(("name", "allowed"), [
    ("", True), ("f", True), ("failover-2", True), ("f" * 40, True),
    ("f" * 41, False), ("2-failover", False), ("failover-", False), ("-failover", False), ("fail.over", False), ("Failover", False),
])  # fmt: skip
def test_a_name_is_that_of_a_service_or_is_refused(name: str, allowed: bool) -> None:
    """Nothing cuts it: two names that differ at their end would be one, and the API server would refuse a Service with a dot in it."""
    schema = json.loads(DOCUMENT.read_text())["properties"]["fullnameOverride"]
    assert jsonschema.Draft202012Validator(schema).is_valid(name) == allowed


def test_the_readme_is_up_to_date_and_says_what_each_value_means() -> None:
    """`make docs` writes it from the comments of values.yaml."""
    assert chart_readme.DOCUMENT.read_text() == chart_readme.document(), "make docs"
    assert [one.path for one in chart_readme.values() if not one.meaning] == []


def schema_accepts(change: dict[str, object]) -> bool:
    """Whether the defaults with a change satisfy the schema."""
    values = yaml.safe_load((DOCUMENT.parent / "values.yaml").read_text())
    return jsonschema.Draft202012Validator(json.loads(DOCUMENT.read_text())).is_valid(_merged(values, change))


def _merged(values: dict[str, object], change: dict[str, object]) -> dict[str, object]:
    """Merges values as helm does: mappings recursively, all else replaced."""
    found = dict(values)
    for key, value in change.items():
        old = found.get(key)
        found[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def test_the_chart_is_of_this_version() -> None:
    """Its default image has the same version."""
    chart = yaml.safe_load((DOCUMENT.parent / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
