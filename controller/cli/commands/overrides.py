"""The commands `failoverctl pause`, `failoverctl pin` and `failoverctl resume`."""

from __future__ import annotations

import click

from controller.cli.common import Options, author_given, common_options, reason_given, seconds
from controller.policy.names import Mode

_BY = click.option("--by", help="Your name, shown with the reason; default: the user that the API server knows you as.")


@click.command("pause")
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pause.")
@_BY
@common_options
def pause_command(options: Options, application: str | None, duration: str, why: str, by: str | None) -> None:
    """Stop the controller from changing anything, for a time and with a reason.

    The controller still watches signals and sends alerts; it leaves routing and replicas exactly as they are. A pin beside the pause stays,
    with its own end and reason.
    """
    duration_s, why, by = seconds(duration, "--for"), reason_given(why), author_given(by)
    from controller.cli.overrides import pause

    pause(options, application, duration_s, why, by)


@click.command("pin")
@click.argument("mode", type=click.Choice([str(mode) for mode in Mode]))
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pin.")
@_BY
@common_options
def pin_command(options: Options, mode: str, application: str | None, duration: str, why: str, by: str | None) -> None:
    """Request a mode and keep it, for a time and with a reason.

    The mode change still needs a receiving side that is ready and safe: `failoverctl explain` says whether it is. A pause beside the pin
    stays, with its own end and reason; until it ends, the pin does nothing.
    """
    duration_s, why, by = seconds(duration, "--for"), reason_given(why), author_given(by)
    from controller.cli.overrides import pin

    pin(options, mode, application, duration_s, why, by)


@click.command("resume")
@click.argument("application", required=False)
@common_options
def resume_command(options: Options, application: str | None) -> None:
    """Remove a pause and a pin, and say what was removed."""
    from controller.cli.overrides import resume

    resume(options, application)
