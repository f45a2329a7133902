"""The recording that later versions are compared with, and another policy's outcome for it.

``python -m tests.analysis.replay.record`` writes the outcome, ``--new`` first a new recording.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from controller.cli.main import main

_HERE: Final = Path(__file__).parent
RECORDING: Final = _HERE / "seed.jsonl.gz"
"""The decisions of the demo's shortage."""
PATIENCE: Final = _HERE / "patience.txt"
"""What the policy of `patient` would have made of it, in full."""
APPLICATION: Final = _HERE.parents[2] / "proof" / "failover_testbed" / "demo" / "scenarios" / "applications" / "seed.yaml"
"""The demo's application."""


def patient() -> str:
    """The demo's application file, patient for two minutes instead of ten seconds."""
    text = APPLICATION.read_text()
    assert "patienceSeconds: 10\n" in text
    return text.replace("patienceSeconds: 10\n", "patienceSeconds: 120\n")


def record() -> None:
    """Plays the demo and writes the recording.

    Raises:
        RuntimeError: The demo did not go as it should, or recorded other than one file.
    """
    with _folder():
        played = CliRunner().invoke(main, ["demo", "--record", "recorded"], catch_exceptions=False)
        files = list(Path("recorded").rglob("*.jsonl*"))
        if played.exit_code != 0 or len(files) != 1:
            raise RuntimeError(f"exit code {played.exit_code}, recorded {files}\n{played.output}")
        RECORDING.write_bytes(gzip.compress(files[0].read_bytes(), mtime=0))


def replay() -> None:
    """Writes what the other policy makes of the recording."""
    with _folder():
        shutil.copy(RECORDING, RECORDING.name)
        Path("patient.yaml").write_text(patient())
        words = ["replay", RECORDING.name, "--policy", "patient.yaml", "--exact"]
        PATIENCE.write_text(CliRunner().invoke(main, words, catch_exceptions=False).output)


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """An empty folder as the present one, so that paths in what is written are short and the same everywhere."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


if __name__ == "__main__":
    if "--new" in sys.argv[1:]:
        record()
    replay()
