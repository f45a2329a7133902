"""Which applications a command is about, and the connection to their cluster: what most commands begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.catalog.loader import load_directory
from controller.cli.common import Options
from controller.clients.kube import KubeSession, connect
from controller.errors import ConfigError
from controller.policy.model import Application
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
    """Reads the application files, chooses, and connects.

    Args:
        options: The common options.
        wanted: An application's key or name; None for all.

    Raises:
        ConfigError: A setting or a file is wrong, there is no such application, or no usable connection is configured.
    """
    settings = options.settings()
    applications = load_applications(settings)
    return Selection(settings, applications, choose(applications, wanted), open_session(settings))


def open_session(settings: Settings) -> KubeSession:
    """Connects to the API server that the settings name.

    Raises:
        ConfigError: There is no usable configuration.
    """
    kube = settings.kubernetes
    return connect(kubeconfig=kube.kubeconfig, context=kube.context)


def load_applications(settings: Settings) -> Mapping[str, Application]:
    """Reads the application files.

    Raises:
        ConfigError: They cannot be read, or there are none.
    """
    path = application_path(settings)
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


def choose(applications: Mapping[str, Application], wanted: str | None) -> list[Application]:
    """Selects the applications that a command is about.

    Args:
        applications: All applications by key.
        wanted: An application's key or name; None for all.

    Raises:
        ConfigError: There is no application of that name.
    """
    if wanted is None:
        return list(applications.values())
    found = [one for key, one in applications.items() if wanted in {key, one.name}]
    if not found:
        raise ConfigError(f"no application {wanted!r}; there are: {', '.join(sorted(applications)) or 'none'}")
    return found


def only(chosen: list[Application]) -> Application:
    """The one application that a command is about.

    Raises:
        ConfigError: More than one was chosen.
    """
    if len(chosen) != 1:
        raise ConfigError(f"name one application; there are: {', '.join(sorted(one.key for one in chosen))}")
    return chosen[0]
