"""Situations of capacity mode: what ends it, what does not, and what a person must hear of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.policy.model import Cause, PolicySettings, Proof, Verb
from controller.policy.reasons import Reason
from failover_analysis.fuzz.world import Closed, UnitPlan
from tests.situations.shortages import FAMILY, INF2_OUT, LARGE
from tests.situations.situation import BEGIN_S, EVERY, G5, INF2, A, Changed, Expected, Situation, out, world

if TYPE_CHECKING:
    from tests.situations.stage import Stage

QUARTER: Final = out("inf2.xlarge", until=900.0)
"""EC2 is out of inf2.xlarge for a quarter of an hour."""


def until_s(t: float, then: int) -> UnitPlan:
    """Unit inf2, whose demand asks for another number of replicas from a time on, seconds since the trouble begins."""
    return replace(INF2, replicas=(*INF2.replicas, (BEGIN_S + t, then)))


def back(
    earliest: float, latest: float, left: float = 30.0, entered: float = 40.0, reason: Reason = Reason.SHORTAGE_PROVEN
) -> tuple[Changed, ...]:
    """A failover, and a fallback between these times."""
    return (Changed(Verb.FAILOVER, reason, left, entered), Changed(Verb.FALLBACK, Reason.RETURN_PROVEN, earliest, latest))


FAILED_OVER: Final = (Changed(Verb.FAILOVER, Reason.SHORTAGE_PROVEN, 10.0, 40.0),)
NAMED: Final = {"inf2": Proof.NAMED}


def _no_more(stage: Stage) -> None:
    """A person pauses the ScaledObject, so that no canary is requested, and scales the Deployment to what the metric asks for."""
    stage.pause_scaler("inf2")
    stage.cluster.floors.pop("inf2", None)


def forgotten(stage: Stage) -> None:
    """The ConfigMap is deleted, and another replica begins to lead."""
    stage.store.lose()
    stage.restart()


def _quota_raised(stage: Stage) -> None:
    stage.cluster.quotas.clear()


_BACK: Final = "Capacity returns"
BACK: Final = (
    Situation(
        "returns",
        _BACK,
        "All zones are out for 15 min.",
        world(closed=QUARTER),
        Expected(Reason.DEMAND_MET, NAMED, back(900, 2400)),
        length_s=3000.0,
    ),
    Situation(
        "lasts",
        _BACK,
        "All zones are out for an hour.",
        world(closed=out("inf2.xlarge", until=3600.0)),
        Expected(Reason.DEMAND_MET, NAMED, back(3600, 5400)),
        length_s=6000.0,
    ),
    Situation(
        "returns as another size",
        _BACK,
        "The NodePool allows the whole family. All its sizes are out for 15 min; then only a larger one returns, which serves the pods.",
        world(LARGE, G5, pools=(FAMILY,), closed=out("inf2.xlarge") | out("inf2.8xlarge", until=900.0)),
        Expected(Reason.DEMAND_MET, {"inf2": Proof.SATURATED}, back(900, 2400, 40.0, 120.0)),
        length_s=3000.0,
    ),
    Situation(
        "refused again",
        _BACK,
        "All zones are out for 15 min, and again from the 20th to the 30th minute.",
        world(
            until_s(1200.0, 9),
            G5,
            closed={key: (Closed(0.0, BEGIN_S + 900.0), Closed(BEGIN_S + 1200.0, BEGIN_S + 1800.0)) for key in INF2_OUT},
        ),
        Expected(Reason.DEMAND_MET, NAMED, back(2300, 3600)),
        length_s=4000.0,
    ),
    Situation(
        "flap",
        _BACK,
        "All zones are out for 15 min, and again soon after the fallback.",
        world(
            replace(INF2, replicas=(*INF2.replicas, (BEGIN_S + 1500.0, 9))),
            G5,
            closed={key: (Closed(0.0, BEGIN_S + 900.0), Closed(BEGIN_S + 1500.0, BEGIN_S + 2400.0)) for key in INF2_OUT},
        ),
        Expected(
            Reason.DEMAND_MET,
            NAMED,
            (
                *back(900, 1500),
                Changed(Verb.FAILOVER, Reason.SHORTAGE_PROVEN, 1510, 1700),
                Changed(Verb.FALLBACK, Reason.RETURN_PROVEN, 3000, 4200),
            ),
            frozenset({"held/ShortageAbsorbed"}),
        ),
        length_s=5000.0,
    ),
    Situation(
        "partly granted",
        _BACK,
        "Ten more replicas are requested, and EC2 grants one every 150 s and refuses the others.",
        world(
            replace(INF2, replicas=((0.0, 4), (BEGIN_S, 14))),
            G5,
            sold={"inf2.xlarge": (A,), "g5.xlarge": (A,)},
            closed=out("inf2.xlarge", left=1, every_s=150.0),
        ),
        Expected(Reason.RETURN_UNPROVEN, NAMED, FAILED_OVER),
        units={"inf2": {"weight": 40}},
    ),
)

_LESS: Final = "The demand falls in capacity mode"
LESS: Final = (
    Situation(
        "night",
        _LESS,
        "All zones stay out, and the demand falls after 15 min to what the replicas can serve.",
        world(until_s(900.0, 1), G5, closed=INF2_OUT),
        Expected(Reason.DEMAND_MET, NAMED, back(900, 2400)),
        length_s=3000.0,
    ),
    Situation(
        "quota at night",
        _LESS,
        "The account's quota allows 5 instances, and the demand falls after 15 min to 2 (`failoverUtilization: 0`).",
        world(until_s(900.0, 2), G5),
        Expected(Reason.DEMAND_MET, {"inf2": Proof.SATURATED}, back(900, 2400, 60, 90), frozenset({"cause/inf2/quota"})),
        quotas={"inf2": 5},
        policy=EVERY,
        length_s=3000.0,
    ),
    Situation(
        "quota raised",
        _LESS,
        "The account's quota allows 5 instances, and a person raises it after 15 min (`failoverUtilization: 0`).",
        world(),
        Expected(Reason.DEMAND_MET, {"inf2": Proof.SATURATED}, back(900, 2400, 60, 90), frozenset({"cause/inf2/quota"})),
        quotas={"inf2": 5},
        policy=EVERY,
        steps=((900.0, _quota_raised),),
        length_s=3000.0,
    ),
)

OTHER: Final = replace(INF2, name="trn1", pools=("trn1",), types=("trn1.xlarge",), replicas=((0.0, 1), (BEGIN_S, 2)))
FIVE: Final = tuple(
    replace(INF2, name=f"u{number}", pools=(f"u{number}",), types=(f"u{number}.xlarge",), replicas=((0.0, 2), (BEGIN_S, 3)))
    for number in range(1, 5)
)

_HELD: Final = "What holds a fallback, and what does not"
HELD: Final = (
    Situation(
        "weight 0 stays out",
        _HELD,
        "All zones are out for 15 min. Those of a unit with the weight 0 stay out.",
        world(INF2, OTHER, G5, closed={**QUARTER, **out("trn1.xlarge")}),
        units={"trn1": {"weight": 0}},
        expected=Expected(Reason.SHORTAGE_ABSORBED, {"inf2": Proof.NAMED, "trn1": Proof.NAMED}, back(900, 2400)),
        length_s=3000.0,
    ),
    Situation(
        "quota that may not stays",
        _HELD,
        "All zones are out for 15 min. Another unit stays at its quota, and `tripCauses` does not name `quota`.",
        world(INF2, OTHER, G5, closed=QUARTER),
        quotas={"trn1": 1},
        units={"trn1": {"weight": 10}},
        policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY})),
        length_s=3000.0,
        expected=Expected(
            Reason.CAUSE_NOT_ALLOWED,
            {"inf2": Proof.NAMED, "trn1": Proof.SATURATED},
            back(900, 2400),
            frozenset({"cause/trn1/quota", "mostly-short", "held/CauseNotAllowed"}),
        ),
    ),
    Situation(
        "wrong image stays",
        _HELD,
        "All zones are out for 15 min. The image of another unit does not exist, and pods wait for it all the time.",
        world(INF2, OTHER, G5, closed=QUARTER),
        create_errors={"trn1": "AMINotFound"},
        units={"trn1": {"weight": 10}},
        expected=Expected(
            Reason.RETURN_UNPROVEN, {"inf2": Proof.NAMED, "trn1": Proof.AGE}, FAILED_OVER, frozenset({"cause/trn1/config", "mostly-short"})
        ),
        length_s=3000.0,
    ),
    Situation(
        "forgotten",
        _HELD,
        "In capacity mode the controller's memory is deleted, and all zones stay out.",
        world(closed=INF2_OUT),
        Expected(Reason.RETURN_UNPROVEN, NAMED, FAILED_OVER),
        steps=((600.0, forgotten),),
        length_s=3000.0,
    ),
    Situation(
        "forgotten, back",
        _HELD,
        "The same, and capacity returns after 15 min.",
        world(closed=QUARTER),
        Expected(Reason.DEMAND_MET, NAMED, back(900, 2400)),
        steps=((600.0, forgotten),),
        length_s=3000.0,
    ),
    Situation(
        "not asked",
        _HELD,
        "A person pauses the unit's ScaledObject, and the demand falls to what is ready: nothing asks EC2 any more.",
        world(until_s(600.0, 4), G5, closed=INF2_OUT),
        Expected(Reason.RETURN_UNPROVEN, NAMED, FAILED_OVER, frozenset({"unproven/inf2", "fixed/inf2"})),
        steps=((300.0, _no_more),),
        length_s=5000.0,
    ),
    Situation(
        "four of five",
        _HELD,
        "All zones are out for four of five units.",
        world(*FIVE, G5, closed=out(*(unit.types[0] for unit in FIVE))),
        Expected(Reason.RETURN_UNPROVEN, {unit.name: Proof.NAMED for unit in FIVE}, FAILED_OVER, frozenset({"mostly-short"})),
    ),
)

RETURNS: Final = (*BACK, *LESS, *HELD)
