"""`failoverctl pause | resume | pin`: set annotations on the Ingress that the controller reads and never writes."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from controller.cli.common import Options, choose_one, common_options, fail_cleanly, load_applications, open_session, reason_given, seconds
from controller.clients.kube import INGRESSES, MERGE_PATCH
from controller.clock import SystemClock, format_rfc3339
from controller.errors import FailoverError
from controller.policy.annotations import OVERRIDE_REASON, PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL
from controller.policy.model import Mode

_MANAGER = "failoverctl-cli"


@click.command("pause")
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pause.")
@common_options
def pause_command(options: Options, application: str | None, duration: str, why: str) -> None:
    """Stop the controller from changing anything, for a time and with a reason.

    The controller still watches signals and sends alerts; it leaves routing and replicas exactly as they are.
    """
    until = format_rfc3339(SystemClock().now() + seconds(duration))
    name = _annotate(options, application, {PAUSED_UNTIL: until, OVERRIDE_REASON: reason_given(why)})
    click.echo(f"{name}: paused until {until}: {why}")


@click.command("resume")
@click.argument("application", required=False)
@common_options
def resume_command(options: Options, application: str | None) -> None:
    """Remove a pause and a pin."""
    name = _annotate(options, application, dict.fromkeys((PAUSED_UNTIL, PINNED_MODE, PINNED_UNTIL, OVERRIDE_REASON)))
    click.echo(f"{name}: no pause and no pin")


@click.command("pin")
@click.argument("mode", type=click.Choice([str(mode) for mode in Mode]))
@click.argument("application", required=False)
@click.option("--for", "duration", default="1h", show_default=True, help="Duration, such as 30m, 2h or 1d.")
@click.option("--why", required=True, help="Reason, shown in status and messages during the pin.")
@common_options
def pin_command(options: Options, mode: str, application: str | None, duration: str, why: str) -> None:
    """Request a mode and keep it, for a time and with a reason.

    The mode change still needs a receiving side that is ready and safe.
    """
    until = format_rfc3339(SystemClock().now() + seconds(duration))
    name = _annotate(options, application, {PINNED_MODE: mode, PINNED_UNTIL: until, OVERRIDE_REASON: reason_given(why)})
    click.echo(f"{name}: pinned to mode {mode} until {until}: {why}")


def _annotate(options: Options, wanted: str | None, annotations: Mapping[str, str | None]) -> str:
    """Sets annotations; None removes one, no matter who wrote it."""
    try:
        settings = options.settings()
        application = choose_one(load_applications(settings), wanted)
        open_session(settings).request(
            "PATCH",
            INGRESSES.path(application.namespace, application.ingress),
            query=(("fieldManager", _MANAGER),),
            body=json.dumps({"metadata": {"annotations": dict(annotations)}}),
            content_type=MERGE_PATCH,
        )
    except FailoverError as error:
        raise fail_cleanly(error) from error
    return application.key
