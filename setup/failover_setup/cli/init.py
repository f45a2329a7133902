"""`failoverctl init`: the application file of an existing stack. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from controller.catalog.loader import Source, read_source
from controller.cli.common import CHANGES, Options
from controller.cli.selection import open_session
from controller.clients.aws import AwsClients
from controller.clients.kube import KubeSession
from controller.clock import SystemClock
from controller.errors import ConfigError, Forbidden, NotFound, RemoteError
from controller.objects import Object, name_of, namespace_of
from controller.routing.kinds import DEFAULT, KINDS
from controller.routing.port import ALONE, RoutingPort
from controller.settings import AwsApi, Settings
from controller.signals.watch import list_objects
from failover_setup.adoption.facts import Stack
from failover_setup.adoption.infer import infer
from failover_setup.adoption.measured import Busiest, busiest
from failover_setup.adoption.moved import ingress_of, moved
from failover_setup.adoption.observe import Observation, observe
from failover_setup.adoption.routed import forwards, option_of, read_routed, service_namespaces
from failover_setup.adoption.routing import read_routing
from failover_setup.adoption.write import application_text, unsure_counts
from failover_setup.application import parse_sources

_SHOWN: Final = "the new file"
_CANDIDATES: Final = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line names; None for an option that is absent."""

    ingress: str | None = None
    action: str | None = None
    route: str | None = None
    rule: str | None = None
    source: Path | None = None


def init(options: Options, asked: Asked, out: Path | None) -> int:
    """Prints or writes the application file of a stack; the arguments are those of the command line.

    Returns:
        The exit code.

    Raises:
        FailoverError: The stack cannot be read, or the file cannot be written.
    """
    wanted = _wanted(asked)
    if out is not None and out.exists():
        raise ConfigError(f"{out}: exists already; name another file")
    settings, clock = options.settings(), SystemClock()
    session = open_session(settings)
    if wanted is None:
        raise ConfigError(_candidates(session))
    observed = observe(session, *wanted, clock.now(), asked.rule)
    if asked.source is not None:
        return _move(session, observed, asked.source, asked.rule, out)
    stack = infer(observed, asked.rule if asked.ingress is None else asked.action, partial(_measure, settings, clock))
    text = application_text(stack, observed.now)
    if out is not None:
        _write(out, text)
    else:
        click.echo(text, nl=False)
    refusal = _refusal(text, str(out) if out else _SHOWN)
    _say(stack, out, refusal)
    return CHANGES if refusal else 0


def _wanted(asked: Asked) -> tuple[Sequence[RoutingPort], str, str] | None:
    """The kinds, namespace and name that the command line asks for; None for no object."""
    if asked.ingress is not None and asked.route is not None:
        raise ConfigError("--ingress and --route: name one of them; an application has one routing object")
    for option, value, owner in (("--action", asked.action, asked.ingress), ("--rule", asked.rule, asked.route)):
        if value is not None and owner is None:
            raise ConfigError(f"{option}: only with {'--ingress' if option == '--action' else '--route'}")
    if asked.source is not None and asked.route is None:
        raise ConfigError("--from: only with --route, which names the route in the place of the file's Ingress")
    if asked.ingress is not None:
        return [DEFAULT], *_split("--ingress", asked.ingress)
    if asked.route is not None:
        return [port for port in KINDS.values() if port is not DEFAULT], *_split("--route", asked.route)
    return None


def _move(session: KubeSession, observed: Observation, path: Path, rule: str | None, out: Path | None) -> int:
    """Turns the application file of an Ingress into that of the observed route."""
    source, routing = read_source(path), read_routing(observed, rule)
    if source.problem:
        raise ConfigError(f"{path}: {source.problem}")
    namespace = routing.routed.services_in
    name = ingress_of(source, namespace, routing.routed.name)
    try:
        ingress = next((one for one in list_objects(session, DEFAULT.resource, namespace)[0] if name_of(one) == name), None)
    except RemoteError:
        ingress = None
    made = moved(source, observed, routing, ingress)
    if out is not None:
        _write(out, made.text)
    else:
        click.echo(made.text, nl=False)
    for note in made.notes:
        click.echo(f"{note}.", err=True)
    refusal = _refusal(made.text, str(out) if out else _SHOWN)
    if refusal:
        click.echo(f"The file is refused until you fix these:\n{refusal}", err=True)
    return CHANGES if refusal else 0


def _candidates(session: KubeSession) -> str:
    """That --ingress or --route is missing, and which objects each can name."""
    asked = "--ingress or --route: name the Ingress or the route in front of the units"
    keys: list[str] = []
    refused = 0
    for kind, port in KINDS.items():
        try:
            listed = list_objects(session, port.resource, None)[0]
            keys += sorted(f"{option_of(kind)} {namespace_of(one)}/{name_of(one)}" for one in listed if _may_be_meant(kind, one))
        except NotFound:
            continue
        except Forbidden:
            refused += 1
    if not keys:
        none = "no Ingress of this cluster has a rule with a forward action, and no route has several Services: docs/routing.md shows one"
        return f"{asked}; {'you may not list those of all namespaces' if refused else none}"
    shown = "".join(f"\n  failoverctl init {key}" for key in keys[:_CANDIDATES])
    more = len(keys) - _CANDIDATES
    return f"{asked}. These forward to Services:{shown}" + (f"\n  and {more} more" if more > 0 else "")


def _may_be_meant(kind: str, obj: Object) -> bool:
    """Whether an object can be that of an application with its Services in one of the namespaces that it names."""
    spaces = service_namespaces(obj) or ("",)
    return any(forwards(read_routed(kind, obj, {}, ALONE, space)) for space in spaces)


def _split(option: str, value: str) -> tuple[str, str]:
    namespace, slash, name = value.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise ConfigError(f"{option}: found {value!r}; allowed: NAMESPACE/NAME")
    return namespace, name


def _measure(
    settings: Settings, clock: SystemClock, namespace: str, period_s: int, metrics: Iterable[tuple[str, str]]
) -> tuple[Mapping[str, Busiest], str]:
    if AwsApi.CLOUDWATCH not in settings.aws.apis:
        return {}, "CloudWatch was not queried: the settings disable it"
    return busiest(AwsClients(settings.aws.region), clock, namespace, period_s, metrics)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _refusal(text: str, name: str) -> str:
    """Why the file is not valid yet, "" if it is."""
    try:
        parse_sources([Source(name, text.encode())])
    except ConfigError as error:
        return str(error)
    return ""


def _say(stack: Stack, out: Path | None, refusal: str) -> None:
    """What to do next, on standard error: standard output may be the file."""
    absent, guessed = unsure_counts(stack)
    where = str(out) if out else "FILE"
    written = f"wrote {out}: " if out else ""
    for note in stack.notes:
        click.echo(note, err=True)
    click.echo(f"{written}{len(stack.units)} unit(s), {absent} value(s) not found, {guessed} assumed", err=True)
    if refusal:
        click.echo(f"The file is refused until you fix these:\n{refusal}", err=True)
    else:
        click.echo(
            f"Read it. Then check what safe mode changes still need, and what the controller would do:\n"
            f"  failoverctl doctor --applications {where}\n  failoverctl plan --applications {where}",
            err=True,
        )
