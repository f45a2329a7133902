"""Anyone who may create Events, pods or NodeClaims cannot fill the memory of the controller, nor make it forget what is real."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.signals.flood import FLOODS

MOST_MIB = 160
"""Of the 256 MiB that the controller is given."""


@pytest.mark.timeout(180)  # twenty seconds of processor time
@pytest.mark.parametrize("name", FLOODS)
def test_no_flood_takes_more_memory_than_there_is(name: str) -> None:
    """The whole process, with all that the service imports. The flood asserts that a refusal of a real NodePool survives."""
    done = subprocess.run([sys.executable, "-m", "tests.signals.flood", name], capture_output=True, text=True, check=True, timeout=170)
    assert float(done.stdout) <= MOST_MIB
