"""Applies the actions of a plan to the Kubernetes API: one request for each object, with the plan's bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from controller.clients.kube import RESOURCES, KubeSession, Object, Resource
from controller.errors import Rejected
from controller.policy.model import Action
from controller.policy.plan import body


class KubeApplier:
    """Sends actions.

    Args:
        session: Connection to the API server.
        written: Called with each answer, the object as it is now, so that no decision uses its state before our own write.
    """

    def __init__(self, session: KubeSession, written: Callable[[Resource, Object], None]) -> None:
        self._session = session
        self._written = written

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        """Sends the actions on one object.

        The routing patch carries the resourceVersion of the plan. It fails with `Conflict` if anybody wrote in between: the decision was
        made about another state.

        Raises:
            RemoteError: They were not applied, or (`Unavailable`) that is unknown: observe again.
        """
        action = actions[0]
        resource = RESOURCES.get(action.resource)
        if resource is None:
            raise Rejected(f"no such resource: {action.resource}")
        answer = self._session.request(
            "PATCH",
            resource.path(action.namespace, action.name),
            query=action.query,
            body=body(actions),
            content_type=action.content_type,
            deadline_s=deadline_s,
        )
        self._written(resource, answer)
