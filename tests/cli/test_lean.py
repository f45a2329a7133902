"""What `failoverctl run` does not load: it runs for months, and its memory has a limit."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import sys
from controller.cli.main import main
try:
    main(["run", "--help"])
except SystemExit as error:
    assert not error.code
print(*sorted({"structlog", "rich"} & sys.modules.keys()))
import rich
"""


def test_the_controller_runs_without_rich_and_a_later_import_gets_it() -> None:
    """The logging library would import it, for tracebacks on a terminal."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "structlog"
