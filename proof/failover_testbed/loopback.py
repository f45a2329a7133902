"""Servers on this machine are reached without the proxy that a person's environment may name."""

from __future__ import annotations

from typing import Final
from urllib.request import getproxies

_THIS_MACHINE: Final = "127.0.0.1,localhost"
_NAMES: Final = ("NO_PROXY", "no_proxy")  # Go reads the first one first, Python the second


def unproxied() -> dict[str, str]:
    """Environment variables with which no client uses a proxy for servers on this machine; what the environment excepts stays excepted."""
    excepted = getproxies().get("no", "")
    return dict.fromkeys(_NAMES, ",".join(filter(None, (excepted, _THIS_MACHINE))))
