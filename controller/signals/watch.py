"""Lists and watches one kind of object: it resumes, survives 410, dead connections and missing kinds, and reports its freshness."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import structlog

from controller.clients.kube import LARGEST, KubeSession, Object, Resource
from controller.clock import Clock
from controller.errors import Forbidden, Gone, NotFound, RemoteError, TooLarge, Unavailable
from controller.objects import behind, text, version
from controller.signals.discovery import Discovery
from controller.signals.list_turns import ListTurns
from controller.signals.slim import PackedList, slim

_PAGE: Final = 100  # the text of a page is held twice while its objects are decoded, one after the other
_PAGE_BYTES: Final = 4 * 1024 * 1024  # of one with several objects
_MAX_OBJECTS: Final = 100_000
_MAX_PAGES: Final = 4_000  # pages of large objects are shorter
_MAX_PACKED: Final = 24 * 1024 * 1024  # bytes of a list that is kept until it is complete, packed: that of 100,000 pods has 10 MB
LISTS: Final = 2
"""Lists that are read at the same time. What all of them hold was the highest memory of the whole process."""
_SHORTER: Final = 10  # how many times shorter the pages get
_PAGE_TRIES: Final = 5
"""How often a page but the first is requested while the server has no time for it. Begun anew each time, a list of 5,000 pods, which has 50
pages, took nine minutes where 8 % of the requests were turned away."""
_BACKOFF_BASE_S: Final = 0.5
_BACKOFF_MAX_S: Final = 10.0  # bounds how long after an outage the watch stays down
_RETRY_AFTER_MAX_S: Final = 30.0
_ABSENT_RETRY_S: Final = 60.0  # a missing kind or permission may be added while we run
_WHOLE: Final = 0.9  # share of its time after which the end of a watch counts as regular
_REFUSED_FOR_S: Final = 15.0
"""How long something visible may be refused before it counts as absent, seconds.

For some seconds after its start, while its caches fill, an API server answers 403 to permitted requests and 404 to installed kinds.
"""

log = structlog.get_logger(__name__)


Query = tuple[tuple[str, str], ...]


class Sink(Protocol):
    """Receives what a watch delivers, in the watch's thread."""

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object], /) -> None:
        """A complete list, replacing everything delivered before."""

    def rewound(self, resource: Resource, namespace: str | None, /) -> None:
        """The versions of the next list are of another past: the server was restored from a backup."""

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object, /) -> None:
        """One change; `kind` is ADDED, MODIFIED or DELETED."""


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """The health of a watch.

    Attributes:
        resource: Name of the kind.
        namespace: The namespace; None for all.
        last_ok: When the server last reported on the objects; None before the first list. An accepted connection does not count.
        absent: The kind is not installed or not readable, and not just for a moment.
        problem: The last error; "" if there is none.
        served: The API server serves the kind, as far as is known. Whether one may read it is another matter.
        relists: Number of complete lists so far.
    """

    resource: str
    namespace: str | None
    last_ok: float | None = None
    absent: bool = False
    problem: str = ""
    served: bool = True
    relists: int = 0


def list_objects(
    session: KubeSession,
    resource: Resource,
    namespace: str | None,
    query: Query = (),
    *,
    slimmed: bool = False,
    pause: Callable[[float], bool] | None = None,
    each: Callable[[Object], None] | None = None,
) -> tuple[Sequence[Object], str]:
    """Lists all objects of one kind, page by page. Where a page is too large to be read, the next ones are shorter.

    Args:
        session: Connection to the API server.
        resource: What to list.
        namespace: The namespace; None for all.
        query: Further query parameters, such as a field selector.
        slimmed: Whether to keep only what the views read of each object; see `controller.signals.slim`.
        pause: Waits that many seconds before a page that was turned away is requested again, and returns whether to give up instead; None:
            the list fails with it.
        each: Takes each object at once. None: all are returned when the list is complete.

    Returns:
        The objects that `each` did not take, and the resourceVersion from which to watch.

    Raises:
        RemoteError: The list failed, or was incomplete.
    """
    objects: PackedList | list[Object] = PackedList() if slimmed else []
    token, version, page_size, count = "", "", _PAGE, 0

    def keep(obj: object) -> None:
        nonlocal count
        count += 1
        if isinstance(obj, dict):
            (each or objects.append)(slim(resource.plural, obj) if slimmed else obj)

    for _ in range(_MAX_PAGES):
        parameters = [*query, ("limit", str(page_size))] + ([("continue", token)] if token else [])
        most = LARGEST if page_size == 1 else _PAGE_BYTES
        read = partial(session.request, "GET", resource.path(namespace), query=parameters, each=keep, most_bytes=most)
        try:
            page = read() if pause is None or not token else _persistent(read, pause)
        except TooLarge:
            if page_size == 1:
                raise
            page_size = max(1, page_size // _SHORTER)
            continue
        version, token = text(page, "metadata", "resourceVersion"), text(page, "metadata", "continue")
        if not token:
            return objects, version
        if count >= _MAX_OBJECTS or (isinstance(objects, PackedList) and objects.size > _MAX_PACKED):
            break
    raise Unavailable(f"list {resource.name}: more than {_MAX_OBJECTS} objects, or too large ones; the rest is unknown")


def _persistent(read: Callable[[], Object], pause: Callable[[float], bool]) -> Object:
    """Reads a page, a few times while the server answers that it has no time for it: what was read of the list so far stays valid."""
    failures = 0
    while True:
        try:
            return read()
        except Unavailable as error:
            failures += 1
            if failures >= _PAGE_TRIES or not _turned_away(error) or pause(_wait_s(error, failures)):
                raise


def _turned_away(error: Unavailable) -> bool:
    """Whether the server answered, and without the page: of an answer that broke off, some objects may have been taken."""
    return error.status == 429 or error.status >= 500  # noqa: PLR2004


def _wait_s(error: RemoteError, failures: int) -> float:
    """Seconds until the next request after that many failures in a row: as long as the server asked for, within bounds."""
    return max(min(error.retry_after_s or 0.0, _RETRY_AFTER_MAX_S), _backoff(failures))


class Watch:
    """A thread that keeps one kind of object in view.

    Args:
        session: Connection to the API server.
        resource: What to watch.
        namespace: The namespace; None for all.
        sink: Receives the changes.
        clock: The clock, for freshness.
        query: Further query parameters, such as a field selector.
        timeout_s: How long the server keeps one watch open, seconds.
        idle_s: Longest time without a line before the connection counts as dead, seconds; the server sends a bookmark about once a minute.
            Then the objects are listed again: that shows the present state at once, even if a server that was restored from a backup has
            gone back in its versions.
        absent: Called when objects that were visible no longer are: the kind or the permission was removed.
        slimmed: See `list_objects`.
        replaces: Whether a list replaces what was delivered before. Else each of its objects is delivered at once, and none is kept.
        recovered: Called after the first list, and after one that ends a time in which nothing was received or the kind was absent.
        discovery: Asked whether the kind is served, before the first list of a kind that many clusters lack; None: it is listed at once.
        turns: Bound the lists that are read at the same time; None: nothing does.
    """

    def __init__(
        self,
        session: KubeSession,
        resource: Resource,
        namespace: str | None,
        sink: Sink,
        clock: Clock,
        *,
        query: Query = (),
        timeout_s: int = 300,
        idle_s: float = 90.0,
        absent: Callable[[Resource, str | None], None] | None = None,
        slimmed: bool = False,
        replaces: bool = True,
        discovery: Discovery | None = None,
        recovered: Callable[[], None] | None = None,
        turns: ListTurns | None = None,
    ) -> None:
        self._session, self._kind, self._resource, self._namespace = session, resource, resource, namespace
        self._sink, self._clock, self._query = sink, clock, query
        self._timeout_s, self._idle_s, self._absent, self._slimmed, self._replaces = timeout_s, idle_s, absent, slimmed, replaces
        self._discovery, self._recovered, self._turns = discovery, recovered, turns
        self._stop = threading.Event()
        self._lock, self._delivering = threading.Lock(), threading.Lock()
        self._health = WatchHealth(resource.name, namespace)
        self._version = ""  # resourceVersion to continue from; "" = list first
        self._reached: int | None = None  # the highest resourceVersion delivered, also after an error; None: nothing was
        self._heard = 0.0  # when the server last sent anything, monotonic
        self._failures = 0  # since a watch last delivered something
        self._refusals = 0  # since a watch was last opened
        self._refused_since: float | None = None
        self._delivered = False  # whether the sink holds objects of this watch
        self._thread = threading.Thread(target=self._run, name=f"watch-{resource.plural}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; a blocked read ends with the process, at the latest after `idle_s`.

        Once this returns nothing is delivered any more: a list that took long would overwrite what a later watch delivered.
        """
        with self._delivering:
            self._stop.set()

    def health(self) -> WatchHealth:
        """The health of the watch."""
        with self._lock:
            return self._health

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._version:
                    if self._discovery is not None and not self._delivered:
                        self._resource = self._discovery.served(self._kind)
                    self._version = self._list()
                if not self._follow():
                    self._clock.wait(self._stop, _backoff(0))
            except Gone:
                self._version = ""
                self._failures += 1
                if self._failures > 1:  # if every watch is expired at once, do not list without a pause
                    self._clock.wait(self._stop, _backoff(self._failures))
            except RemoteError as error:
                if not self._stop.is_set():  # else its connection was closed because it is to end
                    self._refused(error)
            except Exception as error:  # a bug in a sink must not end the watch; it shows as staleness
                self._version = ""
                self._failures += 1
                self._note(problem=f"{type(error).__name__}: {error}")
                log.exception("watch.failed", resource=self._resource.name)
                self._clock.wait(self._stop, _backoff(self._failures))

    def _refused(self, error: RemoteError) -> None:
        # HTTP Unauthorized is about the credentials and says nothing of this kind of object.
        if isinstance(error, NotFound | Forbidden) and error.status != 401:  # noqa: PLR2004
            self._missing(error)
        else:
            self._interrupted(error)

    def _interrupted(self, error: RemoteError) -> None:
        self._failures += 1
        self._note(absent=self._health.absent, problem=str(error))  # an absent kind stays absent
        log.info("watch.interrupted", resource=self._resource.name, namespace=self._namespace, error=str(error))
        self._clock.wait(self._stop, _wait_s(error, self._failures))
        if self._clock.monotonic() - self._heard > self._idle_s:
            self._version = ""

    def _missing(self, error: RemoteError) -> None:
        """The kind or the permission is missing. Objects that were visible count as absent only after that has lasted."""
        now = self._clock.monotonic()
        self._refused_since = now if self._refused_since is None else self._refused_since
        self._refusals += 1
        self._version = ""
        lasting = now - self._refused_since >= _REFUSED_FOR_S
        known = self._health.last_ok is not None and not self._health.absent
        absent = lasting or not known
        unserved = isinstance(error, NotFound)
        self._note(
            absent=absent, problem=f"{self._resource.name} is not installed: {error}" if unserved else str(error), served=not unserved
        )
        if not (unserved and self._discovery is not None):  # a kind that many clusters lack is no news
            log.info("watch.refused", resource=self._resource.name, namespace=self._namespace, absent=absent, error=str(error))
        if absent and self._delivered and self._absent is not None:
            self._absent(self._resource, self._namespace)
            self._delivered = False
        self._clock.wait(self._stop, _ABSENT_RETRY_S if lasting else _backoff(self._refusals))

    def _opened(self) -> None:
        """The server accepted the watch: kind and permission exist."""
        self._refusals, self._refused_since = 0, None
        with self._lock:
            self._health = replace(self._health, absent=False)

    def _list(self) -> str:
        turn = self._turns is not None and self._turns.take()
        try:
            objects, reached = list_objects(
                self._session,
                self._resource,
                self._namespace,
                self._query,
                slimmed=self._slimmed,
                pause=partial(self._clock.wait, self._stop),
                each=None if self._replaces else self._deliver,
            )
            self._deliver_list(objects, version(reached))
            del objects
        finally:
            if turn and self._turns is not None:
                self._turns.give_back()
        health, silent_s = self._health, self._clock.monotonic() - self._heard
        with self._lock:
            self._health = replace(self._health, relists=self._health.relists + 1)
        self._delivered = True
        self._note(absent=self._health.absent)  # permission to list does not imply permission to watch
        if self._recovered is not None and (health.last_ok is None or health.absent or silent_s > self._idle_s):
            self._recovered()
        return reached

    def _deliver(self, obj: Object) -> None:
        """Delivers an object of a list that replaces nothing."""
        with self._delivering:
            if not self._stop.is_set():
                self._sink.listed(self._resource, self._namespace, [obj])

    def _deliver_list(self, objects: Sequence[Object], reached: int | None) -> None:
        with self._delivering:
            if self._stop.is_set():
                return
            before, self._reached = self._reached, reached
            if behind(reached, before):  # a list is never behind a watch of the same past
                self._sink.rewound(self._resource, self._namespace)
            self._sink.listed(self._resource, self._namespace, objects)

    def _follow(self) -> bool:
        """Watches until the server ends the watch.

        Returns:
            Whether it ended regularly. Then no pause is needed, in which changes would have to wait. Receiving nothing is no problem: the
            server sends no bookmarks for events, and selected events may not happen for days.
        """
        query = [
            *self._query,
            ("watch", "true"),
            ("resourceVersion", self._version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(self._timeout_s)),
        ]
        heard, start = False, self._clock.monotonic()
        with self._session.stream(
            self._resource.path(self._namespace), query, idle_s=self._idle_s, at_most_s=self._timeout_s + self._idle_s
        ) as changes:
            self._opened()
            for change in changes:
                if self._stop.is_set():
                    return True
                kind, obj = text(change, "type"), change.get("object")
                if not isinstance(obj, dict):
                    continue
                if kind == "ERROR":
                    raise _watch_error(self._resource, obj)
                self._version = text(obj, "metadata", "resourceVersion") or self._version
                self._reached = version(self._version) or self._reached
                if kind != "BOOKMARK":
                    with self._delivering:
                        if self._stop.is_set():
                            return True
                        self._sink.changed(self._resource, self._namespace, kind, obj)
                heard, self._failures = True, 0
                self._note()
        whole = self._clock.monotonic() - start >= _WHOLE * self._timeout_s
        if not heard and not whole:
            raise Unavailable(f"watch {self._resource.name}: ended without an event")
        if whole:
            self._failures = 0
            self._note()
        return whole

    def _note(self, *, absent: bool = False, problem: str = "", served: bool = True) -> None:
        """Records an answer from the server, or an error."""
        with self._lock:
            last_ok = self._health.last_ok
            if not problem:
                last_ok, self._heard = self._clock.now(), self._clock.monotonic()
            self._health = replace(self._health, last_ok=last_ok, absent=absent, problem=problem, served=served)


def _watch_error(resource: Resource, status: Object) -> RemoteError:
    code, message = status.get("code"), f"watch {resource.name}: {status.get('message', '')}"
    if code == 410:  # noqa: PLR2004 - HTTP Gone
        return Gone(message, status=410)
    return RemoteError(message, status=code if isinstance(code, int) else 0)


def _backoff(failures: int) -> float:
    """Seconds to wait after that many failures in a row, with full jitter so that many replicas do not reconnect together."""
    return random.uniform(0.5, 1.0) * min(_BACKOFF_MAX_S, _BACKOFF_BASE_S * 2.0 ** min(failures, 10))  # noqa: S311
