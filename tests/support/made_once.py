"""What all workers of a run share: the first that needs it makes it, and the others wait for it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is made once in a run, in whichever worker needs it first.

    Args:
        factory: pytest's; each worker of xdist has its folder beside those of the others.
        name: The folder's, the same in every worker.
        make: Fills the empty folder. Where it raises, the next one begins anew.

    Returns:
        The folder. Tests of several workers read it at once: they must not write into it.
    """
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    done = shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=shared))
            make(folder)
            done.write_text(folder.name)
    return shared / done.read_text()
