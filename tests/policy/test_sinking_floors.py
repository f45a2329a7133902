"""Floors that sink: one step at a time, and against a rule for the replicas that stay which is written here a second time, by the loss."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from controller.policy.account import known_everywhere
from controller.policy.fleet import followed, planned_claims
from controller.policy.fleet.floors import held, sinks_in_s, window_s
from controller.policy.floors.account import noted
from controller.policy.model import (
    SCALE_IN_S,
    Application,
    Fleet,
    FloorMemory,
    Memory,
    Needs,
    PlannedFleet,
    PlannedMode,
    PolicySettings,
    ReturnProbe,
    Sample,
    Scaler,
    ScalerWrite,
    Shortage,
    SinkingFloor,
    Snapshot,
    Strategy,
    Target,
    UnitEvidence,
    Verdict,
)
from tests.policy.support import change, pods
from tests.support.applications import NOW, application, memory, seed_units, snapshot

FAST, SLOW, OTHER = "fast", "slow", "other"
THROUGHPUT = {FAST: 50.0, SLOW: 20.0, OTHER: 30.0}
FAMILY = {FAST: "g5", SLOW: "g5", OTHER: "inf2"}
POLICY = PolicySettings(strategy=Strategy.PLANNED, planned_mode=PlannedMode.LIVE)
LONG = 600.0  # the window of these units, seconds


def _application(scale: float = 1.0) -> Application:
    """Three units, two of them of the same family."""
    units = tuple(
        replace(seed, name=name, throughput=scale * throughput, instance_type=f"{FAMILY[name]}.xlarge", cold_start_s=LONG, min_replicas=0)
        for seed, (name, throughput) in zip(seed_units(), THROUGHPUT.items(), strict=False)
    )
    return application(policy=POLICY, units=units)


def _seen(app: Application, ready: Mapping[str, int], floors: Mapping[str, int]) -> Snapshot:
    made = snapshot(app)
    for name, count in ready.items():
        scaler = Scaler(name, "1", floors[name], 100, "20")
        made = change(made, name, ready=count, desired=max(count, floors[name]), pending=pods(max(0, floors[name] - count)), scaler=scaler)
    return replace(made, routing=replace(made.routing, targets=()))


SCALED = {name: unit.scaled_object or "" for name, unit in zip(THROUGHPUT, seed_units(), strict=False)}


def planned_floors(seen: Snapshot, remembered: Memory, evidence: Mapping[str, UnitEvidence], fleet: PlannedFleet | None) -> dict[str, int]:
    """The replicas that the claims of the fleet ask for."""
    return {claim.unit: claim.replicas for claim in planned_claims(seen, remembered, evidence, fleet)}


def _evidence(ready: Mapping[str, int]) -> dict[str, UnitEvidence]:
    return {name: UnitEvidence(name, Shortage.NONE, ready=count, can_serve=count > 0) for name, count in ready.items()}


def _fleet(app: Application, replicas: Mapping[str, int], demand: float, without_any: float) -> PlannedFleet:
    carried = {unit.name: replicas[unit.name] * unit.throughput for unit in app.units}
    left = {family: sum(one for name, one in carried.items() if FAMILY[name] != family) for family in ("g5", "inf2")}
    fleet = Fleet(replicas, 0.0, 0.0, 0.0, sum(carried.values()), left, short=False)
    return PlannedFleet(demand, None, Needs(demand, without_any), fleet, 0.0, live=True)


def _over(planned: Mapping[str, int]) -> Memory:
    """Every window is over, with that many replicas planned at most."""
    return memory(floors={SCALED[name]: FloorMemory(sinking=(SinkingFloor(NOW - LONG, count),)) for name, count in planned.items()})


def _carried(counts: Mapping[str, int], lost: str) -> float:
    return sum(count * THROUGHPUT[name] for name, count in counts.items() if FAMILY[name] != lost)


@dataclass(frozen=True)
class Case:
    """Ready replicas, planned replicas, and what must be carried: in all, and without any one family."""

    ready: tuple[int, int, int]
    planned: tuple[int, int, int]
    demand: float
    without_any: float

    def sunk(self, scale: float = 1.0) -> dict[str, int]:
        """The floors after the windows, from one floor for each ready replica."""
        ready, planned = dict(zip(THROUGHPUT, self.ready, strict=True)), dict(zip(THROUGHPUT, self.planned, strict=True))
        app = _application(scale)
        fleet = _fleet(app, planned, scale * self.demand, scale * self.without_any)
        floors = {name: max(count, planned[name]) for name, count in ready.items()}
        return planned_floors(_seen(app, ready, floors), _over(planned), _evidence(ready), fleet)


def _safe(case: Case) -> bool:
    """Of each loss: what is ready and stays carries what is needed, unless the fleet or what is ready now carries less than that."""
    ready, planned = dict(zip(THROUGHPUT, case.ready, strict=True)), dict(zip(THROUGHPUT, case.planned, strict=True))
    stays = {name: min(ready[name], planned[name]) for name in ready}
    needs = {"": case.demand, "g5": case.without_any, "inf2": case.without_any}
    return all(_carried(stays, lost) >= min(need, _carried(planned, lost), _carried(ready, lost)) for lost, need in needs.items())


def test_nothing_that_serves_goes_before_the_rest_carries_every_loss() -> None:
    """Else users get errors: their replicas would stop while those that take over still start, or a lost family would take too many."""
    draw, kinds = random.Random(17), set()
    for _ in range(600):
        ready, planned = (draw.randint(0, 3), draw.randint(0, 4), draw.randint(0, 3)), tuple(draw.randint(0, 4) for _ in range(3))
        case = Case(ready, planned, 10.0 * draw.randint(0, 30), 10.0 * draw.randint(0, 12))  # type: ignore[arg-type]  # three of them
        safe, floors = _safe(case), case.sunk()
        kinds.add((safe, any(map(int.__lt__, planned, ready))))
        for name, count, wanted in zip(THROUGHPUT, ready, planned, strict=True):
            assert floors[name] == (wanted if safe else max(wanted, count)), case
    assert len(kinds) == 3  # what does not sink is always safe


@pytest.mark.parametrize(
    ("case", "sinks"),
    [
        # One fast replica goes, and one other is still to start: 50 + 3 * 20 stay ready of 2 * 50 + 3 * 20.
        pytest.param(Case((2, 3, 0), (1, 3, 2), 110.0, 0.0), True, id="just the demand"),
        pytest.param(Case((2, 3, 0), (1, 3, 2), 111.0, 0.0), False, id="a request more"),
        pytest.param(Case((2, 3, 0), (1, 3, 0), 500.0, 0.0), True, id="all that the fleet will carry"),
        pytest.param(Case((2, 3, 0), (2, 2, 3), 500.0, 0.0), False, id="less than the ready ones carry, which the fleet will"),
        # Without g5 only the others count: two of three stay.
        pytest.param(Case((1, 0, 3), (2, 0, 2), 60.0, 60.0), True, id="just the share without g5"),
        pytest.param(Case((1, 0, 3), (5, 0, 2), 60.0, 61.0), True, id="the fleet itself will not carry more without g5"),
        pytest.param(Case((3, 0, 1), (1, 3, 4), 60.0, 51.0), False, id="a request more without inf2, which the fleet will carry"),
        pytest.param(Case((3, 0, 1), (1, 3, 4), 60.0, 50.0), True, id="just the share without inf2"),
        pytest.param(Case((0, 2, 4), (0, 5, 3), 60.0, 90.0), True, id="without inf2 no more than the ready ones carry now"),
    ],
)
def test_the_last_request_that_must_stay_carried(case: Case, *, sinks: bool) -> None:
    """One request too few would go to replicas that are not there; one too many would keep replicas paid for good. At any size."""
    assert _safe(case) is sinks
    planned = dict(zip(THROUGHPUT, case.planned, strict=True))
    for scale in (0.001, 1.0, 100_000.0):
        assert (case.sunk(scale) == planned) is sinks


def test_rounding_keeps_no_replica() -> None:
    """Ten times 0.1 is less than 1 in binary: floors would never sink, and the replicas would be paid for ever. At any size."""
    for scale in (1e-6, 1.0, 1e6):
        demand = 110.0 * (1 + 5e-10)
        assert Case((2, 3, 0), (1, 3, 2), demand, 0.0).sunk(scale) == {FAST: 1, SLOW: 3, OTHER: 2}
        demand = 110.0 * (1 + 5e-9)
        assert Case((2, 3, 0), (1, 3, 2), demand, 0.0).sunk(scale) == {FAST: 2, SLOW: 3, OTHER: 2}


@dataclass(frozen=True)
class One:
    """The fast unit with a floor of 8, of which nothing is needed to carry the demand."""

    planned: int
    window: tuple[float, int] | None  # for how many seconds no more than that were planned
    wrote_s: float | None = None  # how long ago the floor was written last
    ready: int = 9
    least: int = 0
    found: int | None = None
    at_limit: str = ""
    short: bool = False
    missed: bool = False
    canary: bool = True
    most: int = 100
    ours: bool = True
    floor: int = 8

    def fleet(self) -> PlannedFleet:
        """What is planned."""
        shown = _fleet(_application(), {FAST: self.planned, SLOW: 0, OTHER: 0}, 0.0, 0.0)
        return replace(shown, missed=frozenset({FAST}) if self.missed else frozenset())

    def seen(self) -> Snapshot:
        """What is observed: enough of the demand to know that there is none."""
        app = _application()
        probe = ReturnProbe.CANARY if self.canary else ReturnProbe.NONE
        units = tuple(replace(unit, min_replicas=self.least, max_replicas=self.most, probe=probe) for unit in app.units)
        app = replace(app, units=units, policy=POLICY)
        made = _seen(app, {FAST: self.ready, SLOW: 0, OTHER: 0}, {FAST: self.floor, SLOW: 0, OTHER: 0})
        scaler = replace(made.units[FAST].scaler, floor_ours=self.ours)  # type: ignore[type-var]  # it has one
        made = change(made, FAST, pool_at_limit=self.at_limit, scaler=scaler, demand=Sample(0.0, NOW - 60))
        return replace(made, routing=replace(made.routing, targets=(Target(app.units[0].backend.service, 80, 100),)))

    def memory(self) -> Memory:
        """What is remembered."""
        sinking = () if self.window is None else (SinkingFloor(NOW - self.window[0], self.window[1]),)
        write = None if self.wrote_s is None else ScalerWrite(NOW - self.wrote_s, "9", "8")
        return memory(floors={SCALED[FAST]: FloorMemory(found=self.found or 0, floor=write, sinking=sinking)})

    def wanted(self) -> int:
        """The floor that is wanted."""
        judged = _evidence({FAST: self.ready, SLOW: 0, OTHER: 0})
        if self.short:
            judged[FAST] = replace(judged[FAST], shortage=Shortage.PROVEN)
        return planned_floors(self.seen(), self.memory(), judged, self.fleet())[FAST]

    def noted(self) -> list[tuple[float, int]]:
        """Its times after the pass, as `window`."""
        noted = followed(self.memory(), self.seen(), self.fleet()).floors.get(SCALED[FAST], FloorMemory()).sinking
        return [(NOW - one.since, one.highest) for one in noted]


@pytest.mark.parametrize(
    ("one", "floor"),
    [
        pytest.param(One(2, None), 8, id="its window has not begun"),
        pytest.param(One(2, (LONG - 1, 3)), 8, id="its window is not over"),
        pytest.param(One(2, (LONG, 3)), 3, id="to the most of its window, in its last second"),
        pytest.param(One(2, (LONG, 3), wrote_s=SCALE_IN_S), 3, id="the scaler's window after its last change"),
        pytest.param(One(2, (LONG, 3), wrote_s=SCALE_IN_S - 1), 8, id="not before that"),
        pytest.param(One(2, (LONG, 9)), 8, id="the most of its window was above it: it does not rise by that"),
        pytest.param(One(0, (LONG, 0)), 0, id="to nothing, where the application file allows it"),
        pytest.param(One(0, (LONG, 0), least=2), 2, id="never below the application file"),
        pytest.param(One(0, (LONG, 0), found=3), 3, id="never below what a person had set"),
        pytest.param(One(2, (1, 8), ready=4, short=True), 4, id="no node can be had: pods that wait go at once"),
        pytest.param(One(2, (1, 8), ready=4, at_limit="full"), 4, id="and beyond the limit of the NodePool"),
        pytest.param(One(2, (1, 8), ready=4), 8, id="a node may come: they wait"),
        pytest.param(One(2, None, ready=4, short=True), 8, id="no node can be had, and the window has not begun"),
        pytest.param(One(2, (1, 8), ready=2, short=True, missed=True), 3, id="but the canary"),
        pytest.param(One(2, (1, 8), ready=2, short=True, missed=True, canary=False), 2, id="where canaries are allowed"),
        pytest.param(One(2, (1, 8), ready=2, short=True, missed=True, most=2), 2, id="and the maximum leaves one"),
        pytest.param(One(9, None), 9, id="it rises at once"),
        pytest.param(One(9, None, ours=False), 8, id="not in place of a person's that is not remembered yet"),
        pytest.param(One(9, None, ours=False, found=7), 8, id="nor of one that a person has changed since"),
        pytest.param(One(9, None, ours=False, found=8), 9, id="in place of a person's, once that is remembered"),
    ],
)
def test_where_a_floor_goes(one: One, floor: int) -> None:
    """Too low ends replicas that a person or the file wants, or that are needed again soon; too high pays for what no node can hold."""
    assert one.wanted() == floor


@pytest.mark.parametrize(
    ("one", "window"),
    [
        pytest.param(One(7, None), [(0, 7)], id="it begins once fewer are planned"),
        pytest.param(One(8, None), [], id="not while as many are planned"),
        pytest.param(One(3, (10, 5)), [(10, 5), (0, 3)], id="each replica has its own"),
        pytest.param(One(6, (10, 5)), [(10, 6)], id="one that is planned again begins anew"),
        pytest.param(One(5, (10, 5)), [(10, 5)], id="as many are planned"),
        pytest.param(One(8, (10, 5)), [], id="all are planned again"),
        pytest.param(One(3, (LONG, 5), floor=5), [(0, 3)], id="once the floor has sunk it is over"),
        pytest.param(One(5, (LONG, 5), floor=5), [], id="with no other one where as many are planned"),
        pytest.param(One(3, (10, 5), ours=False), [], id="the floor of a person has none"),
    ],
)
def test_the_times_of_a_floor(one: One, window: list[tuple[float, int]]) -> None:
    """One that ends late pays for idle replicas; one that ends early removes those that the next minute's load needs."""
    assert one.noted() == window


def test_each_replica_goes_after_its_own_time() -> None:
    """Of a burst, those that were needed last stay longest: none waits for another one's time to end, as in one window for all."""
    passes = [(0.0, 6), (100.0, 3), (200.0, 5), (300.0, 1), (600.0, 1), (700.0, 1), (800.0, 1), (900.0, 1)]
    remembered, floors, floor = memory(), [], 8
    for at, planned in passes:
        one = One(planned, None, floor=floor)
        seen = replace(one.seen(), now=NOW + at)
        seen = change(seen, FAST, demand=Sample(0.0, NOW + at - 60))
        remembered = followed(remembered, seen, one.fleet())
        floor = planned_floors(seen, remembered, _evidence({FAST: 9, SLOW: 0, OTHER: 0}), one.fleet())[FAST]
        floors.append(floor)
    assert floors == [8, 8, 8, 8, 6, 5, 5, 1], "6 were planned until 100 s, 5 until 300 s, and 1 since; a cold start takes 600 s"


def test_a_window_ends_with_the_scalers() -> None:
    """A check that comes too late leaves replicas paid; a scaler that removes none has no end to wait for."""
    one = One(3, (100.0, 5))
    assert list(sinks_in_s(one.memory(), one.seen())) == [LONG - 100.0]
    assert list(sinks_in_s(replace(one, wrote_s=0.0, window=(LONG, 5)).memory(), one.seen())) == [SCALE_IN_S]
    assert list(sinks_in_s(replace(one, window=(LONG, 5)).memory(), one.seen())) == [0.0]
    unit, scaler = _application().units[0], Scaler(FAST, "1", 1, 100, scale_in_s=None)
    assert window_s(unit, scaler) == float("inf")


def test_floors_do_not_change_while_the_fleet_is_not_known() -> None:
    """Missing metrics are no reason to end a replica, nor is a fleet that may not be followed; other strategies write no such floors."""
    one = One(3, (LONG, 5))
    present = {FAST: 8, SLOW: 0, OTHER: 0}
    for fleet in (None, replace(one.fleet(), held="the load balancer cannot be read")):
        assert planned_floors(one.seen(), one.memory(), _evidence({FAST: 9, SLOW: 0, OTHER: 0}), fleet) == present
        assert followed(one.memory(), one.seen(), fleet) == memory()
    off = replace(one.seen(), application=replace(one.seen().application, policy=PolicySettings()))
    assert planned_floors(off, one.memory(), _evidence(present), one.fleet()) == {}


def test_floors_are_written_only_where_somebody_scales() -> None:
    """KEDA refuses the rest: a person paused the ScaledObject, or there is none."""
    one = One(3, (LONG, 5))
    seen, judged = one.seen(), _evidence({FAST: 9, SLOW: 0, OTHER: 0})
    paused = change(seen, FAST, scaler=replace(seen.units[FAST].scaler, paused=True))  # type: ignore[type-var]  # it has one
    assert planned_floors(paused, one.memory(), judged, one.fleet()) == {SLOW: 0, OTHER: 0}
    assert planned_floors(change(seen, FAST, scaler=None), one.memory(), judged, one.fleet()) == {SLOW: 0, OTHER: 0}


def test_the_floor_of_a_person_is_remembered_while_ours_is_in_its_place() -> None:
    """Once ours is not needed it comes back, with any strategy; forgotten, a person's least replicas would be lost."""
    one = One(3, None, found=7)
    assert noted(one.memory(), one.seen()).floors[SCALED[FAST]].found == 7
    gone = change(one.seen(), FAST, scaler=None)
    assert noted(one.memory(), gone).floors[SCALED[FAST]].found == 7, "perhaps only for a moment"
    theirs = replace(one, ours=False)
    assert noted(one.memory(), theirs.seen()).floors[SCALED[FAST]].found == 8
    off = replace(theirs.seen(), application=replace(theirs.seen().application, policy=PolicySettings()))
    assert noted(one.memory(), off).floors[SCALED[FAST]].found == 8
    low = change(theirs.seen(), FAST, scaler=replace(theirs.seen().units[FAST].scaler, min_replicas=0))  # type: ignore[type-var]  # it has one
    assert SCALED[FAST] not in noted(one.memory(), low).floors, "none is wanted"


def _counted(weights: Mapping[str, int], samples: Mapping[str, tuple[float, float]], ready: int = 1) -> Snapshot:
    """Weights by unit, and counters by unit: a value, and how long ago its period ended, seconds."""
    app = _application()
    made = _seen(app, dict.fromkeys(THROUGHPUT, ready), dict.fromkeys(THROUGHPUT, 1))
    for name, (value, ago) in samples.items():
        made = change(made, name, demand=Sample(value, NOW - ago))
    services = {unit.name: unit.backend.service for unit in app.units}
    targets = tuple(Target(services.get(name, name), 80, weight) for name, weight in weights.items())
    return replace(made, routing=replace(made.routing, targets=targets))


@pytest.mark.parametrize(
    ("seen", "known"),
    [
        pytest.param(_counted({FAST: 50, SLOW: 50}, {FAST: (0.0, 60), SLOW: (0.0, 60)}), True, id="nothing is asked"),
        pytest.param(_counted({FAST: 50, SLOW: 50}, {}), False, id="no counter at all"),
        pytest.param(_counted({}, {FAST: (9.0, 60)}), False, id="no weight at all"),
        pytest.param(_counted({FAST: 100}, {FAST: (9.0, 300)}), True, id="the oldest that is not late"),
        pytest.param(_counted({FAST: 100}, {FAST: (9.0, 301)}), False, id="late"),
        pytest.param(_counted({FAST: 100}, {FAST: (9.0, -300)}), True, id="a clock that is before ours"),
        pytest.param(_counted({FAST: 50, SLOW: 50}, {FAST: (9.9, 60)}), True, id="so few that none is possible"),
        pytest.param(_counted({FAST: 50, SLOW: 50}, {FAST: (10.0, 60)}), False, id="ten are expected, and none came"),
        pytest.param(_counted({FAST: 50, SLOW: 50}, {FAST: (10.0, 60)}, ready=0), True, id="nothing is ready that could serve them"),
        pytest.param(_counted({FAST: 99, SLOW: 1}, {FAST: (990.0, 60)}), False, id="with the least weight"),
        pytest.param(_counted({FAST: 99, SLOW: 0}, {FAST: (990.0, 60)}), True, id="without weight"),
        pytest.param(_counted({FAST: 99, SLOW: 1, OTHER: 0}, {FAST: (99.0, 60), OTHER: (999.0, 60)}), True, id="one without weight drains"),
        pytest.param(_counted({FAST: 60, SLOW: 20, OTHER: 20}, {FAST: (24.0, 60), OTHER: (12.0, 60)}), True, id="nine by both counters"),
        pytest.param(_counted({FAST: 60, SLOW: 20, OTHER: 20}, {FAST: (24.0, 60), OTHER: (16.0, 60)}), False, id="ten by both counters"),
        pytest.param(_counted({FAST: 50, "elsewhere": 50}, {FAST: (90.0, 60)}), True, id="a Service that is no unit"),
    ],
)
def test_when_the_demand_is_known_everywhere(seen: Snapshot, *, known: bool) -> None:
    """A counter that is missing would look like a fall of the demand, and the replicas that serve it would go."""
    assert known_everywhere(seen) is known


def test_words_of_a_load_balancer_that_cannot_be_read() -> None:
    """A person must see why planned floors do nothing, and what to repair."""
    one = _counted({FAST: 100}, {})
    why = "the load balancer cannot be read, and no floor could sink again"
    verification = replace(one.routing.verification, verdict=Verdict.CANNOT_TELL, problem="AccessDenied")  # type: ignore[type-var]  # it has one
    assert held(one) == ""
    assert held(replace(one, routing=replace(one.routing, verification=None))) == why
    assert held(replace(one, routing=replace(one.routing, verification=verification))) == f"{why} (AccessDenied)"
