"""`failoverctl run`: the controller."""

from __future__ import annotations

import signal
from types import FrameType

from controller.cli.common import Options
from controller.cli.selection import open_session
from controller.clock import SystemClock
from controller.service.logs import configure_logging
from controller.service.wiring import Service


def run(options: Options, *, dry_run: bool) -> None:
    """Runs the controller until SIGTERM or SIGINT.

    Raises:
        FailoverError: It cannot start.
    """
    settings = options.settings()
    configure_logging(settings.log)
    service = Service(settings, open_session(settings), SystemClock(), dry_run=dry_run)

    def end(_signal: int, _frame: FrameType | None) -> None:
        service.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    service.run()
