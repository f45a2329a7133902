"""One list-and-watch over HTTP against the emulated API server, and against a scripted one for what no server does on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.clients.kube import CONFIG_MAPS, PODS, KubeSession, Object, Resource, connect
from controller.clock import Clock, SystemClock
from controller.errors import Forbidden, Gone, NotFound, RemoteError, TooLarge, Unavailable
from controller.foreign import decode_page
from controller.signals import watch as watch_module
from controller.signals.list_turns import ListTurns
from controller.signals.watch import LISTS, Watch, list_objects
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from failover_testbed.kube_api.auth import Access

QUIET_S = 1000.0  # bookmarks this far apart never come


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lists: list[list[str]] = []
        self.changes: list[tuple[str, str]] = []
        self.rewinds = 0
        self.absent: list[tuple[str, str | None]] = []
        self.raises: Exception | None = None

    def listed(self, resource: Resource, namespace: str | None, objects: Sequence[Object], /) -> None:
        if self.raises is not None:
            raise self.raises
        self.lists.append([obj.get("metadata", {}).get("name", "") for obj in objects])

    def rewound(self, resource: Resource, namespace: str | None, /) -> None:
        self.rewinds += 1

    def changed(self, resource: Resource, _namespace: str | None, kind: str, obj: Object, /) -> None:
        if self.raises is not None:
            raise self.raises
        metadata = obj.get("metadata")
        self.changes.append((kind, metadata.get("name", "") if isinstance(metadata, dict) else ""))

    def gone(self, resource: Resource, namespace: str | None) -> None:
        self.absent.append((resource.name, namespace))


def config_map(name: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"metadata": {"name": name}}


Start = Callable[..., tuple[Watch, Recorder]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts watches and ends them."""
    started: list[tuple[Watch, KubeSession]] = []

    def begin(
        api: EmulatedKubeApi, *, token: str = "admin", clock: Clock | None = None, resource: Resource = CONFIG_MAPS, **options: Any
    ) -> tuple[Watch, Recorder]:
        session = connect(kubeconfig=str(api.kubeconfig(token, tmp_path / f"{len(started)}.kubeconfig")))
        sink = Recorder()
        watch = Watch(session, resource, "default", sink, clock or SystemClock(), absent=sink.gone, **options)
        watch.start()
        started.append((watch, session))
        return watch, sink

    yield begin
    for watch, session in started:
        watch.stop()
        session.close()


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    """A server whose bookmarks come often."""
    with EmulatedKubeApi(bookmark_interval_s=0.05) as running:
        yield running


@pytest.fixture
def quiet() -> Iterator[EmulatedKubeApi]:
    """A server that sends no bookmarks."""
    with EmulatedKubeApi(bookmark_interval_s=QUIET_S) as running:
        yield running


def watching(api: EmulatedKubeApi) -> None:
    """Waits until a watch is open."""
    wait_for("an open watch", lambda: api.open_watches > 0)


def interrupt(api: EmulatedKubeApi) -> None:
    """Cuts every watch, and waits for the next one to be opened."""
    opened = len(api.audit.records(verb="watch"))
    api.drop_watches()
    wait_for("another watch", lambda: len(api.audit.records(verb="watch")) > opened)


def delivered(sink: Recorder, name: str) -> None:
    """Waits until the creation of an object was delivered as a change."""
    wait_for(f"the change of {name}", lambda: ("ADDED", name) in sink.changes)


# --- over HTTP ---


def test_lists_and_then_watches(api: EmulatedKubeApi, start: Start) -> None:
    """What is there comes as a list, what happens after it as changes, in order."""
    api.store.create("ConfigMap", config_map("a"))
    watch, sink = start(api)
    watching(api)
    api.store.create("ConfigMap", config_map("b"))
    api.store.patch("ConfigMap", "a", {"data": {"x": "1"}})
    api.store.delete("ConfigMap", "b")
    wait_for("three changes", lambda: len(sink.changes) == 3)
    assert (sink.lists, sink.changes) == ([["a"]], [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")])
    health = watch.health()
    assert (health.resource, health.absent, health.problem, health.relists) == ("configmaps", False, "", 1)


def test_long_lists_come_in_pages(api: EmulatedKubeApi, start: Start) -> None:
    """Every page, each once."""
    for number in range(watch_module._PAGE + 3):
        api.store.create("ConfigMap", config_map(f"c{number:04d}"))
    _, sink = start(api)
    wait_for("the list", lambda: bool(sink.lists))
    assert sink.lists == [[f"c{number:04d}" for number in range(watch_module._PAGE + 3)]]
    assert len(api.audit.records(verb="list", resource="configmaps")) == 2


def test_a_dropped_connection_resumes_without_a_list(quiet: EmulatedKubeApi, start: Start) -> None:
    """What happened while it was away is delivered, nothing twice."""
    watch, sink = start(quiet, clock=AcceleratedClock(10))
    watching(quiet)
    for number in range(3):
        watching(quiet)
        quiet.drop_watches()
        quiet.store.create("ConfigMap", config_map(f"c{number}"))
        delivered(sink, f"c{number}")
    assert sink.changes == [("ADDED", f"c{number}") for number in range(3)]
    assert (watch.health().relists, watch.health().problem) == (1, "")


def test_a_compacted_version_is_listed_again(quiet: EmulatedKubeApi, start: Start) -> None:
    """410: what was missed is in the new list."""
    watch, sink = start(quiet, clock=AcceleratedClock(10))
    watching(quiet)
    quiet.freeze()
    quiet.store.create("ConfigMap", config_map("missed"))
    quiet.compact()
    quiet.drop_watches()
    quiet.unfreeze()
    wait_for("a second list", lambda: watch.health().relists == 2)
    assert sink.lists == [[], ["missed"]]
    watching(quiet)
    quiet.store.create("ConfigMap", config_map("next"))
    wait_for("the next change", lambda: sink.changes[-1:] == [("ADDED", "next")])


def test_bookmarks_move_the_version_on(api: EmulatedKubeApi, start: Start) -> None:
    """A quiet kind in a busy cluster would otherwise be compacted away at every interruption."""
    watch, _ = start(api, clock=AcceleratedClock(10))
    watching(api)
    for number in range(20):
        api.store.create("Pod", {"metadata": {"name": f"p{number}"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    newest = api.store.resource_version
    wait_for("a bookmark of the newest version", lambda: watch._version == newest)
    api.compact()
    interrupt(api)
    watching(api)
    assert watch.health().relists == 1


def test_a_bookmark_is_word_from_the_server(api: EmulatedKubeApi, start: Start) -> None:
    """And no change."""
    watch, sink = start(api)
    wait_for("the list", lambda: watch.health().last_ok is not None)
    first = watch.health().last_ok
    wait_for("later word", lambda: watch.health().last_ok != first)
    assert sink.changes == []


def test_a_silent_watch_is_noticed_and_listed_instead(api: EmulatedKubeApi, start: Start) -> None:
    """A stalled watch is dead after `idle_s`; until it speaks again, lists show what happens."""
    watch, sink = start(api, idle_s=0.3)
    watching(api)
    api.freeze()
    api.store.create("ConfigMap", config_map("unseen"))
    wait_for("a list that shows it", lambda: ["unseen"] in sink.lists)
    api.unfreeze()
    api.store.create("ConfigMap", config_map("after"))
    wait_for("the change after it", lambda: ("ADDED", "after") in sink.changes or any("after" in names for names in sink.lists))
    wait_for("no problem", lambda: watch.health().problem == "")


def test_a_watch_that_the_server_ends_in_time_need_not_have_said_anything(quiet: EmulatedKubeApi, start: Start) -> None:
    """Events have no bookmarks, and those that are selected may not happen for days: no trouble, no list, and no pause between two."""
    watch, sink = start(quiet, timeout_s=1)
    wait_for("three watches", lambda: len(quiet.audit.records(verb="watch")) >= 3)
    health = watch.health()
    assert (health.problem, health.relists, watch._failures) == ("", 1, 0)
    quiet.store.create("ConfigMap", config_map("late"))
    delivered(sink, "late")
    assert health.last_ok is not None


def test_no_answer_without_lists_is_staleness(api: EmulatedKubeApi, start: Start) -> None:
    """Connections that open and say nothing, and lists that fail: `last_ok` stands still, and moves once the server speaks."""
    watch, _ = start(api, idle_s=0.3, clock=AcceleratedClock(5))
    watching(api)
    api.freeze()
    api.fail_next(1000, status=503, matcher=lambda access: access.verb == "list", retry_after_s=0)
    wait_for("trouble", lambda: watch.health().problem != "")
    stopped = watch.health().last_ok
    before = len(api.audit.records(verb="list"))
    wait_for("three failed lists", lambda: len(api.audit.records(verb="list")) >= before + 3)
    assert watch.health().last_ok == stopped
    assert "503" in watch.health().problem
    api.clear_failures()
    api.unfreeze()
    wait_for("recovery", lambda: watch.health().last_ok != stopped and not watch.health().problem)


def test_a_kind_that_is_not_installed_is_absent(start: Start) -> None:
    """Named, not an error; nothing is delivered."""
    with EmulatedKubeApi(without_groups=["karpenter.sh"]) as api:
        resource = Resource("karpenter.sh", "v1", "nodepools", "NodePool", namespaced=False)
        watch, sink = start(api, resource=resource)
        wait_for("absence", lambda: watch.health().absent)
        assert watch.health().last_ok is None
        assert "404" in watch.health().problem
        assert (sink.lists, sink.absent) == ([], [])


def test_a_permission_that_is_granted_later_is_noticed(start: Start) -> None:
    """403 is absence; it is asked again, and then all is well."""
    allowed = threading.Event()
    tokens = {"me": Identity("me", deny=lambda access: not allowed.is_set())}
    with EmulatedKubeApi(tokens=tokens) as api:
        api.store.create("ConfigMap", config_map("a"))
        watch, sink = start(api, token="me", clock=AcceleratedClock(600))
        wait_for("absence", lambda: watch.health().absent)
        assert "cannot list resource" in watch.health().problem
        allowed.set()
        wait_for("the list", lambda: sink.lists == [["a"]])
        wait_for("its end", lambda: (watch.health().absent, watch.health().problem) == (False, ""))


def test_a_permission_that_is_taken_away_is_noticed(start: Start) -> None:
    """The receiver of the objects is notified, once, that they are no longer visible."""
    denied = threading.Event()
    tokens = {"me": Identity("me", deny=lambda access: denied.is_set())}
    with EmulatedKubeApi(tokens=tokens) as api:
        watch, sink = start(api, token="me", clock=AcceleratedClock(600))
        watching(api)
        denied.set()
        api.drop_watches()
        wait_for("absence", lambda: watch.health().absent)
        before = len(api.audit.records())
        wait_for("further tries", lambda: len(api.audit.records()) > before + 2)
        assert sink.absent == [("configmaps", "default")]


def test_credentials_that_are_refused_are_no_absence(api: EmulatedKubeApi, start: Start) -> None:
    """401 says nothing of the kind of object: it is trouble, and becomes staleness."""
    watch, _ = start(api, token="nobody")
    wait_for("trouble", lambda: watch.health().problem != "")
    assert (watch.health().absent, watch.health().last_ok) == (False, None)
    assert "nobody" not in watch.health().problem


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_passing_trouble_passes(status: int, api: EmulatedKubeApi, start: Start) -> None:
    """Of the list, then of the watch; each is tried again and nothing is lost."""
    api.fail_next(1, status=status, retry_after_s=0, matcher=lambda access: access.verb == "list")
    api.fail_next(1, status=status, retry_after_s=0, matcher=lambda access: access.verb == "watch")
    watch, sink = start(api, clock=AcceleratedClock(10))
    watching(api)
    api.store.create("ConfigMap", config_map("a"))
    wait_for("the change", lambda: sink.changes == [("ADDED", "a")])
    assert not watch.health().problem


def test_a_server_that_comes_back_with_another_past(start: Start) -> None:
    """Restored from a backup, it counts versions from an earlier one: after a time without lines the objects are listed again."""
    first = EmulatedKubeApi(bookmark_interval_s=0.05)
    first.start()
    port = int(first.url.rpartition(":")[2])
    for number in range(30):
        first.store.create("ConfigMap", config_map(f"c{number}"))
    watch, sink = start(first, idle_s=0.3)
    watching(first)
    first.stop()
    wait_for("trouble", lambda: watch.health().problem != "")
    with EmulatedKubeApi(bookmark_interval_s=0.05, port=port) as second:
        second.store.create("ConfigMap", config_map("restored"))
        wait_for("the new list", lambda: sink.lists[-1] == ["restored"])
        assert sink.rewinds == 1, "its versions are lower than those before"
        watching(second)
        second.store.create("ConfigMap", config_map("next"))
        wait_for("the next change", lambda: ("ADDED", "next") in sink.changes)
        watch.stop()


def test_a_field_selector_is_part_of_list_and_watch(api: EmulatedKubeApi, start: Start) -> None:
    """Only what is selected is delivered, by both."""
    for name in ("a", "b"):
        api.store.create("ConfigMap", config_map(name))
    _, sink = start(api, query=(("fieldSelector", "metadata.name=b"),))
    watching(api)
    api.store.patch("ConfigMap", "a", {"data": {"x": "1"}})
    api.store.patch("ConfigMap", "b", {"data": {"x": "1"}})
    wait_for("the change", lambda: bool(sink.changes))
    assert (sink.lists, sink.changes) == ([["b"]], [("MODIFIED", "b")])


def test_stopping_ends_the_thread(api: EmulatedKubeApi, start: Start) -> None:
    """With the next word, at the latest."""
    watch, _ = start(api)
    watching(api)
    watch.stop()
    wait_for("the end", lambda: not watch._thread.is_alive())


def test_a_watch_that_was_stopped_says_nothing_of_its_connection(quiet: EmulatedKubeApi, start: Start) -> None:
    """The end of the process closes it."""
    with capture_logs() as logs:
        watch, _ = start(quiet)
        watching(quiet)
        watch.stop()
        before = watch.health()
        quiet.drop_watches()
        wait_for("the end", lambda: not watch._thread.is_alive())
    assert [one["event"] for one in logs if one["event"].startswith("watch.")] == []
    assert watch.health() == before


# --- against a script ---

Answer = Object | RemoteError
Stream = Sequence[Any] | RemoteError


class Script:
    """A session whose lists and watches are written down; it stops the watch when the script ends."""

    def __init__(self, lists: Iterable[Answer], streams: Iterable[Stream]) -> None:
        self.lists, self.streams = iter(lists), iter(streams)
        self.opened: list[dict[str, str]] = []
        self.listed = 0
        self.stop: Callable[[], None] = lambda: None

    def request(self, method: str, path: str, *, query: Sequence[tuple[str, str]], each: Callable[[Any], None], most_bytes: int) -> Object:
        self.listed += 1
        answer = next(self.lists, None)
        if answer is None:
            self.stop()
            raise Unavailable("the script is at its end")
        if isinstance(answer, RemoteError):
            raise answer
        return cast("Object", decode_page(json.dumps(answer).encode(), each))

    @contextmanager
    def stream(self, path: str, query: Sequence[tuple[str, str]], *, idle_s: float, at_most_s: float) -> Iterator[Iterator[Any]]:
        self.opened.append(dict(query))
        lines = next(self.streams, None)
        if lines is None:
            self.stop()
            raise Unavailable("the script is at its end")
        if isinstance(lines, RemoteError):
            raise lines
        yield self._lines(lines)

    @staticmethod
    def _lines(lines: Sequence[Any]) -> Iterator[Any]:
        for line in lines:
            if isinstance(line, RemoteError):
                raise line
            yield line


def page(version: str = "10", *names: str, more: str = "") -> Object:
    """A list answer."""
    return {"items": [{"metadata": {"name": name}} for name in names], "metadata": {"resourceVersion": version, "continue": more}}


def change(kind: str, name: str, version: str) -> Object:
    """A watch line."""
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


BOOKMARK = change("BOOKMARK", "", "11")
EXPIRED = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}


def run(lists: Iterable[Answer], streams: Iterable[Stream], sink: Recorder | None = None) -> tuple[Watch, Recorder, Script, ManualClock]:
    """Runs a watch to the end of its script on a clock that waits for nothing."""
    script, sink, clock = Script(lists, streams), sink or Recorder(), ManualClock(1000.0)
    watch = Watch(cast("KubeSession", script), PODS, "shop", sink, clock, idle_s=90.0, absent=sink.gone)
    script.stop = watch.stop
    watch._run()
    return watch, sink, script, clock


class Counted(Script):
    """A session that counts the lists which are read at the same time, with all others of its kind."""

    active, most, lock = 0, 0, threading.Lock()

    def request(self, method: str, path: str, *, query: Sequence[tuple[str, str]], each: Callable[[Any], None], most_bytes: int) -> Object:
        with Counted.lock:
            Counted.active += 1
            Counted.most = max(Counted.most, Counted.active)
        time.sleep(0.005)  # others may come meanwhile
        with Counted.lock:
            Counted.active -= 1
        return super().request(method, path, query=query, each=each, most_bytes=most_bytes)


def test_few_lists_are_read_at_the_same_time() -> None:
    """The decoded answers of all kinds together were the highest memory of the process. A list that hangs holds nobody up for ever."""
    turns, sink = ListTurns(LISTS), Recorder()
    watches = []
    for _ in range(4 * LISTS):
        script = Counted([page("10", "a", more="2"), page("10", "b")], [])
        watches.append(Watch(cast("KubeSession", script), PODS, "shop", sink, ManualClock(1000.0), turns=turns))
        script.stop = watches[-1].stop
    threads = [threading.Thread(target=watch._run) for watch in watches]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert Counted.most <= LISTS
    assert [watch.health().relists for watch in watches] == [1] * len(watches)
    assert all(turns.take() for _ in range(LISTS)), "each gave its turn back"


def test_that_a_connection_opens_says_nothing() -> None:
    """A load balancer may take connections for a server that is long gone: only words count as freshness."""
    watch, _, _, clock = run([page()], [[], [], []])
    assert (watch.health().last_ok, clock.now() > 1000.0) == (1000.0, True)


def test_a_watch_that_ends_without_a_word_is_tried_ever_more_slowly() -> None:
    """Or a broken proxy would make it a busy loop; the trouble is named."""
    _, _, script, clock = run([page()], [[] for _ in range(5)])
    assert len(script.opened) == 6
    assert clock.monotonic() >= 0.5 * (1 + 2 + 4 + 8 + 10)  # at least half of each pause, of which none is longer than 10 s
    watch, *_ = run([page()], [[]])
    assert watch.health().problem


def test_a_watch_that_ends_as_it_should_is_opened_again_soon() -> None:
    """From where it was, without a list; the pause does not grow."""
    _, _, script, clock = run([page()], [[BOOKMARK]] * 20)
    assert (script.listed, {opened["resourceVersion"] for opened in script.opened[1:]}) == (1, {"11"})
    assert clock.monotonic() <= 20 * 0.5 + 1.0


def test_the_pause_starts_anew_after_word_from_the_server() -> None:
    """A connection that is cut every few minutes must not be waited for ever longer."""
    streams: list[Stream] = [[BOOKMARK, Unavailable("cut")] for _ in range(20)]
    _, _, _, clock = run([page()], streams)
    assert clock.monotonic() <= 20 * 1.0 + 2.0


def test_a_watch_that_is_always_too_old_is_not_listed_without_pause() -> None:
    """The first 410 is answered with a list at once; a server that says it every time is given time."""
    _, sink, _, clock = run([page()] * 2, [[EXPIRED], Unavailable("x")])
    assert (len(sink.lists), clock.monotonic() <= 2.0) == (2, True)
    _, sink, _, clock = run([page()] * 6, [[EXPIRED] for _ in range(6)])
    assert len(sink.lists) == 6
    assert clock.monotonic() >= 0.5 * (2 + 4 + 8 + 10)


def test_a_list_whose_continuation_expired_begins_again() -> None:
    """410 in the middle of a list."""
    _, sink, script, _ = run([page("10", "a", more="token"), Gone("expired"), page("12", "a", "b")], [[BOOKMARK]])
    assert (sink.lists, script.opened[0]["resourceVersion"]) == ([["a", "b"]], "12")


def test_a_page_that_is_turned_away_is_requested_again() -> None:
    """Begun anew for each 429, a list of fifty pages hardly ever came to its end while the API server was busy."""
    busy = Unavailable("busy", status=429, retry_after_s=7.0)
    pages: list[Answer] = [page("10", "a", more="2"), busy, busy, page("10", "b", more="3"), busy, page("10", "c")]
    _, sink, script, clock = run(pages, [[BOOKMARK]])
    assert (sink.lists, script.listed) == ([["a", "b", "c"]], len(pages))
    assert clock.monotonic() >= 3 * 7.0


def test_a_list_begins_again_where_a_page_stays_turned_away() -> None:
    """Within bounds, and its objects are none of the next list's."""
    busy = [Unavailable("busy", status=503)] * watch_module._PAGE_TRIES
    _, sink, _, _ = run([page("10", "a", more="2"), *busy, page("11", "b")], [[BOOKMARK]])
    assert sink.lists == [["b"]]


def test_a_page_that_broke_off_is_not_read_twice() -> None:
    """Some of its objects may have been taken."""
    for broken in (Unavailable("not JSON", status=200), Unavailable("the connection broke")):
        _, sink, _, _ = run([page("10", "a", more="2"), broken, page("11", "a", "b")], [[BOOKMARK]])
        assert sink.lists == [["a", "b"]]


class Stopping(ManualClock):
    """A clock in whose waits something is stopped."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        event.set()
        return super().wait(event, seconds)


def test_a_watch_that_is_stopped_waits_for_no_page() -> None:
    """The pause ends with it, and nothing is delivered."""
    script, sink = Script([page("10", "a", more="2"), Unavailable("busy", status=429), page("10", "b")], []), Recorder()
    Watch(cast("KubeSession", script), PODS, "shop", sink, Stopping(0.0))._run()
    assert (sink.lists, script.listed) == ([], 2)


@pytest.mark.parametrize(("asked", "at_least", "at_most"), [(7.0, 7.0, 8.0), (0.0, 0.5, 1.5), (99_999.0, 30.0, 31.0), (None, 0.5, 1.5)])
def test_retry_after_is_respected_within_reason(asked: float | None, at_least: float, at_most: float) -> None:
    """No sooner than asked, and no later than the longest pause of our own."""
    watch, _, _, clock = run([Unavailable("busy", status=429, retry_after_s=asked), page()], [[BOOKMARK]])
    assert at_least <= clock.monotonic() <= at_most + 0.5 + 1.0
    assert watch.health().last_ok is not None


def test_an_error_in_the_stream_resumes_from_the_last_change() -> None:
    """A server's 500 inside a watch is no reason to list."""
    error = {"type": "ERROR", "object": {"code": 500, "message": "etcd is having a bad day"}}
    _, sink, script, _ = run([page()], [[change("ADDED", "a", "12"), error], [change("ADDED", "b", "13")]])
    assert (sink.changes, script.listed) == ([("ADDED", "a"), ("ADDED", "b")], 1)
    assert [opened["resourceVersion"] for opened in script.opened] == ["10", "12", "13"]


def test_a_long_time_without_lines_is_followed_by_a_list() -> None:
    """Failures that together last longer than `idle_s` leave nothing to trust in the old version."""
    _, sink, script, _ = run([page("10"), page("20")], [Unavailable("down")] * 25)
    assert len(sink.lists) == 2
    assert "20" in {opened["resourceVersion"] for opened in script.opened}


def test_a_sink_that_fails_does_not_end_the_watch() -> None:
    """The change may be half taken: everything is listed again, and freshness stands still until that succeeds."""
    sink = Recorder()
    sink.raises = ValueError("a bug")
    watch, _, script, _ = run([page()] * 3, [[BOOKMARK]], sink)
    assert script.listed == 4
    assert watch.health().last_ok is None


def test_trouble_does_not_end_an_absence() -> None:
    """A kind that is not installed does not become a stale source, which would hold everything, by a server's bad moment."""
    gone = NotFound("404 page not found", status=404)
    watch, *_ = run([gone, Unavailable("busy", status=429)], [])
    assert watch.health().absent
    watch, *_ = run([gone, Unavailable("busy", status=429), page()], [[BOOKMARK]])
    assert not watch.health().absent


def test_absent_is_reported_once_and_only_after_something_was_seen() -> None:
    """The kind was never there; or it was, and was removed."""
    gone = NotFound("404 page not found", status=404)
    _, sink, _, _ = run([gone, gone, gone], [])
    assert sink.absent == []
    _, sink, _, _ = run([page(), *[gone] * 20], [gone])
    assert sink.absent == [("pods", "shop")]
    _, sink, _, _ = run([page(), *[gone] * 20, page(), *[gone] * 20], [[BOOKMARK], gone, [BOOKMARK], gone])
    assert sink.absent == [("pods", "shop")] * 2


def test_a_server_that_has_just_started_refuses_what_is_granted_and_is_asked_again() -> None:
    """For seconds it answers 403 to everybody and 404 to kinds that are installed: trouble, no absence, and nothing is forgotten."""
    refusals = [Forbidden("RBAC: not there yet", status=403), NotFound("404 page not found", status=404), Forbidden("x", status=403)]
    watch, sink, _, clock = run(
        [page("10", "a"), *refusals, page("12", "b")], [[BOOKMARK], Unavailable("killed"), *[refusals[0]], [BOOKMARK]]
    )
    assert (sink.absent, sink.lists, watch.health().absent) == ([], [["a"], ["b"]], False)
    assert clock.monotonic() < watch_module._REFUSED_FOR_S + 5.0


def test_what_was_never_seen_is_absent_at_once_and_asked_for_again_soon() -> None:
    """A controller that starts together with its API server is not blind for a minute."""
    refused = Forbidden("RBAC: not there yet", status=403)
    watch, _, _, clock = run([refused, refused, page()], [[BOOKMARK]])
    assert not watch.health().absent
    assert clock.monotonic() < watch_module._REFUSED_FOR_S


def test_who_may_list_and_not_watch_stays_absent() -> None:
    """What each new list shows is forgotten again: nobody hears what becomes of it."""
    refused = Forbidden("cannot watch", status=403)
    watch, sink, _, _ = run([page()] * 20, [refused] * 20)
    assert watch.health().absent
    assert len(sink.absent) >= 2
    watch, *_ = run([page()] * 21, [*[refused] * 20, [BOOKMARK]])
    assert not watch.health().absent


def test_more_objects_than_can_be_listed_are_not_taken_for_all() -> None:
    """A list cut in the middle would make everything behind it seem deleted; a server that never ends is not followed for ever."""
    script = Script([page("10", "a", more="again")] * (watch_module._MAX_PAGES + 5), [])
    with pytest.raises(Unavailable, match="more than"):
        list_objects(cast("KubeSession", script), PODS, None)
    assert script.listed == watch_module._MAX_PAGES


def test_pages_of_large_objects_get_shorter_and_none_is_lost() -> None:
    """A hundred Events as large as etcd takes them are 150 MB of text: more than the memory of the process."""
    asked: list[tuple[int, str]] = []

    class Large(Script):
        def request(
            self, method: str, path: str, *, query: Sequence[tuple[str, str]], each: Callable[[Any], None], most_bytes: int
        ) -> Object:
            parameters = dict(query)
            asked.append((int(parameters["limit"]), parameters.get("continue", "")))
            if asked[-1][0] > 20:
                raise TooLarge("the answer is longer")
            return super().request(method, path, query=query, each=each, most_bytes=most_bytes)

    listed, version = list_objects(cast("KubeSession", Large([page("10", "a", more="x"), page("10", "b")], [])), PODS, None)
    assert ([one["metadata"]["name"] for one in listed], version) == (["a", "b"], "10")
    assert asked == [(100, ""), (10, ""), (10, "x")]


def test_a_list_that_replaces_nothing_is_delivered_object_by_object() -> None:
    """4,500 Events of 32 kB are kept nowhere until the list is complete."""
    taken: list[str] = []
    kept, _ = list_objects(
        cast("KubeSession", Script([page("10", "a", "b")], [])),
        PODS,
        None,
        slimmed=True,
        each=lambda obj: taken.append(obj["metadata"]["name"]),
    )
    assert (len(kept), taken) == (0, ["a", "b"])


def test_a_list_that_does_not_fit_packed_is_not_taken_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, and its source is stale: what is unknown is no evidence."""
    monkeypatch.setattr(watch_module, "_MAX_PACKED", 10)
    script = Script([page("10", *(f"pod-{number}" for number in range(40)), more="again")] * 3, [])
    with pytest.raises(Unavailable, match="too large"):
        list_objects(cast("KubeSession", script), PODS, None, slimmed=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["items", "metadata", "continue", "resourceVersion", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.sampled_from(["type", "object", "metadata"]), JSON), max_size=4), JSON)
def test_lines_and_lists_of_any_shape(lines: list[Object], answer: Any) -> None:
    """Whatever they are, the watch goes on to the end of the script, and the last good version is kept."""
    answer = {"items": answer, "metadata": answer}
    _, _, script, _ = run([answer, page("10", "a"), page("10", "a")], [lines, [change("ADDED", "z", "12")], [BOOKMARK]])
    assert script.opened


def test_watch_lines_without_an_object_are_skipped() -> None:
    """They change neither the version nor anything else."""
    lines: list[Any] = [{"type": "MODIFIED"}, {"type": "MODIFIED", "object": []}, {"object": {"metadata": "x"}}, change("ADDED", "a", "")]
    _, sink, script, _ = run([page()], [lines])
    assert script.opened[1]["resourceVersion"] == "10"
    assert ("ADDED", "a") in sink.changes


def test_access_of_lists_and_watches_is_what_the_role_grants(api: EmulatedKubeApi, start: Start) -> None:
    """It requests nothing but list and watch."""
    start(api)
    watching(api)
    verbs: set[str] = {record.access.verb for record in api.audit.records()}
    assert verbs == {"list", "watch"}
    assert {type(record.access) for record in api.audit.records()} == {Access}
