"""Which applications a command is about, and the connection to their cluster: what most commands begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from controller.catalog.loader import load_directory
from controller.cli.application_objects import Found, read_objects
from controller.cli.common import Options
from controller.clients.kube import KubeSession, connect, context_namespace
from controller.documents import ErrorText
from controller.errors import ConfigError
from controller.policy.model import Application
from controller.policy.text import listing
from controller.settings import Settings


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command works on.

    Attributes:
        settings: The settings.
        applications: All applications by key.
        chosen: Those that the command is about.
        session: Connection to the API server.
    """

    settings: Settings
    applications: Mapping[str, Application]
    chosen: list[Application]
    session: KubeSession


def select(options: Options, wanted: str | None) -> Selection:
    """Connects, reads the application files, or without any the objects of the cluster, and chooses.

    Args:
        options: The common options.
        wanted: An application's key or name; None for all.

    Raises:
        ConfigError: A setting or an application is wrong, there is no such application, or no usable connection is configured.
        RemoteError: The objects cannot be read.
    """
    settings = options.settings()
    if settings.applications is not None:
        applications = load_files(settings.applications)
        return Selection(settings, applications, choose(applications, wanted, options.namespace), open_session(settings))
    session = open_session(settings)
    found = _found(settings, session, options.namespace)
    return Selection(settings, found.applications, _chosen(found, wanted, options.namespace), session)


def open_session(settings: Settings) -> KubeSession:
    """Connects to the API server that the settings name.

    Raises:
        ConfigError: There is no usable configuration.
    """
    kube = settings.kubernetes
    return connect(kubeconfig=kube.kubeconfig, context=kube.context)


def load_applications(
    options: Options, settings: Settings, wanted: Sequence[str] = ()
) -> tuple[Mapping[str, Application], list[Application]]:
    """Reads the application files, or without any the objects of the cluster.

    Args:
        options: The common options.
        settings: The settings.
        wanted: Keys or names of applications; empty for all.

    Returns:
        All applications by key, and those that are wanted.

    Raises:
        ConfigError: They cannot be read, there are none, or there is none of a name.
        RemoteError: The objects cannot be read.
    """
    names: Sequence[str | None] = wanted or (None,)
    if settings.applications is not None:
        known = load_files(settings.applications)
        return known, list({one.key: one for name in names for one in choose(known, name, options.namespace)}.values())
    found = _found(settings, open_session(settings), options.namespace)
    return found.applications, list({one.key: one for name in names for one in _chosen(found, name, options.namespace)}.values())


def load_files(path: Path) -> Mapping[str, Application]:
    """Reads the application files of a path.

    Raises:
        ConfigError: They cannot be read, or there are none.
    """
    applications = load_directory(path)
    if not applications:
        raise ConfigError(f"{path}: no application file found; write one, see docs/configuration.md")
    return applications


def application_path(settings: Settings) -> Path:
    """Where the application files are.

    Raises:
        ConfigError: The settings name no path.
    """
    if settings.applications is None:
        raise ConfigError("applications: found nothing; name the application files with --applications FILE or FAILOVERCTL_APPLICATIONS")
    return settings.applications


def _found(settings: Settings, session: KubeSession, namespace: str | None) -> Found:
    kube = settings.kubernetes
    return read_objects(session, lambda: namespace or context_namespace(kubeconfig=kube.kubeconfig, context=kube.context))


def _chosen(found: Found, wanted: str | None, namespace: str | None) -> list[Application]:
    """Those of the objects that a command is about. The faults of others are said beside the output, and end no list.

    Raises:
        ConfigError: The wanted application is faulty, or does not exist.
    """
    faulty = {key: why for key, why in found.faulty.items() if namespace in {None, key.partition("/")[0]}}
    asked = [why for key, why in faulty.items() if wanted in {key, key.partition("/")[2]}]
    if asked:
        raise ConfigError("\n".join(asked))
    if wanted is None:
        faults = ErrorText()
        faults.add(faulty.values())
        if faulty and len(faulty) == len(found.faulty) and not found.applications:
            raise ConfigError(str(faults))
        if faults:
            click.echo(f"left out: {faults}", err=True)
    return choose(found.applications, wanted, namespace)


def choose(applications: Mapping[str, Application], wanted: str | None, namespace: str | None = None) -> list[Application]:
    """Selects the applications that a command is about.

    Args:
        applications: All applications by key.
        wanted: An application's key or name; None for all.
        namespace: Their namespace; None for any.

    Raises:
        ConfigError: There is no application of that name, or none in the namespace.
    """
    inside = {key: one for key, one in applications.items() if namespace in {None, one.namespace}}
    found = [one for key, one in inside.items() if wanted in {None, key, one.name}]
    if not found:
        missing = "no application" if wanted is None else f"no application {wanted!r}"
        where = f" in namespace {namespace}" if namespace else ""
        raise ConfigError(f"{missing}{where}; there are: {listing(sorted(inside or applications))}")
    return found


def only(chosen: list[Application]) -> Application:
    """The one application that a command is about.

    Raises:
        ConfigError: More than one was chosen.
    """
    if len(chosen) != 1:
        raise ConfigError(f"name one application by its namespace/name; there are: {listing(sorted(one.key for one in chosen))}")
    return chosen[0]
