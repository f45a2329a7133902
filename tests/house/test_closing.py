"""The end of a run says what was not tested, in one process or in several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_TESTS = """
import pytest
from tests.support.closing import say

@pytest.mark.parametrize("number", range(4))
def test_a(number, request):
    say(request.config, f"NOT TESTED {number % 2}", "because", warning=True)
    pytest.skip("because")
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_end_of_a_run_says_what_was_not_tested(tmp_path: Path, workers: str) -> None:
    """Once each, also where the processes that ran the tests print nothing: a tier that could not run must not look like one that did."""
    (tmp_path / "test_it.py").write_text(_TESTS)
    options = ["-c", "/dev/null", "--rootdir", ".", "-p", "xdist", "-p", "tests.support.closing", "-p", "no:cacheprovider", "-n", workers]
    alone = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}  # other plugins begin slowly
    command, environment = [sys.executable, "-m", "pytest", *options, "test_it.py"], {**os.environ, **alone}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip("= ") for line in done.stdout.splitlines()]
    assert [line for line in lines if line.startswith("NOT TESTED")] == ["NOT TESTED 0", "NOT TESTED 1"]
    assert lines.count("because") == 2
