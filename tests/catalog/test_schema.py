"""The generated files are up to date, and every field is described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from controller.documents import schema_at
from controller.settings import Settings, setting_places, variable_name
from tools.schema import DOCUMENTATION, application_schema, generated_files, main, settings_schema

ROOT = Path(__file__).parents[2]


def properties(node: Any, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items():
            yield f"{where}.{name}", value
        for key, value in node.items():
            yield from properties(value, f"{where}.{key}")


@pytest.mark.parametrize("path", [str(path) for path in generated_files((ROOT / DOCUMENTATION).read_text())])
def test_generated_files_are_up_to_date(path: str) -> None:
    expected = generated_files((ROOT / DOCUMENTATION).read_text())[Path(path)]
    assert (ROOT / path).read_text() == expected, f"{path} is not what the models say; run: make schema"


@pytest.mark.parametrize("schema", [application_schema(), settings_schema()], ids=["application", "settings"])
def test_every_pattern_says_what_it_allows(schema: dict[str, Any]) -> None:
    """A message that a value is wrong names what is right; "text" is not enough where a pattern decides, in a mapping's keys as well."""
    patterns = [(place, node) for place, node in _fields(schema) if "pattern" in node]
    assert patterns
    assert [place for place, node in patterns if "x-allowed" not in node] == []
    keys = [(place, node) for place, node in _fields(schema) if "patternProperties" in node]
    assert [place for place, node in keys if "x-allowed" not in node.get("propertyNames", {})] == []


def _fields(schema: dict[str, Any], place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """Every part of a schema that holds a value, a list's entries and a mapping's values among them."""
    node = schema_at(schema, place)
    steps: list[str | int] = list(node.get("properties", ()))
    steps += [0] if "items" in node else []
    steps += ["any"] if "patternProperties" in node or isinstance(node.get("additionalProperties"), dict) else []
    yield place, node
    for step in steps:
        yield from _fields(schema, (*place, step))


@pytest.mark.parametrize("schema", [application_schema(), settings_schema()], ids=["application", "settings"])
def test_schemas_are_valid_and_describe_every_field(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    found = list(properties(schema))
    assert found
    described = [(name, value if "description" in value else schema["$defs"][value["$ref"].rsplit("/", 1)[1]]) for name, value in found]
    assert [name for name, value in described if not value["description"].endswith(".")] == []


def test_the_seed_satisfies_the_schema() -> None:
    document = yaml.safe_load((ROOT / "config/sd21.yaml").read_text())
    jsonschema.Draft202012Validator(application_schema()).validate(document)


@pytest.mark.parametrize("change", [{"weight": 40.5}, {"weight": "40"}, {"weigth": 1}, {"service": {"name": "x", "port": "80"}}])
def test_the_schema_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    document = yaml.safe_load((ROOT / "config/sd21.yaml").read_text())
    document["spec"]["units"][0].update(change)
    assert not jsonschema.Draft202012Validator(application_schema()).is_valid(document)


def test_the_documentation_names_every_setting_with_its_variable() -> None:
    text = (ROOT / DOCUMENTATION).read_text()
    for place in setting_places(Settings.model_json_schema()):
        assert f"| `{place[-1]}`<br>`{variable_name(place)}` |" in text


def test_the_documentation_names_every_field_of_an_application() -> None:
    text = (ROOT / DOCUMENTATION).read_text()
    names = {name.rsplit(".", 1)[1] for name, _ in properties(application_schema())}
    assert [name for name in sorted(names) if f"| `{name}` |" not in text] == []


def test_a_lost_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="markers"):
        generated_files("# Configuration\n")


def test_the_command_writes_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / DOCUMENTATION).write_text((ROOT / DOCUMENTATION).read_text())
    monkeypatch.chdir(tmp_path)
    main()
    assert (tmp_path / "config/schema/application.schema.json").read_text() == (ROOT / "config/schema/application.schema.json").read_text()
    assert "wrote docs/configuration.md" in capsys.readouterr().out
