"""`failoverctl notify test`: sends a marked message through every sink, and says what each answered."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from controller.cli.common import Options, show
from controller.cli.selection import select
from controller.cli.words import ICONS, Line, terminal_width, wrapped
from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession
from controller.clock import Clock, SystemClock
from controller.errors import RemoteError
from controller.notifiers.events import EventNotifier, Involved
from controller.notifiers.redact import redact
from controller.notifiers.runbooks import Context
from controller.objects import text
from controller.policy.model import Application
from controller.ports import Message, MessageKind, Notifier, Severity
from controller.routing.kinds import routing_port
from controller.service.wiring import cloudwatch_sink, outer_sinks

_OPTIONAL: Final = ("slack", "webhook", "sns", "eventbridge", "cloudwatch")
"""The names of the sinks that settings turn on."""


def send_test(options: Options, application: str | None) -> int:
    """Sends the message through every sink, and prints what each answered; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: Nothing could be sent, because settings or application files are wrong.
    """
    selection, clock = select(options, application), SystemClock()
    settings, session, chosen = selection.settings, selection.session, selection.chosen[0]
    clients = AwsClients(settings.aws.region)
    sinks: list[Notifier] = [EventNotifier(session, clock, lambda _: _involved(session, chosen)), *outer_sinks(settings, clients)]
    cloudwatch = cloudwatch_sink(settings, clients, clock)
    if cloudwatch is not None:
        sinks.append(cloudwatch)
    message = Context(settings.notifications.cluster, settings.notifications.runbooks).complete(made(chosen, clock.now()))
    results = [(sink.name, _sent(sink, message, clock)) for sink in sinks]
    width = terminal_width()
    show(line for name, (problem, took_s) in results for line in _result_lines(name, problem, took_s, width))
    show(_unset_lines({sink.name for sink in sinks}))
    return 1 if any(problem for _, (problem, _) in results) else 0


def made(application: Application, now: float) -> Message:
    """The message, marked as a test in every field that people read.

    Args:
        application: What it is about.
        now: Seconds since the Unix epoch.
    """
    return Message(
        kind=MessageKind.TEST,
        severity=Severity.INFO,
        application=application.key,
        reason="Test",
        title=f"{application.name}: test message, nothing has happened",
        why="somebody ran `failoverctl notify test`",
        next="nothing: this message was sent once",
        at=now,
    )


def _involved(session: KubeSession, application: Application) -> Involved:
    """The routing object that the Event is attached to."""
    resource, name = routing_port(application).resource, application.route.name
    obj = session.request("GET", resource.path(application.routing_namespace, name))
    return Involved(resource, application.routing_namespace, name, text(obj, "metadata", "uid"), text(obj, "metadata", "resourceVersion"))


def _sent(sink: Notifier, message: Message, clock: Clock) -> tuple[str, float]:
    """Sends the message once; returns the problem, "" if there is none, and the seconds that it took."""
    begin = clock.monotonic()
    try:
        sink.send(message)
    except RemoteError as error:
        return redact(str(error)), clock.monotonic() - begin
    return "", clock.monotonic() - begin


def _result_lines(name: str, problem: str, took_s: float, width: int) -> Iterator[Line]:
    style = "bad" if problem else "good"
    yield from wrapped(style, f"{ICONS[style]} {name:<12} ", problem or f"accepted in {took_s:.1f} s", width)


def _unset_lines(sinks: Collection[str]) -> Iterator[Line]:
    """The sinks that are not configured."""
    yield from (("dim", f"· {name:<12} not configured") for name in _OPTIONAL if name not in sinks)
