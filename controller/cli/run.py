"""`failoverctl run`: the controller."""

from __future__ import annotations

import signal
from types import FrameType

import click

from controller.cli.common import Options, common_options, fail_cleanly, open_session
from controller.clock import SystemClock
from controller.errors import FailoverError
from controller.service.logs import configure_logging
from controller.service.wiring import Service


@click.command("run")
@click.option("--dry-run", is_flag=True, help="Decide and log plans, write nothing. Needs only read permissions.")
@common_options
def run_command(options: Options, *, dry_run: bool) -> None:
    """Run the controller until SIGTERM or Ctrl-C."""
    try:
        settings = options.settings()
        configure_logging(settings.log)
        service = Service(settings, open_session(settings), SystemClock(), dry_run=dry_run)

        def end(_signal: int, _frame: FrameType | None) -> None:
            service.stop()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        service.run()
    except FailoverError as error:
        raise fail_cleanly(error) from error
