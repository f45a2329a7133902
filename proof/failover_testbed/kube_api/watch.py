"""Watch streams: each reads the history of one resource through a filter."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from failover_testbed.kube_api import statuses
from failover_testbed.kube_api.field_sets import dump
from failover_testbed.kube_api.records import Change, Stored
from failover_testbed.kube_api.registry import Resource
from failover_testbed.kube_api.selectors import Selector
from failover_testbed.kube_api.store import Store

_BATCH = 500


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The parameters of a watch.

    Attributes:
        resource: The kind of the objects.
        namespace: The namespace, "" for all.
        selector: Selects objects.
        start: resourceVersion after which the watch begins; None or 0 sends the present objects first.
        initial: Whether a bookmark marks the end of the present objects.
        bookmarks: Whether the client wants BOOKMARK events.
        timeout_s: Real seconds after which the stream ends.
    """

    resource: Resource
    namespace: str
    selector: Selector
    start: int | None
    initial: bool
    bookmarks: bool
    timeout_s: float


class WatchHub:
    """Wakes the streams of one event loop after writes, and can disturb them.

    Args:
        store: The watched objects.
        bookmark_interval_s: Real seconds between bookmarks on a quiet stream.
        event_bookmarks: Whether watches of Events get bookmarks too.
    """

    def __init__(self, store: Store, bookmark_interval_s: float, *, event_bookmarks: bool) -> None:
        self._store = store
        self._event_bookmarks = event_bookmarks
        self._bookmark_interval_s = bookmark_interval_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakers: set[asyncio.Event] = set()
        self._wake_pending = False
        self._lock = threading.Lock()
        self._frozen = False
        self._closing = False
        self._generation = 0
        store.listen(self.notify)

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._wakers)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Binds the hub to the server's event loop."""
        self._loop = loop

    def notify(self) -> None:
        """Wakes every stream soon. Any thread may call it."""
        with self._lock:
            if self._wake_pending or self._loop is None or self._loop.is_closed():
                return
            self._wake_pending = True
            self.call(self._wake)

    def call(self, function: Callable[[], None]) -> None:
        """Runs `function` on the event loop, if there is one. Any thread may call it."""
        with contextlib.suppress(RuntimeError):  # the loop may close at any time
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)

    def _wake(self) -> None:
        with self._lock:
            self._wake_pending = False
        for waker in self._wakers:
            waker.set()

    def freeze(self) -> None:
        """Stalls every stream, including bookmarks, and leaves its connection open."""
        self._frozen = True

    def unfreeze(self) -> None:
        """Lets stalled streams continue where they stopped."""
        self._frozen = False
        self.notify()

    def drop(self) -> None:
        """Ends every open stream at once; pending events are not sent."""
        self._generation += 1
        self.notify()

    def close(self) -> None:
        """Ends every stream, present and future."""
        self._closing = True
        self.notify()

    def stream(self, request: WatchRequest) -> AsyncGenerator[str]:
        """The lines of a watch response: one JSON event a line, and "" once when the connection is to be cut.

        The start is fixed now, not when the first line is requested: by then the client has already received the headers.
        """
        generation = self._generation
        if not request.start or request.initial:
            page = self._store.select(request.resource, request.namespace, request.selector)
            first = [_event("ADDED", item) for item in page.items]
            if request.initial and request.bookmarks:
                first.append(_bookmark(request.resource, page.rv, {"k8s.io/initial-events-end": "true"}))
            return self._lines_from(request, page.rv, first, generation)
        oldest = self._store.oldest(request.resource)
        if request.start < oldest:
            return _only(_expired(request.start, oldest))
        return self._lines_from(request, request.start, [], generation)

    async def _lines_from(self, request: WatchRequest, start: int, first: list[str], generation: int) -> AsyncGenerator[str]:
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            for line in first:
                yield line
            async for line in self._follow(request, start, waker, generation):
                yield line
        finally:
            self._wakers.discard(waker)

    async def _follow(self, request: WatchRequest, cursor: int, waker: asyncio.Event, generation: int) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        deadline, said = loop.time() + request.timeout_s, loop.time()
        while not self._closing:
            waker.clear()
            if generation != self._generation:
                yield ""
                return
            if self._frozen:
                await _woken(waker, self._bookmark_interval_s)
                continue
            batch = self._store.changes(request.resource, cursor, _BATCH)
            if batch is None:
                return  # slower than the history allows; the real server also ends such a watch
            changes, cursor = batch
            if lines := "".join(line for change in changes for line in _lines(change, request)):
                yield lines
                said = loop.time()
            left = deadline - loop.time()
            quiet = self._bookmark_interval_s - (loop.time() - said)  # of this stream: changes of other kinds wake it too
            if len(changes) == _BATCH or (left > 0 and quiet > 0 and await _woken(waker, min(quiet, left))):
                continue
            if request.bookmarks and self._may_bookmark(request.resource) and not self._held_back(generation):
                yield _bookmark(request.resource, cursor)
            said = loop.time()
            if left <= 0:
                return

    def _may_bookmark(self, resource: Resource) -> bool:
        """Whether streams of a resource get bookmarks. The real server sends them from its cache, which has no Events."""
        return self._event_bookmarks or resource.kind != "Event"

    def _held_back(self, generation: int) -> bool:
        """Whether streams of this generation are stalled; checked after every wait."""
        return self._frozen or generation != self._generation


async def _only(line: str) -> AsyncGenerator[str]:
    yield line


async def _woken(waker: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waker.wait(), max(seconds, 0.01))
    except TimeoutError:
        return False
    return True


def _lines(change: Change, request: WatchRequest) -> list[str]:
    """The events of a change for one watcher: DELETED if the object leaves the selection, ADDED if it enters."""
    sample = change.new or change.old
    if sample is None or (request.namespace and sample.obj["metadata"].get("namespace") != request.namespace):
        return []
    before = change.old is not None and request.selector.matches(change.old.obj)
    after = change.new is not None and request.selector.matches(change.new.obj)
    if after and change.new is not None:
        return [_event("MODIFIED" if before else "ADDED", change.new)]
    if before and change.old is not None:
        return [_event("DELETED", change.old.at(change.rv))]
    return []


def _event(kind: str, stored: Stored) -> str:
    return f'{{"type":"{kind}","object":{stored.full}}}\n'


def _bookmark(resource: Resource, rv: int, annotations: Mapping[str, str] | None = None) -> str:
    metadata = {"resourceVersion": str(rv)} | ({"annotations": dict(annotations)} if annotations else {})
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return dump({"type": "BOOKMARK", "object": obj}) + "\n"


def _expired(rv: int, oldest: int) -> str:
    status = statuses.expired(f"too old resource version: {rv} ({oldest})").status
    return dump({"type": "ERROR", "object": status}) + "\n"
