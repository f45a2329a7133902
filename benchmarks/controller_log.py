"""Reads the log of a controller that runs as a process."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.clock import parse_rfc3339


def logged(log: Path, event: str) -> list[dict[str, Any]]:
    """What the process has logged about an event. What is not a whole line of JSON is left out."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            one = json.loads(line)
            if isinstance(one, dict) and one.get("event") == event:
                found.append(one)
    return found


def seconds(line: dict[str, Any]) -> float:
    """When a line was logged, seconds since the Unix epoch."""
    found = parse_rfc3339(str(line.get("timestamp")))
    assert found is not None, line
    return found


def first_decisions(log: Path) -> dict[str, float]:
    """When the process logged its first decision about each application."""
    found: dict[str, float] = {}
    for one in logged(log, "decision.changed"):
        found.setdefault(one["application"], seconds(one))
    return found
