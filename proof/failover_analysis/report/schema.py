"""Generates the JSON schema of reports. ``python -m failover_analysis.report.schema`` (``make docs``) writes it in the repository root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from failover_analysis.report.model import SCHEMA, Report

PATH: Final = Path("docs/report.schema.json")

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """JSON schema of a report."""
    schema = TypeAdapter(Report).json_schema()
    schema["properties"]["schema"] = {"const": SCHEMA}
    return {"$schema": _DRAFT, **schema, "title": "failoverctl report"}


def schema_text() -> str:
    """The schema as text."""
    return json.dumps(report_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
