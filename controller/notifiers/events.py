"""Kubernetes Events on the routing object and on waiting pods: the end of what ``kubectl describe`` shows of them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from controller.clients.calls import on_behalf_of
from controller.clients.kube import EVENTS, MERGE_PATCH, PODS, KubeSession, Resource
from controller.clock import Clock, format_rfc3339
from controller.errors import Conflict, Forbidden, NotFound
from controller.notifiers.render import cut_bytes, sentence, view
from controller.ports import Message, Severity

COMPONENT: Final = "failoverctl"
MAX_MESSAGE: Final = 1024  # bytes
MAX_REASON: Final = 128
REPEAT_S: Final = 600.0

_MAX_INSTANCE: Final = 128
_MAX_NAME: Final = 253
_DIGEST: Final = 16
_CACHE: Final = 512
_TERMINATING: Final = "NamespaceTerminating"  # the API server's cause of a refusal in a namespace that is being deleted


class Involved(NamedTuple):
    """The object that an event is about. Its uid is "" where it does not exist."""

    resource: Resource
    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""


@dataclass(slots=True)
class _Posted:
    """A posted event: its name, how often it happened, and when it last did (monotonic seconds)."""

    name: str
    count: int
    at: float


class EventNotifier:
    """Posts an Event for each message about an application; an Event that recurs within 10 minutes is counted up instead.

    Args:
        session: The API server; needs ``create`` and ``patch`` on ``events`` in its namespace.
        clock: For the 10 minutes.
        lookup: Finds the routing object by the application's key.
        component: Field manager, ``source.component`` and ``reportingComponent``.
        instance: Which replica, e.g. the pod's name; "" stands for the component.
    """

    def __init__(
        self, session: KubeSession, clock: Clock, lookup: Callable[[str], Involved], *, component: str = COMPONENT, instance: str = ""
    ) -> None:
        self._session = session
        self._clock = clock
        self._lookup = lookup
        self._component = component
        self._instance = (instance or component)[:_MAX_INSTANCE]
        self._lock = threading.Lock()
        self._posted: OrderedDict[str, _Posted] = OrderedDict()  # by a digest of what equal events have in common

    name = "events"
    takes_digests = False
    """Each routing object shows what happened to it."""

    def send(self, message: Message) -> None:
        """Posts one event, and one on each waiting pod that the message concerns.

        Skips a message about the controller itself, which has no object to attach an event to.
        Where the namespace is gone or is being deleted, nobody can post an event: that is no failure.

        Raises:
            RemoteError: See `controller.errors`.
        """
        if not message.application:
            return
        routing = self._lookup(message.application)
        pods = (Involved(PODS, *pod) for pod in message.pods)
        reason = _camel_case(message.reason) or _camel_case(message.kind.value.title())
        text = cut_bytes(sentence(view(message)), MAX_MESSAGE)
        with on_behalf_of(message.application):
            for involved in (routing, *pods):
                self._post(involved, reason, text, message)

    def _post(self, involved: Involved, reason: str, text: str, message: Message) -> None:
        same = hashlib.sha256("\0".join((involved.namespace, involved.name, involved.uid, reason, text)).encode()).hexdigest()
        if not self._counted_up(same, involved.namespace, message.at):
            self._create(same, involved, reason, text, message)

    def _counted_up(self, same: str, namespace: str, at: float) -> bool:
        with self._lock:
            posted = self._posted.get(same)
        if posted is None or self._clock.monotonic() - posted.at > REPEAT_S:
            return False
        body = json.dumps({"count": posted.count + 1, "lastTimestamp": format_rfc3339(at)})
        path = EVENTS.path(namespace, posted.name)
        try:
            self._session.request("PATCH", path, query=(("fieldManager", self._component),), body=body, content_type=MERGE_PATCH)
        except NotFound:  # the API server deletes events after an hour; a person may also have deleted it
            return False
        # Only after the request: a retry after a lost answer then sends the same count again.
        self._remember(same, _Posted(posted.name, posted.count + 1, self._clock.monotonic()))
        return True

    def _create(self, same: str, involved: Involved, reason: str, text: str, message: Message) -> None:
        body = self._body(same, involved, reason, text, message)
        try:
            self._session.create(EVENTS, involved.namespace, body, field_manager=self._component)
        except Conflict:
            pass  # the name is made from the content: an earlier attempt succeeded, and its answer was lost
        except NotFound:
            return  # the namespace is gone, and whatever was in it
        except Forbidden as error:
            if _TERMINATING in error.causes:
                return  # the namespace is being deleted, so that it takes nothing new
            raise
        self._remember(same, _Posted(body["metadata"]["name"], 1, self._clock.monotonic()))

    def _body(self, same: str, involved: Involved, reason: str, text: str, message: Message) -> dict[str, Any]:
        digest = hashlib.sha256("\0".join((same, repr(message.at), self._instance)).encode()).hexdigest()[:_DIGEST]
        at = format_rfc3339(message.at)
        regarding = {
            "apiVersion": involved.resource.api_version,
            "kind": involved.resource.kind,
            "namespace": involved.namespace,
            "name": involved.name,
            "uid": involved.uid,
            "resourceVersion": involved.resource_version,
        }
        # No eventTime: with it the API server applies the rules of events.k8s.io, which have no such count.
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{involved.name[: _MAX_NAME - _DIGEST - 1].rstrip('.-')}.{digest}",
                "namespace": involved.namespace,
            },
            "involvedObject": {name: value for name, value in regarding.items() if value},
            "type": "Normal" if message.severity is Severity.INFO else "Warning",
            "reason": reason,
            "message": text,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }

    def _remember(self, same: str, posted: _Posted) -> None:
        with self._lock:
            self._posted[same] = posted
            self._posted.move_to_end(same)
            if len(self._posted) > _CACHE:
                self._posted.popitem(last=False)


def _camel_case(text: str) -> str:
    words = re.split(r"[^A-Za-z0-9]+", text)
    return "".join(word[:1].upper() + word[1:] for word in words)[:MAX_REASON]
