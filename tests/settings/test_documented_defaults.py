"""Defaults that pages state are those of the code. docs/configuration.md is generated; these are the others."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest
from pydantic import BaseModel

from controller.catalog.fields import yaml_key
from controller.notifiers.dispatcher import Dispatcher
from controller.policy.model import PolicySettings
from controller.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [one for one in sorted((ROOT / "docs").rglob("*.md")) if one.name != "configuration.md"]
POLICY: Final = {yaml_key(one.name): one.default for one in fields(PolicySettings)}
DISPATCHER: Final = {name: one.default for name, one in inspect.signature(Dispatcher).parameters.items()}


def _settings(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every setting by its path, with its default."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


SETTINGS: Final = dict(_settings(Settings()))


def _stated() -> Iterator[tuple[str, str, str]]:
    """Page, name and default of each row of a table with a column of defaults, and of each setting with "(default X)" behind it."""
    for page in PAGES:
        column = None
        for line in page.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
            if not cells:
                column = None
            elif "default" in map(str.lower, cells):
                column = [cell.lower() for cell in cells].index("default")
            elif column and (name := re.match(r"`([\w.]+)`", cells[0])):
                yield page.name, name[1], cells[column]
        for name, value in re.findall(r"`([\w.]+)` \([^()]*?default:? `?([^()`;,]+)", page.read_text()):
            yield page.name, name, value


STATED: Final = [one for one in _stated() if one[1] in SETTINGS.keys() | POLICY.keys() | DISPATCHER.keys()]


_UNITS: Final = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def _number(text: str) -> float | None:
    """The number that a text begins with; times in seconds."""
    found = re.match(r"([\d.]+) ?(s|min|h)?\b", text.replace(",", "").strip("`"))
    return float(found[1]) * _UNITS[found[2] or ""] if found else None


@pytest.mark.parametrize(("page", "name", "text"), STATED)
def test_a_default_that_a_page_states_is_the_default(page: str, name: str, text: str) -> None:
    """Numbers may have a unit behind them."""
    default = {**DISPATCHER, **POLICY, **SETTINGS}[name]
    stated = _number(text)
    assert stated == default if stated is not None else text == str(default).lower(), page


def test_the_table_of_notifications_is_read() -> None:
    """So that the test above does not pass on nothing."""
    named = {name for page, name, _ in STATED if page == "notifications.md"}
    assert named >= {"dedup_window_s", "queue_size", "attempts", "retry_max_s", "dead_after"}
