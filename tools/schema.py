"""Generates the JSON schemas, the CustomResourceDefinition and the tables of ``docs/configuration.md`` from the models.

``python -m tools.schema`` (``make docs``), run in the repository root, writes them; a test fails if they are out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from controller.documents import Place, allowed_text, place_text, schema_at
from controller.settings import Settings, variable_name
from failover_setup.application import ApplicationFile
from tools.crd import CHART_COPY, CRD_FILE, crd_text

SCHEMA_FOLDER: Final = Path("config/schema")
DOCUMENTATION: Final = Path("docs/configuration.md")

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def application_schema() -> dict[str, Any]:
    """JSON schema of one document of an application file."""
    return _published(ApplicationFile.model_json_schema(), "failoverctl application")


def settings_schema() -> dict[str, Any]:
    """JSON schema of the settings file."""
    return _published(Settings.model_json_schema(), "failoverctl settings")


def _published(schema: Mapping[str, Any], title: str) -> dict[str, Any]:
    return {"$schema": _DRAFT, **_without_titles(schema), "title": title}


def _without_titles(node: Any) -> Any:  # noqa: ANN401 - any JSON
    """Drops the titles that pydantic derives from field names: they add nothing. A property named title would be a mapping."""
    if isinstance(node, dict):
        return {key: _without_titles(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    return [_without_titles(value) for value in node] if isinstance(node, list) else node


def generated_files(documentation: str) -> dict[Path, str]:
    """The content of every generated file, by path below the repository root.

    Args:
        documentation: The present text of ``docs/configuration.md``; the text outside its markers is kept.

    Raises:
        ValueError: A marker is missing.
    """
    schemas = {"application": application_schema(), "settings": settings_schema()}
    files = {SCHEMA_FOLDER / f"{name}.schema.json": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()}
    documentation = _between_markers(documentation, "application", "\n".join(application_tables()))
    documentation = _between_markers(documentation, "settings", "\n".join(settings_tables()))
    return files | {DOCUMENTATION: documentation, CRD_FILE: crd_text(), CHART_COPY: crd_text()}


def application_tables() -> Iterator[str]:
    """Markdown lines that describe every field of an application file, a table for each mapping."""
    yield from _tables(application_schema(), "The document", variables=False)


def settings_tables() -> Iterator[str]:
    """Markdown lines that describe every setting, a table for each group."""
    yield from _tables(settings_schema(), "The process", variables=True)


def _tables(schema: Mapping[str, Any], root: str, *, variables: bool) -> Iterator[str]:
    """A table for each mapping; those with the same fields share one, below the places and descriptions of all.

    Args:
        schema: The schema.
        root: What the heading calls the outermost mapping.
        variables: Whether each field has an environment variable.
    """
    places: dict[tuple[str, ...], list[Place]] = {}
    for group in _groups(schema, ()):
        places.setdefault(tuple(_table(schema, group, variables=variables)), []).append(group)
    for table, groups in places.items():
        yield "### " + ", ".join(f"`{_shown(group)}`" if group else root for group in groups)
        for description in dict.fromkeys(_text(str(schema_at(schema, group).get("description", ""))) for group in groups):
            yield from ("", description)
        yield from ("", *table, "")


def _groups(schema: Mapping[str, Any], place: Place) -> Iterator[Place]:
    """The places of all mappings, a list's entries as index 0, outermost first."""
    node = schema_at(schema, place)
    if "properties" in node:
        yield place
        for name in node["properties"]:
            yield from _groups(schema, (*place, name))
    elif "items" in node:
        yield from _groups(schema, (*place, 0))


def _shown(place: Place) -> str:
    return place_text(place).replace("[0]", "[]")


def _table(schema: Mapping[str, Any], group: Place, *, variables: bool) -> Iterator[str]:
    node = schema_at(schema, group)
    yield "| field | default | allowed | description |"
    yield "|---|---|---|---|"
    for name in node["properties"]:
        field = schema_at(schema, (*group, name))
        if variables and "properties" in field:
            continue  # a group: it has its own table, and no variable
        allowed = "see below" if "properties" in field or "properties" in schema_at(schema, (*group, name, 0)) else allowed_text(field)
        variable = f"<br>`{variable_name((*group, name))}`" if variables else ""
        default = _default(field, required=name in node.get("required", ()))
        yield f"| `{name}`{variable} | {default} | {_text(allowed)} | {_text(str(field.get('description', '')))} |"


def _default(field: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = field.get("default")
    if default is None or default in ("", {}):
        return "-"
    if isinstance(default, dict):
        return "see below"
    return f"`{', '.join(map(str, default)) or '[]'}`" if isinstance(default, list) else f"`{json.dumps(default).strip(chr(34))}`"


def _text(text: str) -> str:
    """One line that Markdown reads as plain text."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "\\<")


def _between_markers(text: str, name: str, generated: str) -> str:
    start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
    if start not in text or end not in text:
        raise ValueError(f"{DOCUMENTATION}: the markers {start.strip()} and {end} are missing")
    before, rest = text.split(start, 1)
    after = rest.split(end, 1)[1]
    return f"{before}{start}\n{generated}\n{end}{after}"


def main() -> None:
    """Writes all generated files below the working directory."""
    for path, content in generated_files(DOCUMENTATION.read_text(encoding="utf-8")).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
