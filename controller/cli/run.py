"""`failoverctl run`: the controller."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Final

from controller.cli.common import Options
from controller.cli.selection import open_session
from controller.clock import SystemClock
from controller.service.logs import configure_logging
from controller.service.wiring import Service

_TURN_S: Final = 0.001
"""How long a thread computes while others wait for their turn, seconds; Python's default is 0.005. A mode change waits for a dozen
answers, and for its turn after each: beside a thread that computes, 58 ms with the default and 9 ms so. That thread gets 5 % less done."""

_YOUNG: Final = 20_000
"""How many more objects must exist than after the last search before the collector searches the new ones for garbage; Python's default is
700. So few made temporary answers of CloudWatch count as old, and with a thousand applications the search of all objects came twice a
minute. It takes 0.17 s, in which nothing else runs."""

_MOST_FILES: Final = 65_536
"""Files and connections that the process lets itself have, where the system allows it. Nodes often give 1,024 at first, and allow far more
to those that want it. Where each namespace is watched alone, ten connections each, the Lease had none left from a hundred namespaces on."""


def run(options: Options, *, dry_run: bool) -> None:
    """Runs the controller until SIGTERM or SIGINT.

    Raises:
        FailoverError: It cannot start.
    """
    settings = options.settings()
    configure_logging(settings.log)
    sys.setswitchinterval(_TURN_S)
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    allow_files()
    service = Service(settings, open_session(settings), SystemClock(), dry_run=dry_run)

    def end(_signal: int, _frame: FrameType | None) -> None:
        service.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    service.run()


def allow_files() -> None:
    """Lets this process have as many files and connections as the system allows it, up to `_MOST_FILES`."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):  # a system may have another limit below the one that it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
