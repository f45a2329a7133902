"""`.ci/run` runs what failed once more: the parts of a target in which nothing failed must not fail it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_RERUN: Final = ("--last-failed", "--last-failed-no-failures=none")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two files of tests; one of them fails until a file is there."""
    (tmp_path / "conftest.py").write_text("from tools.rerun import pytest_sessionfinish\n")
    (tmp_path / "test_flaky.py").write_text("from pathlib import Path\n\ndef test_it():\n    assert Path('well').exists()\n")
    (tmp_path / "test_steady.py").write_text("def test_it():\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def _pytest(project: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    environment = {"PYTHONPATH": str(_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, check=False, timeout=60).returncode


def test_a_part_in_which_nothing_failed_passes(project: Path) -> None:
    assert _pytest(project, "test_flaky.py") == pytest.ExitCode.TESTS_FAILED
    (project / "well").touch()
    assert _pytest(project, "test_flaky.py", *_RERUN) == pytest.ExitCode.OK
    assert _pytest(project, "test_steady.py", *_RERUN) == pytest.ExitCode.OK


def test_what_fails_again_fails(project: Path) -> None:
    assert _pytest(project, "test_flaky.py") == pytest.ExitCode.TESTS_FAILED
    assert _pytest(project, "test_flaky.py", *_RERUN) == pytest.ExitCode.TESTS_FAILED


def test_nothing_to_run_without_a_rerun_is_still_an_error(project: Path) -> None:
    assert _pytest(project, "test_steady.py", "-k", "absent") == pytest.ExitCode.NO_TESTS_COLLECTED
