"""What each unit offers to the cheapest fleet, whole; and what the fleet is compared with, as exact prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.account import Figures
from controller.policy.fleet import SLOTS, planned
from controller.policy.fleet.offers import offered
from controller.policy.fleet.search import Offer
from controller.policy.fleet.words import planned_verb, planned_words
from controller.policy.model import (
    Application,
    Damping,
    DemandHistory,
    Fleet,
    FloorMemory,
    Held,
    Memory,
    Needs,
    NotedDemand,
    Outcome,
    PlannedFleet,
    PlannedMode,
    PolicySettings,
    Reservation,
    Return,
    Sample,
    Scaler,
    Shortage,
    Snapshot,
    Strategy,
    UnitEvidence,
    WeightStrategy,
)
from tests.policy.support import INF2, above_scaler, change, pods
from tests.support.applications import NOW, application, seed_units, snapshot

CUDA = "sd21-g5-cuda"
POLICY = PolicySettings(strategy=Strategy.PLANNED)
DEMAND = 1_000.0
OFFER = Offer(INF2, "inf2", 105.0, 0.7582, least=1, most=9, present=2, paid=0, start=1 / 6, stop=1 / 6)
"""Its scaler asks for 4 replicas, half of the demand is 4.8 more. A cold start takes 10 min; CloudWatch and the HPA take 5 min each."""


def _application(**policy: Any) -> Application:
    """The units inf2 and g5-cuda of the AWS sample."""
    return application(policy=replace(POLICY, **policy), units=tuple(unit for unit in seed_units() if unit.name in {INF2, CUDA}))


def _scaler(**changes: Any) -> Scaler:
    return replace(Scaler("hpa", "1", 1, 100, "105"), **changes)


NEVER = _scaler(scale_in_s=None)


def _seen(app: Application, **changes: Any) -> Snapshot:
    made = snapshot(app)
    for unit in app.units:
        made = change(made, unit.name, scaler=_scaler(), demand=Sample(400.0, NOW))
    return change(made, INF2, **changes)


def _evidence(**changes: Any) -> dict[str, UnitEvidence]:
    plain = {name: UnitEvidence(name, Shortage.NONE, ready=2, can_serve=True) for name in (INF2, CUDA)}
    return {**plain, INF2: replace(plain[INF2], **changes)}


def _remembered(found: Mapping[str, int]) -> Memory:
    """What is remembered of floors that others set."""
    return Memory(floors={f"{name}-hpa": FloorMemory(found=floor) for name, floor in found.items()})


def _of(name: str, offers: tuple[Offer, ...]) -> Offer:
    return next(offer for offer in offers if offer.name == name)


@pytest.mark.parametrize(
    ("seen", "judged", "meant"),
    [
        pytest.param({}, {}, {}, id="nothing special"),
        pytest.param({"desired": 6}, {}, {"present": 6}, id="replicas that were requested need no other start"),
        pytest.param({"desired": None}, {}, {}, id="no Deployment is seen"),
        pytest.param({"desired": 6}, {"leaving": 1}, {"present": 5}, id="but not those of an ending Capacity Block"),
        pytest.param({"desired": 2}, {"leaving": 2}, {"present": 0}, id="all of them"),
        pytest.param({"scaler": None}, {}, {"least": 2, "most": 2, "stop": 0.0}, id="nothing scales it"),
        pytest.param({"scaler": _scaler(paused=True), "desired": 4}, {}, {"least": 4, "most": 4, "present": 4}, id="a person paused it"),
        pytest.param({"scaler": _scaler(paused=True, max_replicas=1)}, {}, {"least": 1, "most": 1}, id="paused beyond its maximum"),
        pytest.param({"scaler": _scaler(min_replicas=7)}, {}, {}, id="a floor of ours binds nothing"),
        pytest.param({"scaler": _scaler(min_replicas=7, floor_ours=False)}, {}, {"least": 7, "most": 12}, id="a person's does"),
        pytest.param({"scaler": _scaler(max_replicas=5)}, {}, {"most": 5}, id="the scaler's maximum"),
        pytest.param({"scaler": _scaler(target="210")}, {}, {"most": 7}, id="two replicas by its scaler"),
        pytest.param({"scaler": _scaler(target="")}, {}, {"most": 6}, id="a scaler without a target: from its least on"),
        pytest.param(
            {"scaler": _scaler(scale_in_s=None), "desired": 5}, {}, {"least": 5, "most": 10, "present": 5, "stop": 0.0}, id="never in"
        ),
        pytest.param({"scaler": _scaler(scale_in_s=0.0)}, {}, {"stop": 1 / 12}, id="a scaler that waits for nothing"),
        pytest.param({"scaler": _scaler(scale_in_s=7_200.0)}, {}, {"stop": 1.0}, id="a window beyond the hour"),
        pytest.param({"desired": 6}, {"shortage": Shortage.PROVEN}, {"most": 2, "present": 6}, id="short: what is ready"),
        pytest.param({}, {"shortage": Shortage.PROVEN, "ready": 0}, {"least": 0, "most": 0}, id="short with nothing ready"),
        pytest.param({}, {"shortage": Shortage.PROVEN, "leaving": 1}, {"most": 1, "present": 1}, id="short of what stays"),
        pytest.param({"desired": 6}, {"shortage": Shortage.SUSPECTED}, {"most": 6, "present": 6}, id="perhaps short: as requested"),
        pytest.param({}, {"last_refusal_at": NOW}, {"most": 2}, id="its return is not proven"),
        pytest.param({}, {"last_refusal_at": NOW, "returned": Return.LAUNCHED}, {"most": 2}, id="one instance is no node yet"),
        pytest.param({}, {"last_refusal_at": NOW, "returned": Return.REGISTERED}, {}, id="its return is proven"),
        pytest.param({"pool_at_limit": "full", "desired": 6, "pending": pods(3)}, {}, {"most": 3, "present": 6}, id="NodePool is full"),
        pytest.param(
            {"pool_at_limit": "full", "desired": 6, "pending": pods(3)}, {"leaving": 1}, {"most": 2, "present": 5}, id="and leaving"
        ),
    ],
)
def test_the_offer_of_a_unit(seen: Mapping[str, Any], judged: Mapping[str, Any], meant: Mapping[str, Any]) -> None:
    """Too much and the fleet counts on replicas that nobody can have; too little and it pays for others beside those that run."""
    found = offered(_seen(_application(), **seen), DEMAND, _evidence(**judged), Memory())
    assert _of(INF2, found) == replace(OFFER, **meant)


def test_the_least_and_the_most_of_an_offer() -> None:
    """The application file, floors of persons that are remembered, and how far above its scaler a unit may be."""
    app = _application()
    assert _of(INF2, offered(_seen(app), None, _evidence(), Memory())) == replace(OFFER, most=100)
    assert _of(INF2, offered(_seen(app), 420.0, _evidence(), Memory())) == replace(OFFER, most=6)  # just two replicas
    assert _of(INF2, offered(_seen(app), DEMAND, _evidence(), _remembered({INF2: 6}))) == replace(OFFER, least=6, most=11)
    short = _evidence(shortage=Shortage.PROVEN)
    assert _of(INF2, offered(_seen(app), DEMAND, short, Memory(), refusals=False)) == OFFER
    units = tuple(replace(unit, min_replicas=3, max_replicas=8, cold_start_s=1_800.0) for unit in app.units)
    file = _seen(replace(app, units=units, metric_period_s=300))
    # With a period of 5 min CloudWatch shows a change after 13 min.
    assert _of(INF2, offered(file, DEMAND, _evidence(), _remembered({INF2: 2}))) == replace(OFFER, least=3, most=8, start=0.5, stop=18 / 60)


def _reservation(name: str, free: int, **changes: Any) -> Reservation:
    return replace(Reservation(name, "inf2.xlarge", "us-west-2a", free=free, total=9), **changes)


@pytest.mark.parametrize(
    ("held", "reservations", "paid"),
    [
        pytest.param((), (), 0, id="none"),
        pytest.param((Held("inf2.xlarge", "", 5),), (), 0, id="instances outside any"),
        pytest.param((Held("inf2.xlarge", "cr-1", 2),), None, 2, id="EC2 has not answered: what runs in it"),
        pytest.param((Held("inf2.xlarge", "cr-1", 2),), (_reservation("cr-1", 4),), 6, id="what runs in it and what is free"),
        pytest.param((), (_reservation("cr-1", 4),), 4, id="an open one takes every launch"),
        pytest.param((), (_reservation("cr-1", 4, targeted=True),), 0, id="a targeted one takes no launch that does not name it"),
        pytest.param((), (_reservation("cr-1", 4, block=True),), 0, id="nor does a Capacity Block"),
        pytest.param((Held("inf2.xlarge", "cr-1", 1),), (_reservation("cr-1", 4, targeted=True),), 5, id="one that the NodePool uses"),
        pytest.param((Held("trn1.2xlarge", "cr-1", 3),), (), 0, id="of a type that its pods may not use"),
        pytest.param((Held("inf2.xlarge", "cr-1", 1), Held("inf2.xlarge", "cr-2", 2)), (_reservation("cr-3", 4),), 7, id="several"),
    ],
)
def test_replicas_that_a_reservation_pays(held: tuple[Held, ...], reservations: tuple[Reservation, ...] | None, paid: int) -> None:
    """Counted too few, reserved instances stand empty beside paid ones; too many, the fleet is not the cheapest."""
    found = offered(_seen(_application(), pool_held=held, reservations=reservations), DEMAND, _evidence(), Memory())
    assert [offer.paid for offer in found] == [paid, 0]


@pytest.mark.parametrize(
    ("seen", "reservation", "paid"),
    [
        pytest.param({"pool_zones": ("us-west-2a", "us-west-2b")}, {}, 4, id="in a zone of the NodePool"),
        pytest.param({"pool_zones": ("us-west-2b",)}, {}, 0, id="in another zone"),
        pytest.param({"pod_zones": ("us-west-2b",)}, {}, 0, id="in a zone that the pods may not use"),
        pytest.param({"pool_capacity_types": ("on-demand",)}, {}, 4, id="on demand"),
        pytest.param({"pool_capacity_types": ("spot",)}, {}, 0, id="spot instances fill no reservation"),
        pytest.param({"pool_capacity_types": ("spot", "on-demand")}, {}, 0, id="Karpenter asks for spot first"),
        pytest.param({"pool_capacity_types": ("reserved", "spot")}, {}, 4, id="and for what is reserved before that"),
        pytest.param({"pool_instance_types": ("inf2.xlarge", "g5.xlarge")}, {"instance_type": "g5.xlarge"}, 0, id="of another unit's type"),
        pytest.param({"pool_zones": ("us-west-2b",), "pool_held": (Held("inf2.xlarge", "cr-1", 1),)}, {}, 5, id="some run in it"),
    ],
)
def test_an_open_reservation_pays_only_what_may_be_launched_into_it(seen: dict[str, Any], reservation: dict[str, Any], paid: int) -> None:
    """EC2 lists the reservations of the account. A fleet that counts on one that it cannot use is paid in full."""
    made = _seen(_application(), reservations=(_reservation("cr-1", 4, **reservation),), **seen)
    assert [offer.paid for offer in offered(made, DEMAND, _evidence(), Memory())] == [paid, 0]


def test_a_reservation_of_two_units_is_counted_once() -> None:
    """By the one with the cheaper throughput; what only the other may use stays the other's."""
    app = _application()
    units = tuple(replace(unit, instance_types=("g5.xlarge", "inf2.xlarge")) for unit in app.units)
    shared, own = _reservation("cr-1", 4), _reservation("cr-2", 2, instance_type="g5.xlarge", targeted=True)
    made = change(_seen(replace(app, units=units), reservations=(shared, own)), CUDA, reservations=(shared, own))
    made = change(made, CUDA, pool_held=(Held("g5.xlarge", "cr-2", 1), Held("inf2.xlarge", "cr-1", 3)))
    assert [offer.paid for offer in offered(made, DEMAND, _evidence(), Memory())] == [4, 3]
    assert [offer.family for offer in offered(made, DEMAND, _evidence(), Memory())] == ["g5, inf2"] * 2


def _planned(app: Application, seen: Mapping[str, Any], judged: Mapping[str, Any], found: Mapping[str, int] | None = None) -> PlannedFleet:
    made = _seen(app, **seen)
    shown = planned(made, replace(Figures.of(made), demand=500.0), _evidence(**judged), _remembered(found or {}))
    assert shown is not None
    return shown


PRICE = {INF2: 0.7582, CUDA: 1.006}


def _price(inf2: int, cuda: int) -> float:
    return round(inf2 * PRICE[INF2] + cuda * PRICE[CUDA], 6)


@pytest.mark.parametrize(
    ("weights", "strategy", "replicas"),
    [
        pytest.param((40, 15), WeightStrategy.EXPLICIT, (4, 3), id="as written: 364 and 136 requests"),
        pytest.param((40, None), WeightStrategy.EXPLICIT, (5, 1), id="one is missing: merit order"),
        pytest.param((40, 15), WeightStrategy.MERIT_ORDER, (5, 1), id="merit order, of units that have all their replicas"),
        pytest.param((40, 15), WeightStrategy.READY_PROPORTIONAL, (3, 5), id="half each"),
    ],
)
def test_the_price_of_the_weights_of_the_application_file(
    weights: tuple[int, int | None], strategy: WeightStrategy, replicas: tuple[int, int]
) -> None:
    """The report says what planned fleets save beside it: a wrong price would make a person choose the wrong strategy."""
    app = _application(weight_strategy=strategy)
    app = replace(app, units=tuple(replace(unit, weight=weight) for unit, weight in zip(app.units, weights, strict=True)))
    assert round(_planned(app, {}, {}).weighted, 6) == _price(*replicas)


@pytest.mark.parametrize(
    ("seen", "judged", "found", "present", "least"),
    [
        pytest.param({}, {}, {}, (2, 2), (5, 1), id="525 and 60 requests, as one inf2 less carries 480"),
        pytest.param({"desired": 9, "pending": pods(3)}, {}, {}, (6, 2), (5, 1), id="pods that wait cost nothing, nor do starts"),
        pytest.param({}, {"shortage": Shortage.PROVEN}, {}, (2, 2), (2, 5), id="short: the other grows"),
        pytest.param({}, {}, {CUDA: 4}, (2, 2), (3, 4), id="a person wants four"),
        pytest.param({"scaler": _scaler(min_replicas=7, floor_ours=False)}, {}, {}, (2, 2), (7, 1), id="a person wants seven now"),
    ],
)
def test_the_price_of_what_runs_and_of_the_optimum(
    seen: Mapping[str, Any], judged: Mapping[str, Any], found: Mapping[str, int], present: tuple[int, int], least: tuple[int, int]
) -> None:
    """The report measures the fleets by both: the optimum with hindsight pays for no start and no headroom."""
    shown = _planned(_application(), seen, judged, found)
    assert (round(shown.present, 6), round(shown.least, 6)) == (_price(*present), _price(*least))


def test_what_a_fleet_is_planned_for() -> None:
    """The demand, and the share of it that must be left without a family."""
    shown = _planned(_application(resilience_share=0.4), {}, {})
    assert (shown.expected, shown.shortfall, shown.live, shown.missed) == (500.0, None, False, frozenset())
    assert shown.needs == Needs(pytest.approx(500.0), pytest.approx(200.0))  # type: ignore[arg-type]  # equal to floats
    assert shown.fleet.carried >= 500.0
    assert min(shown.fleet.left.values()) >= 200.0


def test_the_headroom_is_what_forecasts_fell_short_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth here, and never far above the present demand."""
    app = _application(resilience_share=0.4)
    history = DemandHistory((), (Outcome(100.0, 110.0),) * 8, (None,) * SLOTS)
    shown = planned(_seen(app), replace(Figures.of(_seen(app)), demand=500.0), _evidence(), Memory(demand_history=history))
    assert shown is not None
    assert shown.expected == pytest.approx(550.0)
    assert shown.needs == Needs(pytest.approx(550.0), pytest.approx(220.0))  # type: ignore[arg-type]  # equal to floats
    above_scaler(monkeypatch, 0.04)
    bounded = planned(_seen(app), replace(Figures.of(_seen(app)), demand=500.0), _evidence(), Memory(demand_history=history))
    assert bounded is not None
    assert bounded.needs.demand == pytest.approx(520.0)


def test_a_fleet_is_ready_for_what_comes_within_a_cold_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the slowest unit: replicas that are requested once the load is there come ten minutes late."""
    app = _application(resilience_share=0.0)
    app = replace(app, units=tuple(replace(unit, cold_start_s=900.0 if unit.name == CUDA else 450.0) for unit in app.units))
    seen = _seen(app)
    lasting = Damping(1e9, 1e9)
    rising = DemandHistory((NotedDemand(NOW - 900, 400.0, 400.0),), (Outcome(100.0, 110.0),) * 8, (None,) * SLOTS, lasting)
    figures = replace(Figures.of(seen), demand=500.0)
    shown = planned(seen, figures, _evidence(), Memory(demand_history=rising))
    assert shown is not None
    assert shown.expected == pytest.approx(660.0), "100 more in 900 s, and a tenth on top"
    assert shown.shortfall == pytest.approx(0.1)
    above_scaler(monkeypatch, 0.2)
    bounded = planned(seen, figures, _evidence(), Memory(demand_history=rising))
    assert bounded is not None
    assert bounded.expected == pytest.approx(600.0)
    # The scaler of inf2 asks for 4, and a fifth of the present demand is one more.
    assert bounded.fleet.replicas == {INF2: 5, CUDA: 2}


@pytest.mark.parametrize(
    ("ready", "judged", "missed"),
    [
        pytest.param(2, {"shortage": Shortage.PROVEN}, {INF2}, id="the fleet would have four"),
        pytest.param(4, {"shortage": Shortage.PROVEN}, set(), id="it has them"),
        pytest.param(3, {"last_refusal_at": NOW}, {INF2}, id="its return is not proven"),
        pytest.param(2, {"shortage": Shortage.SUSPECTED}, set(), id="perhaps short: it may still grow"),
    ],
)
def test_what_the_fleet_misses(ready: int, judged: Mapping[str, Any], missed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what it misses has a pod that waits, so that Karpenter asks again: a pod that nobody wants would be paid once it fits."""
    above_scaler(monkeypatch, 0.2)
    app = _application(planned_mode=PlannedMode.LIVE, resilience_share=0.0)
    # The scaler of inf2 asks for 3, and a tenth of the demand is one more: 4 of its replicas and 2 of the others carry 540.
    seen = {"ready": ready, "desired": ready, "demand": Sample(300.0, NOW)}
    shown = _planned(app, seen, {"ready": ready, **judged})
    assert shown.live
    assert shown.missed == missed


def _shown(replicas: Mapping[str, int], carried: float, left: Mapping[str, float], **changes: Any) -> PlannedFleet:
    fleet = Fleet(replicas, 4.8, 4.8, 4.8, carried, left, short=False)
    return replace(PlannedFleet(500.0, None, Needs(525.0, 200.0), fleet, 4.0, live=True), **changes)


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        pytest.param(
            _shown({INF2: 5, CUDA: 2}, 525.0, {"inf2": 200.0, "g5": 405.0}),
            "5 sd21-inf2 (2 ready), 2 sd21-g5-cuda for 500 requests a period: $4.00/h → $4.80/h (+20 %); "
            "without any one family it carries at least 40% of the demand",
            id="enough",
        ),
        pytest.param(
            _shown({INF2: 2}, 524.0, {"inf2": 199.0, "g5": 100.0}, shortfall=0.125, forecast="the smoothed demand", loss=1_234.5),
            "2 sd21-inf2 for 500 requests a period (by the smoothed demand, lately with a weighted error of 1,234; "
            "nine of ten such forecasts fell short by at most 12%): "
            "$4.00/h → $4.80/h (+20 %); "
            "no more may be had within the limits, and it carries 524 of 525 with headroom"
            "; without inf2 it carries 40% of the demand; without g5 it carries 20% of the demand",
            id="too little",
        ),
        pytest.param(
            _shown({INF2: 5, CUDA: 2}, 525.0, {"inf2": 200.0, "g5": 405.0}, shortfall=-0.25, forecast="the last demand", loss=0.4),
            "5 sd21-inf2 (2 ready), 2 sd21-g5-cuda for 500 requests a period "
            "(by the last demand, lately with a weighted error of 0; nine of ten such forecasts were too high by at least 25%): "
            "$4.00/h → $4.80/h (+20 %); without any one family it carries at least 40% of the demand",
            id="forecasts are too high",
        ),
        pytest.param(
            _shown({INF2: 2}, 210.0, {"inf2": 0.0}, expected=0.0, needs=Needs(0.0, 0.0)),
            "2 sd21-inf2 for 0 requests a period: $4.00/h → $4.80/h (+20 %)",
            id="no demand",
        ),
    ],
)
def test_a_fleet_in_words(shown: PlannedFleet, words: str) -> None:
    """These words are all that a person sees of it before floors follow: what it runs, its price, and what a loss would leave."""
    assert planned_words(shown, _evidence()) == words


def test_the_verb_of_a_fleet() -> None:
    """Nobody may take a plan for what runs."""
    shown = _shown({}, 0.0, {})
    assert planned_verb(shown) == "runs"
    assert planned_verb(replace(shown, live=False, held="x")) == "would run"
    assert planned_verb(replace(shown, held="x")) == "does not change floors, because x; would run"
