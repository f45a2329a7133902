"""`failoverctl run`: the controller."""

from __future__ import annotations

import gc
import signal
import sys
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


def run(options: Options, *, dry_run: bool) -> None:
    """Runs the controller until SIGTERM or SIGINT.

    Raises:
        FailoverError: It cannot start.
    """
    settings = options.settings()
    configure_logging(settings.log)
    sys.setswitchinterval(_TURN_S)
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    service = Service(settings, open_session(settings), SystemClock(), dry_run=dry_run)

    def end(_signal: int, _frame: FrameType | None) -> None:
        service.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    service.run()
