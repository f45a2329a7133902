"""Waits for a server that was started. Needs nothing but Python: it runs where a machine has no torch."""

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 1800.0
"""A start that compiles takes minutes."""


def ready(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until it is ready; False where it ended, or is not in half an hour."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            get(f"{url}/readiness")
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
        else:
            return True
    return False


def get(url: str, timeout: float = 10) -> bytes:
    """What an address answers. Raises OSError if it answers with an error, or not at all."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        body: bytes = answer.read()
    return body
