"""The rounds of the loop, without workers: which passes run, when, and what they may still do."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from controller.clock import Clock
from controller.errors import Unavailable
from controller.policy.model import Action, Application, Memory, Route
from controller.ports import EMPTY, StoredMemory
from controller.service import controller as module
from controller.service.application_pass import Acted, Decided
from controller.service.controller import PASSES_PER_S, ROUND_S, STUCK_PASS_S, Controller
from controller.service.executor import Executor
from controller.service.leadership import SingleReplica
from controller.service.page import Process, page
from controller.service.retries import STATE_RETRY_MAX_S
from controller.service.telemetry import Telemetry
from controller.service.wiring import Service
from controller.signals.cluster import ClusterView
from controller.signals.external import ExternalSources
from controller.signals.observer import ClusterObserver
from failover_analysis.simulation.api import Store
from failover_analysis.simulation.fault_state import FaultState
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application

INTERVAL_S = 15.0
FLEET: Final = 300
CYCLE: Final = math.ceil(FLEET / PASSES_PER_S / ROUND_S)
PROCESS = Process(NOW, "pod-a", True, 3, 1.0, False, "", (), {})


class Applier:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Action] = []

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        self.sent.extend(actions)


class Stores:
    """A store for each application."""

    def __init__(self) -> None:
        self._stores: defaultdict[str, Store] = defaultdict(lambda: Store(FaultState()))

    def load(self, application: str) -> StoredMemory:
        """See `Store.load`."""
        return self._stores[application].load(application)

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        """See `Store.save`."""
        return self._stores[application].save(application, memory, over=over, epoch=epoch, beside=beside)


class Refusing(Store):
    """A store that cannot be written, and says when to come again."""

    def __init__(self, retry_after_s: float | None) -> None:
        super().__init__(FaultState())
        self.retry_after_s, self.tries = retry_after_s, 0

    def save(self, application: str, memory: Memory, *, over: StoredMemory, epoch: int, beside: Mapping[str, str] = EMPTY) -> StoredMemory:
        self.tries += 1
        raise Unavailable("429 Too Many Requests", status=429, retry_after_s=self.retry_after_s)


class Rounds:
    """A controller whose clock is moved by hand."""

    def __init__(self, *applications: Application, store: Store | None = None) -> None:
        self.clock, self.applier, self.passes = ManualClock(NOW), Applier(), Counter[str]()
        self.view = ClusterView(self.clock, lambda: None)
        external = ExternalSources(self.view, verifier=None)
        self.observer = ClusterObserver(self.view, external, lambda: (), self.clock, watch_budget_s=180.0)
        leader = SingleReplica(self.clock)
        executor = Executor(self.applier, leader, side_by_side=1)
        self.during: Callable[[], None] = lambda: None
        self.controller = Controller(
            self.view,
            cast("ClusterObserver", self),
            store or Stores(),
            executor,
            leader,
            None,
            Telemetry(),
            self.clock,
            interval_s=INTERVAL_S,
        )
        self.controller.configure({one.key: one for one in applications})

    def configure(self, applications: Any) -> None:
        """See `ClusterObserver.configure`."""
        self.observer.configure(applications)

    def ask(self, application: str, probes: Mapping[str, tuple[tuple[str, str], ...]]) -> None:
        """See `controller.service.application_pass.Observer.ask`: there is no EC2."""

    def snapshot(self, app: Application, **rest: Any) -> Any:
        """Observes, and lets something happen meanwhile."""
        self.passes[app.key] += 1
        taken = self.observer.snapshot(app, **rest)
        self.during()
        return taken


def test_a_round_comes_within_the_interval_however_large_the_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The liveness probe counts rounds. Above 900 applications the wait between two was longer than its limit."""
    monkeypatch.setattr(module, "PASSES_PER_S", 1 / 3600)  # as 72,000 applications
    rounds = Rounds(application())
    for _ in range(20):
        wait = rounds.controller.run_due()
        assert wait <= INTERVAL_S
        rounds.clock.advance(wait)
        assert rounds.controller.problem(3 * INTERVAL_S) == ""
    assert rounds.passes.total() == 1


@pytest.fixture
def fleet() -> Rounds:
    """A fleet whose passes take turns in rounds; one application is in a namespace of its own."""
    names = [f"app-{number:03d}" for number in range(FLEET)]
    rounds = Rounds(
        *(application(name=name, route=Route(name, "live"), namespace="own" if name == "app-007" else "shop") for name in names)
    )
    rounds.controller.run_due()
    assert rounds.passes.total() == len(names), "the first pass is due at once"
    return rounds


def test_in_a_large_fleet_applications_take_turns_in_rounds(fleet: Rounds) -> None:
    """A pass that comes alone finds cold caches. After a change to all, the passes of all would be due at the same time for ever."""
    sizes, begin = list[int](), fleet.clock.monotonic()
    while len(sizes) < 3 * CYCLE:
        assert fleet.clock.monotonic() <= begin + 3 * CYCLE * ROUND_S
        before = fleet.passes.total()
        fleet.clock.advance(fleet.controller.run_due())
        sizes += [fleet.passes.total() - before] if fleet.passes.total() > before else []
    assert max(sizes) < 2 * FLEET / CYCLE, "none has much more than its part"
    assert set(fleet.passes.values()) == {4}, "each has one pass in a cycle"


def test_a_pass_for_a_change_postpones_no_turn(fleet: Rounds) -> None:
    """Each application has its turn in every cycle, so that it never misses a metric period."""
    mine, times = "own/app-007", []

    def run() -> None:
        before = fleet.passes[mine]
        wait = fleet.controller.run_due()
        times.extend([fleet.clock.monotonic()] if fleet.passes[mine] > before else [])
        fleet.clock.advance(wait)

    while not times:
        run()
    fleet.clock.advance(0.5)
    fleet.view.dirty.mark(namespace="own")
    while len(times) < 3:
        run()
    turn, change, following = times
    assert change - turn < CYCLE * ROUND_S / 2
    assert following - turn == pytest.approx(CYCLE * ROUND_S)


@pytest.mark.parametrize("moment", ["before the round", "in the round", "before the wait"])
def test_a_stop_at_any_moment_ends_the_loop(moment: str) -> None:
    """A signal may come between any two steps. One whose wake-up was cleared made the process wait for an interval."""
    service = cast("Service", SimpleNamespace(_stop=threading.Event(), _wake=threading.Event(), _follow_clock=lambda: None))
    waited: list[bool] = []

    def at(now: str) -> None:
        if now == moment:
            Service.stop(service)

    class Wake(threading.Event):
        def clear(self) -> None:
            at("before the round")
            super().clear()

    def run_due() -> float:
        at("in the round")
        return INTERVAL_S

    def wait(event: threading.Event, seconds: float) -> None:
        at("before the wait")
        waited.append(event.is_set())

    service._wake = Wake()
    service.controller = cast("Controller", SimpleNamespace(run_due=run_due))
    service._clock = cast("Clock", SimpleNamespace(wait=wait))
    Service._loop(service)
    assert all(waited), "it does not wait for anything after the stop"


def test_a_loop_that_stands_still_and_a_pass_that_never_ends_are_problems() -> None:
    """What a restart fixes."""
    rounds = Rounds(application())
    rounds.controller.run_due()
    rounds.clock.advance(46.0)
    assert rounds.controller.problem(45.0) == "the last round ended 46 s ago, limit 45 s"
    rounds = Rounds(application())
    rounds.controller._queue.add([application().key])
    assert rounds.controller._queue.take()
    rounds.clock.advance(STUCK_PASS_S + 1.0)
    rounds.controller.run_due()
    assert rounds.controller.problem(45.0) == "a pass has lasted 301 s, limit 300 s"


def test_a_pass_that_ends_in_a_bug_is_run_again_after_pauses_that_double() -> None:
    """Whatever changes meanwhile: an application with a bug must not keep a worker busy."""
    rounds = Rounds(application())

    def fail() -> None:
        raise ZeroDivisionError

    rounds.during, times = fail, []
    for second in range(70):
        before = rounds.passes.total()
        rounds.view.dirty.mark(everything=True)
        rounds.controller.run_due()
        times += [second] * (rounds.passes.total() - before)
        rounds.clock.advance(1.0)
    assert times == [0, 1, 3, 7, 15, 31, 63]
    rounds.during = lambda: None
    rounds.clock.advance(60.0)
    for _ in range(3):
        rounds.view.dirty.mark(everything=True)
        rounds.controller.run_due()
    assert rounds.passes.total() == len(times) + 3


@pytest.mark.parametrize("with_what", ["removed", "changed"])
def test_what_is_no_longer_configured_is_not_acted_on(with_what: str) -> None:
    """The files change between the decision and its requests."""
    app = application()
    rounds = Rounds(app)
    acted: list[Application] = []
    act = rounds.controller._records[app.key].passes.act

    def keep(decided: Decided, *, others_wait: bool = False) -> Acted:
        acted.append(decided.conclusion.snapshot.application)
        return act(decided, others_wait=others_wait)

    rounds.controller._records[app.key].passes.act = keep  # type: ignore[method-assign]
    other = {} if with_what == "removed" else {app.key: application(route=Route("sd21", "other"))}
    rounds.during = lambda: rounds.controller.configure(other)
    rounds.controller.run_due()
    assert acted == [*other.values()]


def test_the_page_of_an_application_whose_units_were_renamed_shows_the_last_pass() -> None:
    """Until the next pass, which may take as long as a hanging request. It answered 500."""
    app = application()
    rounds = Rounds(app)
    rounds.controller.run_due()
    before = page(rounds.controller.views(), PROCESS)
    renamed = application(units=tuple(replace(unit, name=f"{unit.name}-new") for unit in app.units))
    rounds.controller.configure({app.key: renamed})
    assert page(rounds.controller.views(), PROCESS) == before
    rounds.controller.run_due()
    assert "sd21-inf2-new" in page(rounds.controller.views(), PROCESS)


@pytest.mark.parametrize(
    ("retry_after_s", "most"), [pytest.param(None, 2 + 4 + 120 / STATE_RETRY_MAX_S, id="pauses"), pytest.param(60.0, 2, id="Retry-After")]
)
def test_memory_that_cannot_be_written_is_not_tried_at_every_change(retry_after_s: float | None, most: float) -> None:
    """A request that hangs takes seconds of a worker each time. Four changes a second, for two minutes."""
    store = Refusing(retry_after_s)
    rounds = Rounds(application(), store=store)
    for _ in range(480):
        rounds.view.dirty.mark(everything=True)
        rounds.controller.run_due()
        rounds.clock.advance(0.25)
    assert rounds.passes.total() == 480
    assert 2 <= store.tries <= most
