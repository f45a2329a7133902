"""`failoverctl pause | resume | pin`: set annotations on the Ingress that the controller reads and never writes."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from controller.cli.common import Options, choose_one, common_options, fail_cleanly, load_applications, open_session, reason_given, seconds
from controller.clients.kube import INGRESSES, MERGE_PATCH, KubeSession, Object
from controller.clock import SystemClock, format_rfc3339
from controller.errors import FailoverError, RemoteError
from controller.policy.annotations import (
    OVERRIDES,
    PAUSE_REASON,
    PAUSED_BY,
    PAUSED_UNTIL,
    PIN_REASON,
    PINNED_BY,
    PINNED_MODE,
    PINNED_UNTIL,
)
from controller.policy.guards import reason_text
from controller.policy.model import Application, Mode
from controller.policy.routing import action_key
from controller.signals.objects import mapping, text

_MANAGER: Final = "failoverctl-cli"
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

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
    until = format_rfc3339(SystemClock().now() + seconds(duration))
    key, author, _ = _annotate(options, application, {PAUSED_UNTIL: until, PAUSE_REASON: reason_given(why)}, PAUSED_BY, by)
    click.echo(f"{key}: paused until {until}: {reason_text(why.strip(), author)}")


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
    until = format_rfc3339(SystemClock().now() + seconds(duration))
    wanted = {PINNED_MODE: mode, PINNED_UNTIL: until, PIN_REASON: reason_given(why)}
    key, author, routed = _annotate(options, application, wanted, PINNED_BY, by)
    click.echo(f"{key}: pinned to mode {mode} until {until}: {reason_text(why.strip(), author)}")
    if not routed:
        click.echo(
            "The Ingress has no routing action, so every request gets a 503. If the controller remembers a mode, it writes the action of"
        )
        click.echo("the pinned one. Otherwise it writes nothing (`failoverctl status`: RoutingUnknown) until you write an action.")


@click.command("resume")
@click.argument("application", required=False)
@common_options
def resume_command(options: Options, application: str | None) -> None:
    """Remove a pause and a pin, and say what was removed."""
    try:
        chosen, session = _opened(options, application)
        path = INGRESSES.path(chosen.namespace, chosen.ingress)
        lifted = list(_present(mapping(session.request("GET", path), "metadata", "annotations")))
        if lifted:
            _patch(session, path, dict.fromkeys(OVERRIDES))
    except FailoverError as error:
        raise fail_cleanly(error) from error
    for words in lifted or ["there is no pause and no pin"]:
        click.echo(f"{chosen.key}: {words}")


def _present(annotations: Mapping[str, Any]) -> Iterator[str]:
    """What there is to remove, in words; values as they are written."""
    found = {key: text(annotations, key) for key in OVERRIDES}
    if found[PAUSED_UNTIL]:
        yield f"removed the pause until {found[PAUSED_UNTIL]}: {reason_text(found[PAUSE_REASON], found[PAUSED_BY])}"
    if found[PINNED_MODE]:
        until = f" until {found[PINNED_UNTIL]}" if found[PINNED_UNTIL] else ""
        yield f"removed the pin to mode {found[PINNED_MODE]}{until}: {reason_text(found[PIN_REASON], found[PINNED_BY])}"
    if any(found.values()) and not found[PAUSED_UNTIL] and not found[PINNED_MODE]:
        yield "removed what was left of an override"


def _annotate(
    options: Options, wanted: str | None, annotations: Mapping[str, str], author_key: str, by: str | None
) -> tuple[str, str, bool]:
    """Writes an override with its author; returns the application's key, the author, and whether its Ingress has a routing action."""
    try:
        chosen, session = _opened(options, wanted)
        author = by.strip() if by and by.strip() else _author(session)
        after = _patch(session, INGRESSES.path(chosen.namespace, chosen.ingress), {**annotations, author_key: author})
    except FailoverError as error:
        raise fail_cleanly(error) from error
    return chosen.key, author, action_key(chosen.action) in mapping(after, "metadata", "annotations")


def _opened(options: Options, wanted: str | None) -> tuple[Application, KubeSession]:
    settings = options.settings()
    return choose_one(load_applications(settings), wanted), open_session(settings)


def _author(session: KubeSession) -> str:
    """Who the API server says that we are (Kubernetes 1.28 and later); the name of the local user where it does not say."""
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    try:
        name = text(session.request("POST", _REVIEWS, body=body), "status", "userInfo", "username")
    except RemoteError:
        name = ""
    return name or _local_user()


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""


def _patch(session: KubeSession, path: str, annotations: Mapping[str, str | None]) -> Object:
    """Sets annotations; None removes one, no matter who wrote it. Returns the Ingress after it."""
    body = json.dumps({"metadata": {"annotations": dict(annotations)}})
    return session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=body, content_type=MERGE_PATCH)
