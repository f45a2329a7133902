"""The programs of the tests leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from failover_harness.waiting import wait_for

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of another system does not end them")
def test_they_are_gone_when_the_run_is_killed(tmp_path: Path) -> None:
    """A test process that gets SIGKILL, as from a time limit, leaves no program."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from failover_harness.controllers.programs import started\n"
        "with started(Path('/bin/sleep'), ['300'], {}, Path(sys.argv[1])) as made:\n"
        "    print(made.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        running = Path("/proc") / run.stdout.readline().strip() / "cmdline"
        assert b"sleep" in running.read_bytes()
        run.kill()
    wait_for("it is gone", lambda: not running.exists() or not running.read_bytes())
