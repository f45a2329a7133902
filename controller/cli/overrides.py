"""`failoverctl pause | resume | pin`: set annotations on the Ingress that the controller reads and never writes."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from controller.cli.common import Options
from controller.cli.selection import only, select
from controller.clients.kube import INGRESSES, MERGE_PATCH, KubeSession, Object
from controller.clock import SystemClock, format_rfc3339
from controller.errors import RemoteError
from controller.foreign import shown
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
from controller.policy.model import Application
from controller.policy.routing import action_key
from controller.signals.objects import mapping, text

_MANAGER: Final = "failoverctl-cli"
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def pause(options: Options, application: str | None, duration_s: float, why: str, by: str | None) -> None:
    """Writes a pause.

    Args:
        options: The common options.
        application: ``namespace/ingress`` or a name; None: the only one.
        duration_s: How long, seconds.
        why: The operator's reason.
        by: The author; None: as the API server knows them.

    Raises:
        FailoverError: It cannot be written.
    """
    until = format_rfc3339(SystemClock().now() + duration_s)
    key, author, _ = _annotate(options, application, {PAUSED_UNTIL: until, PAUSE_REASON: why}, PAUSED_BY, by)
    click.echo(f"{key}: paused until {until}: {reason_text(why, author)}")


def pin(options: Options, mode: str, application: str | None, duration_s: float, why: str, by: str | None) -> None:
    """Writes a pin to a mode; the other arguments are those of `pause`.

    Raises:
        FailoverError: It cannot be written.
    """
    until = format_rfc3339(SystemClock().now() + duration_s)
    wanted = {PINNED_MODE: mode, PINNED_UNTIL: until, PIN_REASON: why}
    key, author, routed = _annotate(options, application, wanted, PINNED_BY, by)
    click.echo(f"{key}: pinned to mode {mode} until {until}: {reason_text(why, author)}")
    if not routed:
        click.echo(
            "The Ingress has no routing action, so every request gets a 503. If the controller remembers a mode, it writes the action of"
        )
        click.echo("the pinned one. Otherwise it writes nothing (`failoverctl status`: RoutingUnknown) until you write an action.")


def resume(options: Options, application: str | None) -> None:
    """Removes pause and pin.

    Raises:
        FailoverError: They cannot be removed.
    """
    chosen, session = _opened(options, application)
    path = INGRESSES.path(chosen.namespace, chosen.ingress)
    lifted = list(_present(mapping(session.request("GET", path), "metadata", "annotations")))
    if lifted:
        _patch(session, path, dict.fromkeys(OVERRIDES))
    for words in lifted or ["there is no pause and no pin"]:
        click.echo(f"{chosen.key}: {words}")


def _present(annotations: Mapping[str, Any]) -> Iterator[str]:
    """What there is to remove, in words; values as they are written, cut and on one line."""
    found = {key: shown(text(annotations, key)) for key in OVERRIDES}
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
    chosen, session = _opened(options, wanted)
    author = by.strip() if by and by.strip() else _author(session)
    after = _patch(session, INGRESSES.path(chosen.namespace, chosen.ingress), {**annotations, author_key: author})
    return chosen.key, author, action_key(chosen.action) in mapping(after, "metadata", "annotations")


def _opened(options: Options, wanted: str | None) -> tuple[Application, KubeSession]:
    selection = select(options, wanted)
    return only(selection.chosen), selection.session


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
