"""Situations in which a shortage is proven, or something only resembles one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.policy.model import Cause, PolicySettings, Proof, Verb
from controller.policy.reasons import Reason
from failover_analysis.fuzz import objects
from failover_analysis.fuzz.claims import Claim, Pod
from failover_analysis.fuzz.world import Closed, PoolPlan, UnitPlan
from failover_testbed.capacity.ec2 import Offering
from tests.situations.situation import BEGIN_S, EVERY, G5, INF2, NEVER_S, A, B, C, Changed, Expected, Situation, out, world

if TYPE_CHECKING:
    from tests.situations.stage import Stage

INF2_OUT: Final = out("inf2.xlarge")
ALWAYS: Final = ((0.0, 1e9),)
SPOT_FIRST: Final = PoolPlan("inf2", ("inf2.xlarge",), ("on-demand", "spot"))
BOTH_KINDS: Final = ("on-demand", "spot")


def failover(earliest: float, latest: float, reason: Reason = Reason.SHORTAGE_PROVEN) -> tuple[Changed, ...]:
    """A failover, and nothing else."""
    return (Changed(Verb.FAILOVER, reason, earliest, latest),)


def short(proof: Proof, earliest: float, latest: float, *alerts: str, reason: Reason = Reason.RETURN_UNPROVEN) -> Expected:
    """Unit inf2 is proven short, and the mode changes between these times."""
    return Expected(reason, {"inf2": proof}, failover(earliest, latest), frozenset(alerts))


def calm(reason: Reason = Reason.DEMAND_MET, *alerts: str) -> Expected:
    """Nothing is proven and nothing is changed."""
    return Expected(reason, alerts=frozenset(alerts))


def taken_back(*zones: str) -> dict[Offering, tuple[Closed, ...]]:
    """EC2 takes the spot instances in some zones back when the trouble begins, and has none any more."""
    return {Offering("inf2.xlarge", zone, "spot"): (Closed(BEGIN_S, BEGIN_S + NEVER_S, interrupts=True),) for zone in zones}


_PROOF: Final = "A pod waits, and EC2 refuses"
_GRANTED: Final = world(
    replace(INF2, replicas=((0.0, 4), (BEGIN_S, 14))),
    G5,
    zones_known=False,
    sold={"inf2.xlarge": (A,), "g5.xlarge": (A,)},
    closed=out("inf2.xlarge", left=1, every_s=150.0),
)
PROOFS: Final = (
    Situation(
        "all zones, one answer",
        _PROOF,
        "EC2 refuses all three zones in one answer.",
        world(closed=INF2_OUT, one_zone=False),
        short(Proof.SATURATED, 10, 30),
    ),
    Situation(
        "all zones, one a call",
        _PROOF,
        "EC2 refuses one zone a call, and all three are out.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
    ),
    Situation(
        "zones not known",
        _PROOF,
        "The same, and the zones are not known (no EC2 permission, no zones in the application file).",
        world(closed=INF2_OUT, zones_known=False),
        short(Proof.SATURATED, 40, 55),
    ),
    Situation(
        "sold in one zone",
        _PROOF,
        "EC2 sells the type in one zone only, and refuses it there.",
        world(closed=INF2_OUT, sold={"inf2.xlarge": (A,), "g5.xlarge": (A, B, C)}),
        short(Proof.NAMED, 10, 20),
    ),
    Situation("one zone", _PROOF, "One of three zones is out.", world(closed=out("inf2.xlarge", zones=(A,))), calm()),
    Situation("two zones", _PROOF, "Two of three zones are out.", world(closed=out("inf2.xlarge", zones=(A, B))), calm()),
    Situation(
        "spot out",
        _PROOF,
        "The NodePool allows spot and on-demand. Spot is out, on-demand is not.",
        world(pools=(SPOT_FIRST,), closed=out("inf2.xlarge", kinds=("spot",))),
        calm(),
    ),
    Situation(
        "spot and on-demand out",
        _PROOF,
        "The NodePool allows spot and on-demand, and both are out.",
        world(pools=(SPOT_FIRST,), closed=out("inf2.xlarge", kinds=BOTH_KINDS)),
        short(Proof.NAMED, 40, 120),
    ),
    Situation(
        "spot interrupted",
        _PROOF,
        "EC2 takes back all spot nodes of a unit that may have nothing else, and has none for its pods.",
        world(
            replace(INF2, replicas=((0.0, 1), (10.0, 5))),
            G5,
            pools=(PoolPlan("inf2", ("inf2.xlarge",), ("spot",)),),
            sold={"inf2.xlarge": (A,), "g5.xlarge": (A, B, C)},
            closed=taken_back(A),
            zones_known=False,
        ),
        short(Proof.SATURATED, 10, 20),
    ),
    Situation(
        "spot interrupted in one zone",
        _PROOF,
        "The same in one of three zones.",
        world(
            replace(INF2, replicas=((0.0, 1), (10.0, 5))),
            G5,
            pools=(PoolPlan("inf2", ("inf2.xlarge",), ("spot",)),),
            closed=taken_back(A),
        ),
        calm(),
    ),
    Situation(
        "spot quota",
        _PROOF,
        "The NodePool allows spot and on-demand. The account's quota for spot is used up.",
        world(pools=(SPOT_FIRST,), closed=out("inf2.xlarge", kinds=("spot",)), one_zone=False),
        calm(),
        codes={("inf2", "spot"): "MaxSpotInstanceCountExceeded"},
    ),
    Situation(
        "partial grants",
        _PROOF,
        "Ten more replicas are requested, and EC2 grants one every 150 s and refuses the others.",
        _GRANTED,
        short(Proof.SATURATED, 20, 40),
        units={"inf2": {"weight": 40}},
    ),
    Situation(
        "partial grants, NodeClaims late",
        _PROOF,
        "The same, and each NodeClaim is delivered 4 s later than the event of its refusal.",
        replace(_GRANTED, claims_late_s=4.0),
        short(Proof.SATURATED, 20, 40),
        units={"inf2": {"weight": 40}},
    ),
    Situation(
        "events lost",
        _PROOF,
        "All zones are out, and the events of the refusals are lost: NodeClaims come and go without an instance.",
        world(closed=INF2_OUT, lost={"InsufficientCapacityError": 1.0}),
        short(Proof.SATURATED, 30, 90),
    ),
    Situation(
        "most events lost",
        _PROOF,
        "The same, and those of `NoCompatibleInstanceTypes` and `FailedScheduling` are lost as well.",
        world(closed=INF2_OUT, lost=dict.fromkeys(("InsufficientCapacityError", "NoCompatibleInstanceTypes", "FailedScheduling"), 1.0)),
        calm(Reason.SHORTAGE_SUSPECTED, "silent/inf2"),
    ),
    Situation(
        "zone of the application file",
        _PROOF,
        "The application file pins the unit to one zone, and that zone is out.",
        world(closed=out("inf2.xlarge", zones=(A,)), sold={"inf2.xlarge": (A,), "g5.xlarge": (A, B, C)}),
        short(Proof.NAMED, 10, 20),
        units={"inf2": {"zones": (A,)}},
    ),
    Situation(
        "one zone, and nowhere else",
        _PROOF,
        "One of three zones is out, and the waiting pods may run there only: a volume, or hard topology spread.",
        world(closed=out("inf2.xlarge", zones=(A,))),
        short(Proof.SATURATED, 10, 40),
        zones={"inf2": (A,)},
    ),
    Situation(
        "refused through another NodePool",
        _PROOF,
        "All zones are out. Another unit of the same type was refused through its own NodePool 20 s earlier.",
        world(replace(INF2, name="other", pools=("other",), replicas=((0.0, 4), (BEGIN_S - 20, 6))), INF2, G5, closed=INF2_OUT),
        Expected(Reason.RETURN_UNPROVEN, {"other": Proof.NAMED, "inf2": Proof.NAMED}, failover(0, 30), frozenset({"mostly-short"})),
    ),
    Situation(
        "asked too late",
        _PROOF,
        "All zones are out, but EC2 has capacity again after 25 s. Karpenter does not ask before its cache expires.",
        world(closed=out("inf2.xlarge", until=25.0)),
        short(Proof.NAMED, 30, 40, reason=Reason.NOT_QUIET),
        length_s=500.0,
    ),
)


def _without_plugin(stage: Stage) -> None:
    stage.cluster.unusable = True


_BOOTS: Final = "A pod waits for a node that comes"
BOOTS: Final = (
    Situation(
        "slow boot",
        _BOOTS,
        "EC2 launches at once, the nodes take 5 min to become usable, and latency is beyond its limit meanwhile.",
        world(replace(INF2, slow=ALWAYS), G5, boot_s=(300.0, 320.0)),
        calm(),
    ),
    Situation(
        "refused, then launched",
        _BOOTS,
        "Two zones are out, the third launches, and the node takes 5 min to become usable.",
        world(closed=out("inf2.xlarge", zones=(A, B)), boot_s=(300.0, 320.0)),
        calm(),
    ),
    Situation(
        "never registers",
        _BOOTS,
        "EC2 launches, but no instance ever becomes a node.",
        world(boot_s=(5000.0, 5001.0)),
        calm(Reason.WAITING_IS_NORMAL, "unjoined/inf2"),
        length_s=1800.0,
    ),
    Situation(
        "never usable",
        _BOOTS,
        "EC2 launches, the nodes join, and none becomes usable: no device plugin runs.",
        world(),
        calm(Reason.WAITING_IS_NORMAL, "unusable/inf2"),
        steps=((-10.0, _without_plugin),),
        length_s=6000.0,
    ),
    Situation(
        "limit by its own node",
        _BOOTS,
        "The nodes that boot for the waiting pods bring the NodePool to its limit.",
        world(pools=(PoolPlan("inf2", ("inf2.xlarge",), limit=2),), boot_s=(280.0, 300.0)),
        calm(),
    ),
)


def _unpaid(stage: Stage) -> None:
    stage.cluster.stopped = True


_TWO_SIZES: Final = ("inf2.xlarge", "inf2.8xlarge")
_CAUSE: Final = "A pod waits for another reason"
CAUSES: Final = (
    Situation(
        "limit",
        _CAUSE,
        "The NodePool is at its limit (`spec.limits`) and the demand needs one node more (`failoverUtilization: 0`).",
        world(pools=(PoolPlan("inf2", ("inf2.xlarge",), limit=1),)),
        short(Proof.AGE, 240, 270, "cause/inf2/quota"),
        policy=EVERY,
    ),
    Situation(
        "quota",
        _CAUSE,
        "The account's vCPU quota is used up (create error `VCPULimitExceeded`; `failoverUtilization: 0`).",
        world(),
        short(Proof.SATURATED, 60, 90, "cause/inf2/quota"),
        quotas={"inf2": 5},
        policy=EVERY,
    ),
    Situation(
        "quota absorbed",
        _CAUSE,
        "The account's vCPU quota leaves one replica of six without a node, and the others can serve its part.",
        world(),
        Expected(Reason.SHORTAGE_ABSORBED, {"inf2": Proof.SATURATED}, (), frozenset({"cause/inf2/quota", "held/ShortageAbsorbed"})),
        quotas={"inf2": 5},
    ),
    Situation(
        "a demand from before the rise",
        _CAUSE,
        "The same quota, and the demand rises to ten replicas at once. CloudWatch shows the demand from before, which others could serve.",
        world(replace(INF2, replicas=((0.0, 4), (BEGIN_S, 10))), G5),
        short(Proof.SATURATED, 60, 90, "cause/inf2/quota"),
        steps=((-5.0, lambda stage: stage.sample(held=True)), (240.0, lambda stage: stage.sample(held=False))),
        quotas={"inf2": 5},
    ),
    Situation(
        "quota that may not",
        _CAUSE,
        "The same, and `tripCauses` does not name `quota`.",
        world(),
        Expected(Reason.CAUSE_NOT_ALLOWED, {"inf2": Proof.SATURATED}, (), frozenset({"cause/inf2/quota", "held/CauseNotAllowed"})),
        quotas={"inf2": 5},
        policy=PolicySettings(trip_causes=frozenset({Cause.CAPACITY})),
    ),
    Situation(
        "subnets",
        _CAUSE,
        "The subnets have no free addresses (create error `InsufficientFreeAddressesInSubnet`).",
        world(),
        short(Proof.AGE, 240, 270, "cause/inf2/network"),
        create_errors={"inf2": "InsufficientFreeAddressesInSubnet"},
    ),
    Situation(
        "image",
        _CAUSE,
        "The node's image does not exist (create error `AMINotFound`).",
        world(),
        short(Proof.AGE, 240, 270, "cause/inf2/config"),
        create_errors={"inf2": "AMINotFound"},
    ),
    Situation(
        "another error",
        _CAUSE,
        "Each launch fails with an error that says nothing more (`LaunchFailed`).",
        world(),
        short(Proof.AGE, 240, 270),
        create_errors={"inf2": "LaunchFailed"},
    ),
    Situation(
        "throttled",
        _CAUSE,
        "EC2 throttles each launch (create error `RequestLimitExceeded`).",
        world(),
        calm(Reason.WAITING_IS_NORMAL, "silent/inf2"),
        create_errors={"inf2": "RequestLimitExceeded"},
    ),
    Situation(
        "nothing compatible",
        _CAUSE,
        "The NodePool's requirements match no type that EC2 sells (`NoCompatibleInstanceTypes`, no refusal).",
        world(sold={"inf2.xlarge": (), "g5.xlarge": (A, B, C)}),
        calm(Reason.WAITING_IS_NORMAL, "config/inf2"),
    ),
    Situation(
        "Karpenter is down",
        _CAUSE,
        "Karpenter does not run.",
        world(),
        calm(Reason.WAITING_IS_NORMAL, "silent/inf2"),
        steps=((-30.0, _unpaid),),
    ),
    Situation(
        "Karpenter stops after a refusal",
        _CAUSE,
        "All zones are out for 3 s, and one refuses. Karpenter stops before it asks again.",
        world(closed=out("inf2.xlarge", until=3.0), idle=((BEGIN_S + 4.0, NEVER_S),)),
        calm(Reason.SHORTAGE_SUSPECTED, "silent/inf2"),
        length_s=350.0,
    ),
    Situation(
        "Karpenter runs again",
        _CAUSE,
        "Karpenter does not run for 5 min. Then spot is out in three zones for two instance types, and on-demand is not.",
        world(
            replace(INF2, types=_TWO_SIZES),
            G5,
            pools=(PoolPlan("inf2", _TWO_SIZES, BOTH_KINDS),),
            closed=out(*_TWO_SIZES, kinds=("spot",)),
            idle=((BEGIN_S - 20.0, BEGIN_S + 300.0),),
        ),
        calm(Reason.DEMAND_MET, "silent/inf2"),
    ),
)

_PROPORTION: Final = "The others can serve what is missing"
PROPORTION: Final = (
    Situation(
        "one of twenty",
        _PROPORTION,
        "A unit has 19 replicas and asks for one more. All zones are out.",
        world(replace(INF2, replicas=((0.0, 19), (BEGIN_S, 20))), replace(G5, replicas=((0.0, 3),)), closed=INF2_OUT),
        Expected(Reason.SHORTAGE_ABSORBED, {"inf2": Proof.NAMED}, (), frozenset({"held/ShortageAbsorbed"})),
        units={"inf2": {"weight": 87}, "g5": {"weight": 13}},
    ),
    Situation(
        "light unit",
        _PROPORTION,
        "A unit that carries a twentieth of the traffic asks for two replicas more. All zones are out.",
        world(closed=INF2_OUT),
        Expected(Reason.SHORTAGE_ABSORBED, {"inf2": Proof.NAMED}, (), frozenset({"held/ShortageAbsorbed"})),
        units={"inf2": {"weight": 5}, "g5": {"weight": 95}},
    ),
    Situation(
        "light unit, every shortage",
        _PROPORTION,
        "The same, and `failoverUtilization` is 0.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
        policy=EVERY,
        units={"inf2": {"weight": 5}, "g5": {"weight": 95}},
    ),
)

_SLOW: Final = "Users notice it"
SLOW: Final = (
    Situation(
        "short and slow",
        _SLOW,
        "All zones are out, and the latency of the short unit is beyond its limit.",
        world(replace(INF2, slow=ALWAYS), G5, closed=INF2_OUT),
        Expected(Reason.RETURN_UNPROVEN, {"inf2": Proof.NAMED}, failover(20, 30, Reason.SLO_BREACHED)),
    ),
    Situation(
        "another unit is slow",
        _SLOW,
        "All zones are out, and the latency of another unit is beyond its limit.",
        world(INF2, replace(G5, slow=ALWAYS), closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
    ),
    Situation(
        "short, with errors",
        _SLOW,
        "All zones are out, and 5 % of the requests fail.",
        world(closed=INF2_OUT, errors=ALWAYS),
        short(Proof.NAMED, 30, 40),
    ),
    Situation(
        "suspected and slow",
        _SLOW,
        "One of three zones is out, latency is beyond its limit, and 5 % of the requests fail.",
        world(replace(INF2, slow=ALWAYS), G5, closed=out("inf2.xlarge", zones=(A,)), errors=ALWAYS),
        calm(),
    ),
    Situation(
        "limit and slow",
        _SLOW,
        "The NodePool is at its limit, and latency is beyond its limit.",
        world(replace(INF2, slow=ALWAYS), G5, pools=(PoolPlan("inf2", ("inf2.xlarge",), limit=1),)),
        short(Proof.AGE, 240, 270, "cause/inf2/quota"),
    ),
)

X = UnitPlan("x", ("nvidia",), ("g5.xlarge",), pinned=True, replicas=((0.0, 4), (BEGIN_S, 6)))
Y = replace(X, name="y", types=("g6.xlarge",))
NVIDIA: Final = PoolPlan("nvidia", ("g5.xlarge", "g6.xlarge"))
EITHER: Final = UnitPlan("inf2", ("inf2", "inf2b"), ("inf2.xlarge", "inf2.8xlarge"), pinned=False, replicas=INF2.replicas)
EITHER_POOLS: Final = (PoolPlan("inf2", ("inf2.xlarge",)), PoolPlan("inf2b", ("inf2.8xlarge",)))

LARGE: Final = replace(INF2, types=("inf2.xlarge", "inf2.8xlarge"))
FAMILY: Final = PoolPlan("inf2", LARGE.types, families=("inf2",))

TWINS: Final = UnitPlan("inf2", ("inf2", "inf2b"), ("inf2.xlarge",), pinned=False, replicas=INF2.replicas)


def _through_second(stage: Stage) -> None:
    """A node of the second NodePool, from half an hour ago."""
    pool, t = PoolPlan("inf2b", ("inf2.xlarge",)), stage.cluster.now - 1800.0
    claim = Claim("inf2b-00000", pool, Pod("old", TWINS, t), pool.types, pool.capacity_types, t, Offering("inf2.xlarge", A, "on-demand"))
    claim.steps = dict.fromkeys(("Launched", "Registered", "Initialized"), t)
    stage.cluster.emit("NodeClaim", "ADDED", objects.node_claim(claim, t))


_SHARED: Final = "Several NodePools, several units"
SHARED: Final = (
    Situation(
        "shared, one type out",
        _SHARED,
        "Two units share a NodePool, each with a type of its own. Both wait, and the type of `y` is out.",
        world(X, Y, replace(G5, name="safe", pools=("safe",), types=("safe.xlarge",)), pools=(NVIDIA,), closed=out("g6.xlarge")),
        Expected(Reason.RETURN_UNPROVEN, {"y": Proof.NAMED}, failover(30, 40)),
    ),
    Situation(
        "shared, both out",
        _SHARED,
        "The same, and both types are out.",
        world(
            X, Y, replace(G5, name="safe", pools=("safe",), types=("safe.xlarge",)), pools=(NVIDIA,), closed=out("g5.xlarge", "g6.xlarge")
        ),
        Expected(Reason.RETURN_UNPROVEN, {"x": Proof.NAMED, "y": Proof.NAMED}, failover(30, 40), frozenset({"mostly-short"})),
    ),
    Situation(
        "family, one size out",
        _SHARED,
        "The NodePool allows the whole family. The configured size is out, and a larger one serves the pods.",
        world(LARGE, G5, pools=(FAMILY,), closed=INF2_OUT),
        calm(),
    ),
    Situation(
        "family, all out",
        _SHARED,
        "The same, and all its sizes are out.",
        world(LARGE, G5, pools=(FAMILY,), closed=out(*LARGE.types)),
        short(Proof.SATURATED, 40, 120),
    ),
    Situation(
        "either, one out",
        _SHARED,
        "The pods may use two NodePools. The type of the first is out, that of the second is not.",
        world(EITHER, G5, pools=EITHER_POOLS, closed=INF2_OUT),
        calm(),
    ),
    Situation(
        "either, both out",
        _SHARED,
        "The pods may use two NodePools, and the types of both are out.",
        world(EITHER, G5, pools=EITHER_POOLS, closed=out("inf2.xlarge", "inf2.8xlarge")),
        short(Proof.SATURATED, 40, 120),
    ),
    Situation(
        "either, launches fail",
        _SHARED,
        "The pods may use two NodePools. Launches through the first, which Karpenter prefers, fail (`LaunchFailed`).",
        world(EITHER, G5, pools=EITHER_POOLS),
        short(Proof.AGE, 240, 270),
        create_errors={"inf2": "LaunchFailed"},
    ),
    Situation(
        "either, one type",
        _SHARED,
        "The pods may use two NodePools of one type, and the second launched something half an hour ago. EC2 refuses the type through the "
        "first with a code that names no type (`UnfulfillableCapacity`).",
        world(TWINS, G5, closed=INF2_OUT, one_zone=False),
        short(Proof.SATURATED, 10, 30),
        steps=((-10.0, _through_second),),
        codes={("inf2", "on-demand"): "UnfulfillableCapacity"},
    ),
    Situation(
        "either, one of no use",
        _SHARED,
        "The pods may use two NodePools. The type of the first is out, and EC2 sells that of the second nowhere.",
        world(EITHER, G5, pools=EITHER_POOLS, closed=INF2_OUT, sold={"inf2.xlarge": (A, B, C), "inf2.8xlarge": (), "g5.xlarge": (A, B, C)}),
        short(Proof.NAMED, 30, 120),
    ),
    Situation(
        "weight 0",
        _SHARED,
        "All zones are out for a unit with the weight 0.",
        world(closed=INF2_OUT),
        Expected(Reason.SHORTAGE_ABSORBED, {"inf2": Proof.NAMED}),
        units={"inf2": {"weight": 0}},
    ),
    Situation(
        "nobody else",
        _SHARED,
        "All zones are out, and there is no other unit.",
        world(INF2, closed=INF2_OUT),
        Expected(Reason.OTHER_SIDE_SHORT, {"inf2": Proof.NAMED}, (), frozenset({"held/OtherSideShort"})),
    ),
    Situation(
        "no endpoints",
        _SHARED,
        "All zones are out, and the Service of capacity mode has no ready endpoint.",
        world(closed=INF2_OUT),
        Expected(Reason.STANDBY_NOT_READY, {"inf2": Proof.NAMED}, (), frozenset({"held/StandbyNotReady"})),
        capacity_ready=False,
    ),
)


def _consolidation(stage: Stage) -> None:
    """Karpenter wants to replace a node by a cheaper one, and EC2 has none."""
    t = stage.cluster.now
    event = objects.refused("inf2-00000", [Offering("inf2.xlarge", A, "on-demand")], t)
    mark = {**event, "metadata": {"name": "mark", "namespace": "default"}, "reason": "DisruptionLaunching", "message": "launching"}
    stage.cluster.emit("Event", "ADDED", mark)
    stage.cluster.emit("Event", "ADDED", event)


_DEMAND: Final = "The demand changes"
_LEFT: Final = replace(INF2, replicas=((0.0, 4), (BEGIN_S, 6), (BEGIN_S + 20.0, 3)))
_BACK: Final = replace(INF2, replicas=((0.0, 4), (BEGIN_S, 6), (BEGIN_S + 25.0, 4), (BEGIN_S + 240.0, 6)), slow=((BEGIN_S + 100.0, 1e9),))
DEMAND: Final = (
    Situation(
        "demand leaves",
        _DEMAND,
        "All zones are out, and the demand leaves after 20 s.",
        world(_LEFT, G5, closed=INF2_OUT),
        Expected(Reason.DEMAND_MET, {"inf2": Proof.NAMED}, (), frozenset({"held/ShortageAbsorbed"})),
    ),
    Situation(
        "demand comes back",
        _DEMAND,
        "All zones are out, and the demand leaves before the patience is over. It returns after Karpenter's cache has expired, one zone is "
        "still out, and latency is beyond its limit.",
        world(_BACK, G5, closed={**out("inf2.xlarge", zones=(A,)), **out("inf2.xlarge", zones=(B, C), until=150.0)}),
        Expected(Reason.DEMAND_MET, {"inf2": Proof.NAMED}),
        units={"inf2": {"scaled_object": None}},
    ),
    Situation(
        "missing in the text",
        _DEMAND,
        "All zones are out, and the demand leaves before a proof. Of pods that come 40 s later Karpenter says why they have no place in "
        "each NodePool but theirs (`FailedScheduling`); `NoCompatibleInstanceTypes` is lost.",
        world(
            replace(INF2, replicas=((0.0, 4), (BEGIN_S, 6), (BEGIN_S + 6.0, 4), (BEGIN_S + 42.0, 6))),
            G5,
            closed=INF2_OUT,
            one_zone=False,
            lost={"NoCompatibleInstanceTypes": 1.0},
        ),
        short(Proof.SATURATED, 50, 65),
        units={"inf2": {"scaled_object": None}},
    ),
    Situation(
        "late in the cache",
        _DEMAND,
        "All zones are out for a minute, and the demand leaves before a proof. Pods that come when the refusal is nearly 3 min old have "
        "nothing available either, until Karpenter asks again.",
        world(
            replace(INF2, replicas=((0.0, 4), (BEGIN_S, 6), (BEGIN_S + 6.0, 4), (BEGIN_S + 163.0, 6))),
            G5,
            closed=out("inf2.xlarge", until=60.0),
            one_zone=False,
        ),
        calm(),
        units={"inf2": {"scaled_object": None}},
    ),
    Situation(
        "pods are replaced",
        _DEMAND,
        "All zones are out, and the waiting pods are replaced after 25 s.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
        steps=((25.0, lambda stage: stage.cluster.replace_pods("inf2")),),
    ),
    Situation(
        "consolidation",
        _DEMAND,
        "No pod waits. Karpenter wants to replace a node by a cheaper one, and EC2 refuses.",
        world(replace(INF2, replicas=((0.0, 4),)), G5),
        calm(),
        steps=((0.0, _consolidation),),
    ),
)

_CLOCKS: Final = "Clocks and restarts"
CLOCKS: Final = (
    Situation(
        "clock ahead",
        _CLOCKS,
        "All zones are out, and the controller's clock is 7 min ahead of the cluster's.",
        world(closed=INF2_OUT, ahead_s=420.0),
        short(Proof.NAMED, 30, 40, "clocks"),
    ),
    Situation(
        "clock behind",
        _CLOCKS,
        "All zones are out, and the controller's clock is 7 min behind the cluster's.",
        world(closed=INF2_OUT, ahead_s=-420.0),
        short(Proof.NAMED, 30, 40, "clocks"),
    ),
    Situation(
        "clock steps",
        _CLOCKS,
        "All zones are out, and the controller's clock steps back by an hour after 10 s.",
        world(closed=INF2_OUT, steps=((BEGIN_S + 10.0, -3600.0),)),
        short(Proof.NAMED, 30, 40, "clocks"),
    ),
    Situation(
        "another leader",
        _CLOCKS,
        "All zones are out, and another replica begins to lead after 25 s.",
        world(closed=INF2_OUT),
        short(Proof.NAMED, 30, 40),
        steps=((25.0, lambda stage: stage.restart()),),
    ),
)

SHORTAGES: Final = (*PROOFS, *BOOTS, *CAUSES, *PROPORTION, *SLOW, *SHARED, *DEMAND, *CLOCKS)
