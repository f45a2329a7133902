"""A plugin of pytest that writes down which tests each target of the Makefile selects, of all that were collected."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from tests import tiers

VARIABLE: Final = "FAILOVERCTL_TEST_SELECTED"
"""The environment variable that names the file to write."""

_skipped: list[str] = []


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
