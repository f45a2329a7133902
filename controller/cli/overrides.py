"""`failoverctl pause | resume | pin`: set annotations on the routing object that the controller reads and never writes."""

from __future__ import annotations

import getpass
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from controller.cli.common import Options
from controller.cli.consequence import agreed, say
from controller.cli.published import absence, overdue, read_status
from controller.cli.replicas import read_replicas, unled
from controller.cli.selection import Selection, only, select
from controller.clients.kube import MERGE_PATCH, KubeSession, Object
from controller.clock import SystemClock, format_rfc3339
from controller.errors import Conflict, RemoteError
from controller.foreign import shown
from controller.notifiers.redact import redact
from controller.objects import mapping, text
from controller.policy.model import Application, Mode, Override
from controller.policy.modes import reason_text
from controller.routing.annotations import (
    OVERRIDES,
    PAUSE_REASON,
    PAUSED_BY,
    PAUSED_UNTIL,
    PIN_REASON,
    PINNED_BY,
    PINNED_MODE,
    PINNED_UNTIL,
)
from controller.routing.kinds import routing_port
from controller.service.override_words import pause_words

PAUSE: Final = frozenset({PAUSED_UNTIL, PAUSE_REASON, PAUSED_BY})
"""The annotations of a pause."""
PIN: Final = frozenset({PINNED_MODE, PINNED_UNTIL, PIN_REASON, PINNED_BY})
"""The annotations of a pin."""
_NOTHING: Final[Mapping[Collection[str], str]] = {PAUSE: "no pause", PIN: "no pin", PAUSE | PIN: "no pause and no pin"}
_MANAGER: Final = "failoverctl-cli"
_TRIES: Final = 5
"""How often `resume` reads and writes a routing object to which others write meanwhile."""
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@dataclass(frozen=True, slots=True)
class Asked:
    """How a command treats the question whether to write: `yes` answers it, `dry_run` shows what would come and writes nothing."""

    yes: bool
    dry_run: bool


def pause(options: Options, application: str | None, duration_s: float, why: str, by: str, asked: Asked) -> None:
    """Writes a pause.

    Args:
        options: The common options.
        application: ``namespace/name`` or a name; None: the only one.
        duration_s: How long, seconds.
        why: The operator's reason.
        by: The author; "": as the API server knows them.
        asked: Whether to ask.

    Raises:
        FailoverError: It cannot be written.
        UsageError: There is no terminal to ask on.
    """
    selection, end = select(options, application), SystemClock().now() + duration_s
    if not agreed(selection, lambda before: replace(before, paused_until=end), yes=asked.yes, dry_run=asked.dry_run):
        return
    until = format_rfc3339(end)
    written = _annotate(selection, {PAUSED_UNTIL: until, PAUSE_REASON: why}, PAUSED_BY, by)
    click.echo(f"{written.application.key}: paused until {until}: {reason_text(why, written.author)}")
    if before := written.before.get(PAUSED_UNTIL):
        click.echo(f"It replaces the pause until {before}: {_reason(written.before, PAUSE_REASON, PAUSED_BY)}")


def pin(options: Options, mode: str, application: str | None, duration_s: float, why: str, by: str, asked: Asked) -> None:
    """Writes a pin to a mode; the other arguments are those of `pause`.

    Raises:
        FailoverError: It cannot be written.
        UsageError: There is no terminal to ask on.
    """
    now, selection = SystemClock().now(), select(options, application)
    if not agreed(
        selection, lambda before: replace(before, pinned_mode=Mode(mode), pinned_until=None), yes=asked.yes, dry_run=asked.dry_run
    ):
        return
    until = format_rfc3339(now + duration_s)
    wanted = {PINNED_MODE: mode, PINNED_UNTIL: until, PIN_REASON: why}
    written = _annotate(selection, wanted, PINNED_BY, by)
    click.echo(f"{written.application.key}: pinned to mode {mode} until {until}: {reason_text(why, written.author)}")
    if before := written.before.get(PINNED_MODE):
        click.echo(f"It replaces the pin to mode {before}{_until(written.before)}: {_reason(written.before, PIN_REASON, PINNED_BY)}")
    for line in _what_a_pin_waits_for(written, now):
        click.echo(line)


def _what_a_pin_waits_for(written: _Written, now: float) -> Iterator[str]:
    """Why nothing comes of the pin as things are: who pins a mode counts on the mode change."""
    routing = routing_port(written.application).observe(written.application, written.obj)
    if routing.unused:
        yield f"The pin does nothing yet: {routing.unused}."
    elif not routing.action:
        yield "There is no routing action, so every request gets an error. If the controller remembers a mode, it writes the action of"
        yield "the pinned one. Otherwise it writes nothing (`failoverctl status`: RoutingUnknown) until you write an action."
    if routing.override.problem:
        yield f"The pin does nothing yet: an override cannot be read, which counts as a pause: {routing.override.problem}"
    elif routing.override.pauses(now):
        yield f"The pin does nothing yet: paused {pause_words(routing.override)}. `failoverctl resume` removes both; pin again after it."
    published = read_status(written.session, written.state_namespace)
    status, nobody = published.status, unled(read_replicas(written.session, written.state_namespace, SystemClock()))
    if nobody:
        yield f"The pin does nothing yet: {nobody}."
    elif published.problem:
        yield f"Whether a controller carries it out is not known: {redact(published.problem)}"
    elif status is not None and overdue(status, now):
        yield f"The pin does nothing yet: the controller has published no status since {shown(str(status.get('at')))}. Is it running?"
    elif status is not None and (missing := absence(written.session, written.application)):
        yield f"The pin does nothing yet: {missing}."


def resume(options: Options, application: str | None, which: Collection[str], asked: Asked) -> None:
    """Removes pause and pin.

    Args:
        options: The common options.
        application: ``namespace/name`` or a name; None: the only one.
        which: The annotations to remove, of `OVERRIDES`.
        asked: Whether to ask.

    Raises:
        FailoverError: They cannot be removed.
        UsageError: There is no terminal to ask on.
    """
    selection = select(options, application)
    chosen, session = only(selection.chosen), selection.session
    path = routing_port(chosen).resource.path(chosen.routing_namespace, chosen.route.name)
    there = list(_present(mapping(session.request("GET", path), "metadata", "annotations"), which))
    if not there:
        click.echo(f"{chosen.key}: there is {_NOTHING[which]}")
        return
    say(f"{chosen.key}: {words}" for words in there)
    if agreed(selection, lambda before: _left(before, which), yes=asked.yes, dry_run=asked.dry_run):
        say(f"{chosen.key}: removed {words}" for words in _remove(session, path, which, _TRIES))


def _left(override: Override, which: Collection[str]) -> Override:
    """What stays of an override where some of its annotations are removed."""
    if set(which) >= PAUSE and set(which) >= PIN:
        return Override()
    if set(which) >= PAUSE:
        return replace(override, paused_until=None, paused_why="", paused_by="")
    return replace(override, pinned_mode=None, pinned_until=None, pinned_why="", pinned_by="")


def _remove(session: KubeSession, path: str, which: Collection[str], tries: int) -> list[str]:
    """Removes what it has read and nothing newer: a pause that somebody has just written is named, or stays.

    Returns:
        What was removed, in words.

    Raises:
        Conflict: Others wrote to it after each of the tries had read it.
    """
    found = session.request("GET", path)
    removed = list(_present(mapping(found, "metadata", "annotations"), which))
    if removed:
        try:
            _patch(session, path, dict.fromkeys(which), text(found, "metadata", "resourceVersion"))
        except Conflict:
            if tries == 1:
                raise
            return _remove(session, path, which, tries - 1)
    return removed


def _present(annotations: Mapping[str, Any], which: Collection[str]) -> Iterator[str]:
    """What there is to remove, in words; values as they are written, cut and on one line."""
    found = {key: value if key in which else "" for key, value in _read(annotations).items()}
    if found[PAUSED_UNTIL]:
        yield f"the pause until {found[PAUSED_UNTIL]}: {_reason(found, PAUSE_REASON, PAUSED_BY)}"
    if found[PINNED_MODE]:
        yield f"the pin to mode {found[PINNED_MODE]}{_until(found)}: {_reason(found, PIN_REASON, PINNED_BY)}"
    if any(found.values()) and not found[PAUSED_UNTIL] and not found[PINNED_MODE]:
        yield "what was left of an override"


def _read(annotations: Mapping[str, Any]) -> dict[str, str]:
    """Every annotation of an override, "" where it is not there."""
    return {key: shown(text(annotations, key)) for key in OVERRIDES}


def _reason(found: Mapping[str, str], why: str, by: str) -> str:
    return reason_text(found[why], found[by])


def _until(found: Mapping[str, str]) -> str:
    """Until when a pin holds; "" for one without an end."""
    return f" until {found[PINNED_UNTIL]}" if found[PINNED_UNTIL] else ""


@dataclass(frozen=True, slots=True)
class _Written:
    """An override that was written.

    Attributes:
        application: Of which application.
        obj: Its routing object after it.
        before: The annotations of overrides before it; none where they could not be read.
        author: Who set it.
        session: Connection to the API server.
        state_namespace: Where the controller keeps its state.
    """

    application: Application
    obj: Object
    before: Mapping[str, str]
    author: str
    session: KubeSession
    state_namespace: str


def _annotate(selection: Selection, annotations: Mapping[str, str], author_key: str, by: str) -> _Written:
    """Writes an override with its author."""
    chosen, session = only(selection.chosen), selection.session
    author = by or _author(session)
    path = routing_port(chosen).resource.path(chosen.routing_namespace, chosen.route.name)
    before = _before(session, path)
    after = _patch(session, path, {**annotations, author_key: author})
    return _Written(chosen, after, before, author, session, selection.settings.kubernetes.state_namespace)


def _before(session: KubeSession, path: str) -> Mapping[str, str]:
    """The annotations of overrides that a write replaces: somebody else may have set one a moment ago."""
    try:
        return _read(mapping(session.request("GET", path), "metadata", "annotations"))
    except RemoteError:
        return {}  # the permission to write it may come without the one to read it


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


def _patch(session: KubeSession, path: str, annotations: Mapping[str, str | None], version: str = "") -> Object:
    """Sets annotations; None removes one, no matter who wrote it. Returns the object after it.

    Raises:
        Conflict: It is no longer of that version.
    """
    metadata = {"annotations": dict(annotations), **({"resourceVersion": version} if version else {})}
    body = json.dumps({"metadata": metadata})
    return session.request("PATCH", path, query=(("fieldManager", _MANAGER),), body=body, content_type=MERGE_PATCH)
