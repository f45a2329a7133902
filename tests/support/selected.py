"""A plugin of pytest that writes down which tests each target of the Makefile selects, of all that were collected.

It collects as `make test` does on a fresh machine: without the packages that only benchmarks install.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests import tiers

VARIABLE: Final = "FAILOVER_TEST_SELECTED"
"""The environment variable that names the file to write."""

_PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"

_skipped: list[str] = []


def pytest_configure() -> None:
    """Blocks the imports of the bench group, which some other target may have installed here."""
    for requirement in tomllib.loads(_PYPROJECT.read_text())["dependency-groups"]["bench"]:
        module = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        sys.modules[module] = None  # type: ignore[assignment]  # how Python itself marks a module that cannot be imported


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes a file that is skipped as a whole."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Writes, for each target, the names of its tests."""
    (conftest,) = (one for one in session.config.pluginmanager.get_plugins() if hasattr(one, "keeps"))
    found = {}
    for target, selected in tiers.TARGETS.items():
        names = [item.nodeid for item in conftest.keeps(session.items, frozenset(selected))] + [f"{path}::" for path in _skipped]
        found[target] = [name for name in names if conftest.reads(name.split("::", 1)[0], frozenset(selected))]
    Path(os.environ[VARIABLE]).write_text(json.dumps(found))
