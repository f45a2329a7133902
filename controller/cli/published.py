"""Reads what the controller has published of its process, and compares it with what is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller import objects
from controller.clients.kube import CONFIG_MAPS, FAILOVER_APPLICATIONS, KubeSession, Object
from controller.clock import parse_rfc3339
from controller.errors import NotFound, RemoteError
from controller.foreign import shown
from controller.policy.model import Application
from controller.service.application_objects import application_of
from controller.service.application_status import json_object
from controller.service.status import HEARTBEAT_S, NAME

OVERDUE_S: Final = 3 * HEARTBEAT_S
"""A status that is older than this, in seconds, is of a controller that runs no more."""


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


def read_object(session: KubeSession, application: Application) -> Object | None:
    """The FailoverApplication of an application; None where there is none.

    Raises:
        RemoteError: It cannot be read.
    """
    try:
        return session.get(FAILOVER_APPLICATIONS, application.namespace, application.name)
    except NotFound:
        return None


def absence(session: KubeSession, application: Application) -> str:
    """That the cluster has no object of an application, in words; "" where it has one, or where these credentials may not ask."""
    try:
        return difference(None, application) if read_object(session, application) is None else ""
    except RemoteError:
        return ""


def difference(found: Object | None, application: Application) -> str:
    """Why a controller in the cluster does not run an application as it is read here; "" where it does, or will.

    Args:
        found: See `read_object`.
        application: As it is read here.
    """
    if found is None:
        return f"the cluster has no FailoverApplication {application.key}; apply it with kubectl"
    accepted = objects.condition(found, "Accepted")
    if objects.text(accepted, "status") == "False":
        return f"the controller refuses the FailoverApplication {application.key}: {shown(objects.text(accepted, 'message'))}"
    if application_of(found) != application:
        return f"the FailoverApplication {application.key} has another content than is read here; apply this with kubectl"
    return ""
