"""Applies the actions of a plan to the Kubernetes API: one request each, byte for byte what the plan says."""

from __future__ import annotations

from collections.abc import Callable

from controller.clients.kube import RESOURCES, KubeSession, Object, Resource
from controller.errors import Rejected
from controller.policy.model import Action


class KubeApplier:
    """Sends actions.

    Args:
        session: Connection to the API server.
        written: Called with each answer, the object as it is now: whoever observes must not decide on what it was before our own write.
    """

    def __init__(self, session: KubeSession, written: Callable[[Resource, Object], None]) -> None:
        self._session = session
        self._written = written

    def apply(self, action: Action, *, deadline_s: float) -> None:
        """Sends one action.

        The Ingress patch carries the resourceVersion it was planned on, so it fails with `Conflict` when anybody wrote in between: what was
        decided upon is then no longer what is there.

        Raises:
            RemoteError: It was not applied, or (`Unavailable`) it is not known whether it was: observe again.
        """
        resource = RESOURCES.get(action.resource)
        if resource is None:
            raise Rejected(f"no such resource: {action.resource}")
        answer = self._session.request(
            "PATCH",
            resource.path(action.namespace, action.name),
            query=action.query,
            body=action.body,
            content_type=action.content_type,
            deadline_s=deadline_s,
        )
        self._written(resource, answer)
