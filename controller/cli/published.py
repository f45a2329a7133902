"""Reads what the controller has published of its process, and compares it with what is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller import objects
from controller.clients.kube import CONFIG_MAPS, KubeSession, Object
from controller.clock import parse_rfc3339
from controller.errors import NotFound, RemoteError
from controller.foreign import shown
from controller.policy import text
from controller.policy.model import Application
from controller.service.application_status import json_object
from controller.service.configured import KEY, fingerprint
from controller.service.status import HEARTBEAT_S, NAME

OVERDUE_S: Final = 3 * HEARTBEAT_S
"""A status that is older than this, in seconds, is of a controller that runs no more."""
_NAMED: Final = 3  # of the other applications, where one is missing


def overdue(published: Object, now: float) -> bool:
    """Whether a status is so old that its controller has ended.

    Args:
        published: The status of the process, see `Published.status`.
        now: Seconds since the Unix epoch.
    """
    at = parse_rfc3339(str(published.get("at", "")))
    return at is None or now - at > OVERDUE_S


@dataclass(frozen=True, slots=True)
class Published:
    """What the controller has published of its process.

    Attributes:
        status: See `controller.service.status.process`; None if there is none or it cannot be read.
        problem: Why it cannot be read; "" where it can, or where there is none.
    """

    status: Object | None = None
    problem: str = ""


def read_status(session: KubeSession, namespace: str) -> Published:
    """Reads the published status of the process."""
    try:
        found = session.get(CONFIG_MAPS, namespace, NAME)
    except NotFound:
        return Published()
    except RemoteError as error:
        return Published(problem=str(error))
    status = json_object(objects.text(found, "data", "status"))
    return Published(status, "" if status is not None else f"ConfigMap {namespace}/{NAME}: its key status is no JSON object")


def difference(published: Object, application: Application) -> str:
    """Why the controller that published a status does not run an application as it is read here; "" where it does, or may.

    Args:
        published: The status of the process.
        application: As it is read here.
    """
    configured = published.get(KEY)
    if isinstance(configured, Mapping) and configured.get(application.key, fingerprint(application)) != fingerprint(application):
        return f"the controller runs {application.key} with another content than is read here"
    return absence(published, application)


def absence(published: Object, application: Application) -> str:
    """Why the controller that published a status does not run an application at all; "" where it does, or may."""
    configured = published.get(KEY)
    if not isinstance(configured, Mapping) or application.key in configured:
        return ""  # a version that did not publish them may run it
    others = sorted(shown(str(key)) for key in configured)
    more = [f"{len(others) - _NAMED} more"] if len(others) > _NAMED else []
    runs = f"it runs {text.listing([*others[:_NAMED], *more])}" if others else "it runs none"
    return f"the controller does not run {application.key}: it has no such application ({runs})"


def remedy(published: Object) -> str:
    """What makes the controller run an application as it is read here.

    Args:
        published: The status of the process.
    """
    if objects.text(published, "configError"):
        return "it refuses a FailoverApplication, see configError in `failoverctl status --json`: correct it"
    return "apply it with kubectl"
