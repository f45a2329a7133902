"""Constants of the controller with other values, for tests on a real clock."""

from __future__ import annotations

import sys

import pytest


def set_constant(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    """Gives a constant another value in every module of the controller that has it.

    Raises:
        AssertionError: None has it.
    """
    having = [module for path, module in list(sys.modules.items()) if path.startswith("controller.") and name in vars(module)]
    assert having, f"no module of the controller has {name}"
    for module in having:
        monkeypatch.setattr(module, name, value)
