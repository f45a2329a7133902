"""Asks the API server which kinds it serves: once for all watches, and again at a slow rate."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from controller.clients.kube import KubeSession, Resource
from controller.clock import Clock
from controller.errors import Forbidden, NotFound
from controller.objects import entries, text

_KEPT_S: Final = 60.0  # a kind may be installed while we run


class Discovery:
    """Knows which kinds of an API group are served. Safe to share between threads.

    Args:
        session: Connection to the API server. Every authenticated client may read discovery documents, unless an administrator forbids it.
        clock: The clock.
    """

    def __init__(self, session: KubeSession, clock: Clock) -> None:
        self._session, self._clock = session, clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[str] | None, str]] = {}  # by group and version: until when, plurals, why not

    def served(self, resource: Resource) -> Resource:
        """A kind in the newest version that is served; as it is where nobody may know.

        Raises:
            NotFound: The kind is not served.
            RemoteError: The API server gave no usable answer.
        """
        missing: NotFound | None = None
        for version in (resource.version, *resource.earlier):
            try:
                self._require(one := replace(resource, version=version))
            except NotFound as error:
                missing = missing or error
            else:
                return one
        raise missing or NotFound(f"{resource.name} has no version", status=404)

    def _require(self, resource: Resource) -> None:
        with self._lock:  # held during the request: the watches of all namespaces start together and want one answer
            until, plurals, why = self._known.get(resource.api_version, (0.0, None, ""))
            if self._clock.monotonic() >= until:
                plurals, why = self._asked(resource)
                self._known[resource.api_version] = (self._clock.monotonic() + _KEPT_S, plurals, why)
        if plurals is not None and resource.plural not in plurals:
            raise NotFound(why or f"{resource.name} is not among the kinds of {resource.api_version}: 404", status=404)

    def _asked(self, resource: Resource) -> tuple[frozenset[str] | None, str]:
        """The kinds of a group and version, None where they may not be read; and why there are none."""
        try:
            document = self._session.request("GET", f"/apis/{resource.api_version}")
        except NotFound as error:
            return frozenset(), str(error)
        except Forbidden as error:
            if error.status == 401:  # noqa: PLR2004 - HTTP Unauthorized: the credentials, which says nothing of the kinds
                raise
            return None, ""
        return frozenset(text(one, "name") for one in entries(document, "resources")), ""
