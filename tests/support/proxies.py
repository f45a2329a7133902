"""Tests of what a proxy of the environment does begin without one."""

from __future__ import annotations

import pytest


def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away the proxies of the machine and what it excepts from them, under both names that each of these variables has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
