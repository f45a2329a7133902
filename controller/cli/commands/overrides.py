"""The commands `failoverctl pause`, `failoverctl pin` and `failoverctl resume`."""

from __future__ import annotations

import click

from controller.cli.common import Options, author_given, common_options, reason_given, seconds
from controller.policy.names import Mode

_YES = click.option("--yes", is_flag=True, help="Write without asking, as scripts need.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would come of it, and write nothing.")
_BY = click.option("--by", help="Your name, shown with the reason; default: the user that the API server knows you as.")


@click.command("pause")
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pause.")
@_BY
@_YES
@_DRY_RUN
@common_options
def pause_command(options: Options, application: str | None, duration: str, why: str, by: str | None, *, yes: bool, dry_run: bool) -> None:
    """Stop the controller from changing anything, for a time and with a reason.

    The controller still watches signals and sends alerts; it leaves routing and replicas exactly as they are. A pin beside the pause stays,
    with its own end and reason. The command shows what would come of it, and asks.
    """
    duration_s, why, by = seconds(duration, "--for"), reason_given(why), author_given(by)
    from controller.cli.overrides import Asked, pause

    pause(options, application, duration_s, why, by, Asked(yes, dry_run))


@click.command("pin")
@click.argument("mode", type=click.Choice([str(mode) for mode in Mode]))
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pin.")
@_BY
@_YES
@_DRY_RUN
@common_options
def pin_command(
    options: Options, mode: str, application: str | None, duration: str, why: str, by: str | None, *, yes: bool, dry_run: bool
) -> None:
    """Request a mode and keep it, for a time and with a reason.

    The mode change still needs a receiving side that is ready and safe: `failoverctl explain` says whether it is. A pause beside the pin
    stays, with its own end and reason; until it ends, the pin does nothing. The command shows what would come of it, and asks.
    """
    duration_s, why, by = seconds(duration, "--for"), reason_given(why), author_given(by)
    from controller.cli.overrides import Asked, pin

    pin(options, mode, application, duration_s, why, by, Asked(yes, dry_run))


@click.command("resume")
@click.argument("application", required=False)
@click.option("--pause", "which", flag_value="pause", help="Remove the pause alone.")
@click.option("--pin", "which", flag_value="pin", help="Remove the pin alone.")
@_YES
@_DRY_RUN
@common_options
def resume_command(options: Options, application: str | None, which: str | None, *, yes: bool, dry_run: bool) -> None:
    """Remove a pause and a pin, each named with its reason and author."""
    from controller.cli.overrides import PAUSE, PIN, Asked, resume

    resume(options, application, {"pause": PAUSE, "pin": PIN}.get(which or "", PAUSE | PIN), Asked(yes, dry_run))
