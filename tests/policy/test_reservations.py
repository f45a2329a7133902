"""Capacity Blocks that end: replicas are planned elsewhere, traffic moves, no fallback relies on them, and people are warned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.alert_kinds import AlertKind
from controller.policy.evidence import Ages
from controller.policy.evidence.proof import Allowed, examine
from controller.policy.model import (
    ActionKind,
    Alert,
    Cause,
    Held,
    Memory,
    Mode,
    PendingPod,
    Proof,
    Refusal,
    Reservation,
    Return,
    Sample,
    Snapshot,
    Source,
    UnitMemory,
    Verb,
)
from controller.policy.reasons import Reason
from controller.policy.routing import awaited, drained_at, ending_details, endings, held_words, leaving, moments, unknown_ends
from controller.policy.routing.reservations import DRAINED_S, LAUNCHED_S, MOVED_S, RECLAIMED_S, SHOWN_S, ULTRA_RECLAIMED_S, Ending
from controller.policy.text import date_time
from controller.routing.conclusion import conclude
from tests.policy.support import G6, INF2, TRN1, change, decide, pods, replicas, scaler
from tests.support.applications import NOW, alert_of, memory, snapshot

ROWS = {AlertKind.RESERVATION, AlertKind.RESERVATION_END, AlertKind.RESERVED}

HOUR = 3600.0
ENDS_AT = NOW + 4 * HOUR
DRAINED_AT = ENDS_AT - 40 * 60
MOVES_AT = DRAINED_AT - 17 * 60
COLD_S = 600.0  # the default cold start
PREPARED_AT = MOVES_AT - 1.5 * COLD_S - LAUNCHED_S

BLOCK = Reservation("cr-1", "inf2.xlarge", "us-west-2a", total=2, block=True, targeted=True, ends_at=ENDS_AT)


def on_block(now: float = NOW, nodes: int = 2, others: int = 0, block: Reservation = BLOCK, **changes: Any) -> Snapshot:
    """inf2 with its nodes in a Capacity Block; all units have two ready replicas, and some demand."""
    plain = snapshot()
    made = replace(plain, now=now, sources=tuple(replace(one, last_ok=now) for one in plain.sources))
    for name in (INF2, TRN1, G6):
        made = change(made, name, scaler=scaler(name), demand=Sample(100, now))
    held = (Held("inf2.xlarge", "cr-1", nodes, block=True), *((Held("inf2.xlarge", "", others),) if others else ()))
    return change(made, INF2, **{"pool_held": held, "reservations": (block,), "blocks": (block,), **changes})


def weights(made: Snapshot, remembered: Memory | None = None) -> dict[str, int]:
    decision = decide(remembered or memory(), made)[1]
    return {target.service: target.weight for target in decision.targets}


def alert(made: Snapshot, key: str) -> Alert | None:
    return next((one for one in decide(memory(), made)[1].alerts if one.key.startswith(key)), None)


@pytest.mark.parametrize(("at", "counts"), [(PREPARED_AT - 1, 0), (PREPARED_AT, 2), (MOVES_AT, 2)])
def test_replicas_of_a_block_that_ends_count_no_more_once_others_are_planned(at: float, counts: int) -> None:
    """Else the others would be planned for too little, and users wait when the block's nodes go."""
    judged = decide(memory(), on_block(at))[1].evidence[INF2]
    assert (judged.leaving, judged.can_serve) == (counts, counts == 0)


# --- the times ----------------------------------------------------------------------------------------------------------------------------


def test_the_times_follow_from_the_end() -> None:
    """EC2 terminates from 30 min before the end, Karpenter drains 10 min before that, and traffic has left 10 min earlier."""
    made = on_block()
    (one,) = endings(made.application, made.application.unit(INF2), made.units[INF2])
    assert (one.drained_at, one.moves_at, one.prepared_at) == (DRAINED_AT, MOVES_AT, PREPARED_AT)
    assert one.drained_at == ENDS_AT - RECLAIMED_S - DRAINED_S
    assert one.drained_at - one.moves_at == MOVED_S + SHOWN_S >= 600 + 375


def test_an_ultra_server_goes_earlier() -> None:
    """An hour before the end of its block."""
    block = replace(BLOCK, instance_type="trn2u.48xlarge")
    made = change(
        on_block(), INF2, blocks=(block,), pod_instance_types=("trn2u.48xlarge",), pool_held=(Held("trn2u.48xlarge", "cr-1", 2, True),)
    )
    (one,) = endings(made.application, made.application.unit(INF2), made.units[INF2])
    assert one.drained_at == ENDS_AT - ULTRA_RECLAIMED_S - DRAINED_S


@pytest.mark.parametrize(
    ("now", "planned", "expected"),
    [
        (PREPARED_AT - 1, True, 0),
        (PREPARED_AT, True, 2),
        (MOVES_AT - 1, False, 0),
        (MOVES_AT, False, 2),
        (DRAINED_AT + 600, False, 2),
        (ENDS_AT + HOUR, False, 0),
    ],
)
def test_replicas_stop_counting_at_their_time(now: float, planned: bool, expected: int) -> None:
    """First for plans, then for traffic, until the nodes are gone; long after the end what still runs is believed."""
    assert leaving(on_block(now), INF2, planned=planned) == expected
    assert leaving(on_block(now), TRN1, planned=planned) == 0


def test_only_the_part_on_the_block_goes() -> None:
    """One of three nodes: of two ready replicas one at most may run on it."""
    assert leaving(on_block(MOVES_AT, nodes=1, others=2), INF2) == 1
    assert leaving(on_block(MOVES_AT, nodes=1, others=2, ready=6), INF2) == 2
    assert leaving(on_block(MOVES_AT, nodes=1), INF2) == 2, "two replicas on one node, which goes"
    assert leaving(on_block(MOVES_AT, ready=0), INF2) == 0


def test_the_evidence_says_what_instances_run_in() -> None:
    """With its end, where that is known; the ready replicas stay those that are ready."""
    judged = decide(memory(), on_block(MOVES_AT))[1].evidence[INF2]
    assert any(one.startswith("NodePool inf2: 2 instance(s) in Capacity Block cr-1, which ends at ") for one in judged.facts)
    assert (judged.ready, judged.leaving, judged.lasting) == (2, 2, 0)
    unknown = decide(memory(), on_block(MOVES_AT, blocks=(), reservations=None))[1].evidence[INF2]
    assert "NodePool inf2: 2 instance(s) in Capacity Block cr-1" in unknown.facts


def test_a_reservation_that_is_no_block_takes_nothing_away() -> None:
    """Its instances go on as on-demand ones."""
    assert leaving(on_block(MOVES_AT, block=replace(BLOCK, block=False)), INF2) == 0


# --- what is done -------------------------------------------------------------------------------------------------------------------------


def test_nothing_is_done_long_before() -> None:
    """The weights as written, and a check at the time at which that changes."""
    made = on_block(PREPARED_AT - 100)
    decision = decide(memory(), made)[1]
    assert (decision.verb, decision.reason) == (Verb.HOLD, Reason.DEMAND_MET)
    assert decision.next_check_s is not None
    assert decision.next_check_s <= 100


def test_the_others_grow_before_traffic_moves() -> None:
    """Their floors rise to what they will have to carry; the routing stays."""
    made = change(on_block(PREPARED_AT), TRN1, demand=Sample(500, PREPARED_AT))
    before = change(on_block(PREPARED_AT - 1), TRN1, demand=Sample(500, PREPARED_AT - 1))
    found = conclude(memory(), made).plan
    kinds = {action.kind for action in found.actions}
    assert (found.decision.verb, ActionKind.RAISE_FLOOR in kinds, ActionKind.ROUTE in kinds) == (Verb.HOLD, True, False)
    later, earlier = replicas(found.decision.floors), replicas(decide(memory(), before)[1].floors)
    assert later[TRN1] > earlier[TRN1]
    assert sum(made.application.unit(name).throughput * later[name] for name in (TRN1, "sd21-g5-cuda", "sd21-g5-triton", G6)) >= 700


def test_a_raised_floor_of_the_unit_itself_stays_until_the_nodes_are_gone() -> None:
    """Its replicas serve until the traffic has moved."""
    for held, floor in (((Held("inf2.xlarge", "cr-1", 2, block=True),), 2), ((), 1)):
        made = on_block(PREPARED_AT, pool_held=held, scaler=scaler(INF2, min_replicas=2), demand=Sample(10, PREPARED_AT))
        assert decide(memory(), made)[1].floors[INF2].replicas == floor


def test_traffic_moves_before_the_nodes_go() -> None:
    """The unit that runs wholly on the block gets no weight, with a reason that names block, end and drain."""
    assert weights(on_block(MOVES_AT - 1))[INF2] > 0
    decision = decide(memory(), on_block(MOVES_AT))[1]
    assert {target.service: target.weight for target in decision.targets}[INF2] == 0
    assert (decision.verb, decision.reason, decision.mode) == (Verb.REWEIGHT, Reason.RESERVATION_ENDS, Mode.COST)
    assert "Capacity Block cr-1, which ends at" in decision.sentence
    assert "?>" not in decision.sentence


def test_traffic_does_not_come_back_while_the_nodes_are_drained() -> None:
    """Nor once they are gone: then nothing is ready."""
    made = on_block(DRAINED_AT + 60, ready=1)
    assert weights(made)[INF2] == 0
    gone = change(made, INF2, ready=0, pool_held=())
    assert weights(gone)[INF2] == 0


def test_a_part_of_the_traffic_moves_with_a_part_of_the_replicas() -> None:
    """Where the demand is known, the weight follows what is left."""
    full = change(on_block(MOVES_AT - 1, nodes=3, others=1, ready=4), INF2, demand=Sample(900, MOVES_AT))
    part = change(on_block(MOVES_AT, nodes=3, others=1, ready=4), INF2, demand=Sample(900, MOVES_AT))
    assert 0 < weights(part)[INF2] < weights(full)[INF2]


def test_the_last_unit_keeps_its_traffic() -> None:
    """Where nothing else serves, the requests stay where they are answered for as long as they are."""
    made = on_block(MOVES_AT)
    for name in made.units:
        if name != INF2:
            made = change(made, name, ready=0)
    decision = decide(memory(), made)[1]
    assert (decision.verb, decision.targets) == (Verb.HOLD, ())


def test_no_fallback_onto_a_block_that_ends() -> None:
    """Not from the time on at which replicas are planned elsewhere; before it, the fallback is made."""
    units = {INF2: UnitMemory(NOW - 80_000, Cause.CAPACITY, 2, NOW - 80_000, Return.REGISTERED, NOW - 79_000)}
    for now, reason in ((PREPARED_AT - 1, Reason.RETURN_PROVEN), (PREPARED_AT, Reason.RESERVATION_ENDING)):
        made = replace(on_block(now), routing=snapshot(mode=Mode.CAPACITY).routing)
        decision = decide(memory(Mode.CAPACITY, units=units), made)[1]
        assert decision.reason is reason, decision.sentence
        assert "?>" not in decision.sentence


def test_the_floors_of_capacity_mode_replace_what_goes() -> None:
    """The others take over what the replicas on the block carry."""
    demand = 900.0
    floors = []
    for now in (PREPARED_AT - 1, PREPARED_AT):
        made = replace(on_block(now), routing=snapshot(mode=Mode.CAPACITY).routing)
        made = change(made, TRN1, demand=Sample(demand, now))
        floors.append(decide(memory(Mode.CAPACITY), made)[1].floors[TRN1].replicas)
    assert floors[1] > floors[0]


# --- alerts -------------------------------------------------------------------------------------------------------------------------------


def test_people_are_warned_a_day_before() -> None:
    """With the times and what they can do; the text stays the same while the facts do."""
    assert alert(on_block(MOVES_AT - 90_000), "reservation/") is None
    first, later = alert(on_block(MOVES_AT - 80_000), "reservation/"), alert(on_block(MOVES_AT), "reservation/")
    assert first is not None
    assert first == later
    assert "2 of its 2 node(s)" in first.text
    assert "extend the block" in first.text


def test_a_process_that_has_just_started_gives_no_traffic_back() -> None:
    """The one before moved it away; EC2 will say in a moment when the block ends. Once it cannot, the weights are as written."""
    empty = tuple(replace(one, weight=0) if one.service == INF2 else one for one in snapshot().routing.targets)
    made = on_block(MOVES_AT, blocks=(), reservations=None)
    made = replace(made, routing=replace(made.routing, targets=empty, action="empty"))
    unheard, refused = Source("ec2", False, None, 1_800.0), Source("ec2", False, None, 1_800.0, problem="IAM does not allow it")
    for source, weight in ((unheard, 0), (refused, 40)):
        shown = replace(made, sources=(*made.sources, source))
        assert weights(shown)[INF2] == weight
        assert (alert(shown, "reservation-end/") is None) is (source is unheard)


def test_a_unit_without_weight_holds_nothing() -> None:
    """No traffic would move, so none of the others grows and a fallback goes on."""
    made = on_block(PREPARED_AT)
    units = tuple(replace(one, weight=0) if one.name == INF2 else one for one in made.application.units)
    made = replace(made, application=replace(made.application, units=units))
    decision = decide(memory(), made)[1]
    assert all(decision.floors[unit.name].replicas == unit.min_replicas for unit in units)
    returned = {TRN1: UnitMemory(NOW - 80_000, Cause.CAPACITY, 2, NOW - 80_000, Return.REGISTERED, NOW - 79_000)}
    capacity = replace(made, routing=snapshot(mode=Mode.CAPACITY).routing)
    assert decide(memory(Mode.CAPACITY, units=returned), capacity)[1].reason is Reason.RETURN_PROVEN


def test_a_block_whose_end_is_not_known_is_an_alert_and_moves_nothing() -> None:
    """Unknown is no reason to guess."""
    made = on_block(MOVES_AT, blocks=(), reservations=None)
    found = alert(made, "reservation-end/")
    assert found is not None
    assert "ec2:DescribeCapacityReservations" in found.text
    assert weights(made)[INF2] > 0


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, "critical"),
        ({"ready": 1}, "warning"),
        ({"pending": ()}, None),
        ({"reservations": None}, None),
        ({"reservations": (replace(BLOCK, free=1),)}, None),
        ({"reservations": (replace(BLOCK, free=1, zone="us-west-2z"),), "pool_zones": ("us-west-2a",)}, "critical"),
        ({"pool_capacity_types": ("on-demand", "reserved")}, None),
    ],
)
def test_a_reserved_pool_whose_block_ended_says_what_to_do(changes: dict[str, Any], severity: str | None) -> None:
    """Only where pods wait, nothing else may be launched, and EC2 shows no room."""
    plain = {"pool_capacity_types": ("reserved",), "pending": pods(), "desired": 2, "ready": 0, "pool_held": (), "reservations": ()}
    found = alert(on_block(ENDS_AT + 60, **{**plain, **changes}), "reserved/")
    assert (found.severity if found else None) == severity
    if found is not None:
        assert "cr-1 ended at" in found.text
        assert "add on-demand" in found.text


# --- proof --------------------------------------------------------------------------------------------------------------------------------


def _refusal(zone: str, kinds: tuple[str, ...], code: str = "InsufficientInstanceCapacity") -> Refusal:
    claim = f"inf2-{zone}-{code}"
    return Refusal(
        claim,
        "inf2",
        NOW - 60,
        Cause.CAPACITY,
        (code,),
        claim,
        NOW - 60,
        ("inf2.xlarge",),
        (),
        kinds,
        named_type="inf2.xlarge",
        named_zone=zone,
    )


RESERVED_REFUSED = _refusal("a", ("reserved",), "ReservationCapacityExceeded")
BOTH = ("on-demand", "reserved")


@pytest.mark.parametrize(
    ("free", "refusals", "proof"),
    [
        (frozenset(), (_refusal("a", BOTH), _refusal("b", BOTH)), Proof.NAMED),  # nothing reserved is left to refuse
        (frozenset({("inf2.xlarge", "a")}), (_refusal("a", ("on-demand",)), _refusal("b", ("on-demand",))), None),  # a free one is allowed
        (frozenset({("inf2.xlarge", "a")}), (RESERVED_REFUSED, _refusal("a", ("on-demand",)), _refusal("b", ("on-demand",))), Proof.NAMED),
        (frozenset(), (RESERVED_REFUSED, _refusal("b", BOTH)), None),  # the reservation refused, on-demand in its zone was not asked for
        (None, (_refusal("a", ("on-demand",)), _refusal("b", ("on-demand",))), None),  # not known: everything must be named
    ],
)
def test_a_free_reservation_is_still_allowed(
    free: frozenset[tuple[str, str]] | None, refusals: tuple[Refusal, ...], proof: Proof | None
) -> None:
    """An offering of the capacity type reserved exists only where a reservation has a free instance."""
    made = on_block(NOW)
    pool = replace(made.units[INF2].pool, failures=refusals)
    allowed = Allowed(("inf2.xlarge",), (("a", "b"),), BOTH, reserved=free)
    assert examine(pool, allowed, (PendingPod("p", NOW - 90),), made.application.policy, Ages(NOW)).proof is proof


def test_sources_that_fail_do_not_hide_an_end() -> None:
    """EC2 is optional: while it is stale, the end that it named stays known."""
    made = replace(on_block(MOVES_AT, reservations=None), sources=(Source("ec2", False, NOW - 99_999, 1_800.0),))
    assert weights(made)[INF2] == 0


# --- whole values -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "drained"),
    [
        pytest.param(BLOCK, ENDS_AT - 40 * 60, id="a block"),
        pytest.param(replace(BLOCK, ends_at=None), math.inf, id="a block whose end is not known"),
        pytest.param(replace(BLOCK, block=False), math.inf, id="a reservation that ends is no block"),
        pytest.param(replace(BLOCK, block=False, ends_at=None), math.inf, id="one without an end"),
        pytest.param(replace(BLOCK, instance_type="p6e-gb200.36xlarge"), ENDS_AT - 70 * 60, id="an UltraServer of GPUs"),
        pytest.param(replace(BLOCK, instance_type="u-p6e-gb200x72"), ENDS_AT - 70 * 60, id="an UltraServer by its own name"),
        pytest.param(replace(BLOCK, instance_type="trn2.48xlarge"), ENDS_AT - 40 * 60, id="the same chip without the server"),
    ],
)
def test_when_a_block_is_drained(block: Reservation, drained: float) -> None:
    """Too late, and requests run on nodes that EC2 terminates; for a reservation that is no block traffic would move for nothing."""
    assert drained_at(block) == drained


def _two_blocks(now: float = NOW, **changes: Any) -> Snapshot:
    """inf2 has six nodes: two in a block, one in another that ends an hour later, three outside; one more is of another unit's type."""
    second = replace(BLOCK, id="cr-2", ends_at=ENDS_AT + HOUR)
    held = (
        Held("inf2.xlarge", "cr-2", 1, block=True),
        Held("inf2.xlarge", "", 3),
        Held("inf2.xlarge", "cr-1", 2, block=True),
        Held("g5.xlarge", "cr-1", 1, block=True),
    )
    made = on_block(now, **{"pool_held": held, "blocks": (BLOCK, second), "ready": 6, **changes})
    cold = {INF2: 5_000.0, TRN1: 900.0}
    units = tuple(replace(unit, cold_start_s=cold.get(unit.name, 300.0)) for unit in made.application.units)
    return replace(made, application=replace(made.application, units=units))


def test_the_ends_of_a_unit_whole() -> None:
    """The first to end first, with the nodes that count; the others get one and a half cold starts of the slowest of them."""
    made = _two_blocks()
    first = Ending("cr-1", ENDS_AT, DRAINED_AT, MOVES_AT, MOVES_AT - 1.5 * 900 - 120, nodes=2, of_nodes=6)
    later = {name: getattr(first, name) + HOUR for name in ("ends_at", "drained_at", "moves_at", "prepared_at")}
    second = replace(first, reservation="cr-2", nodes=1, **later)
    unit = made.application.unit(INF2)
    assert endings(made.application, unit, made.units[INF2]) == (first, second)
    unknown = change(made, INF2, blocks=(replace(BLOCK, ends_at=None), replace(BLOCK, id="cr-2", block=False)))
    assert endings(made.application, unit, unknown.units[INF2]) == ()
    alone = replace(made.application, units=(unit,))
    assert endings(alone, unit, made.units[INF2])[0].prepared_at == MOVES_AT - 120
    assert set(moments(made)) == {first.prepared_at, first.moves_at, second.prepared_at, second.moves_at}


@pytest.mark.parametrize(
    ("now", "ready", "routed", "planned"),
    [
        pytest.param(MOVES_AT - 1.5 * 900 - 121, 6, 0, 0, id="before"),
        pytest.param(MOVES_AT - 1.5 * 900 - 120, 6, 0, 2, id="the others grow"),
        pytest.param(MOVES_AT, 6, 2, 2, id="the traffic moves"),
        pytest.param(MOVES_AT + HOUR, 6, 3, 3, id="the other block ends, too"),
        pytest.param(MOVES_AT + HOUR, 7, 4, 4, id="half of seven replicas: four at most"),
        pytest.param(MOVES_AT + HOUR, 1, 1, 1, id="half of one"),
        pytest.param(MOVES_AT + HOUR, 0, 0, 0, id="none is ready"),
        pytest.param(MOVES_AT + HOUR, None, 0, 0, id="nobody knows how many are"),
        pytest.param(ENDS_AT + HOUR - 1, 6, 3, 3, id="the nodes of the first may still be there"),
        pytest.param(ENDS_AT + HOUR, 6, 1, 1, id="what is there an hour after its end has not gone"),
    ],
)
def test_the_replicas_that_count_no_more(now: float, ready: int | None, routed: int, planned: int) -> None:
    """Too few, and requests are lost with the nodes; too many, and the others are overloaded while these are idle."""
    made = _two_blocks(now, ready=ready)
    assert (leaving(made, INF2), leaving(made, INF2, planned=True)) == (routed, planned)


def test_the_details_of_the_first_end() -> None:
    """The reason and the alerts name them: a person extends the block that is named."""
    assert ending_details(_two_blocks(MOVES_AT - 1)) == {}
    assert ending_details(_two_blocks(MOVES_AT - 1), planned=True) == {
        "units": INF2,
        "replicas": "2",
        "reservation": "cr-1",
        "end": date_time(ENDS_AT),
        "drain": date_time(DRAINED_AT),
    }
    both = _two_blocks(MOVES_AT)
    sooner = replace(BLOCK, id="cr-0", instance_type="trn1.2xlarge", ends_at=ENDS_AT - 60)
    both = change(both, TRN1, pool_held=(Held("trn1.2xlarge", "cr-0", 2, block=True),), blocks=(sooner,), ready=2)
    found = ending_details(both)
    assert (found["units"], found["replicas"], found["reservation"]) == (f"{INF2}, {TRN1}", "4", "cr-0")


def test_blocks_whose_end_nobody_said() -> None:
    """Each is named, and no reservation that is no block, is known, or is of another unit's type."""
    made = _two_blocks(blocks=(BLOCK,))
    unit = made.application.unit(INF2)
    assert unknown_ends(unit, made.units[INF2]) == ("cr-2",)
    open_ones = change(made, INF2, pool_held=(Held("inf2.xlarge", "cr-3", 1), Held("g5.xlarge", "cr-4", 1, block=True)))
    assert unknown_ends(unit, open_ones.units[INF2]) == ()


def test_what_instances_run_in_word_for_word() -> None:
    """The evidence shows it, with the end of what has one."""
    made = change(_two_blocks(), INF2, blocks=(BLOCK,), reservations=(Reservation("cr-9", "inf2.xlarge", "us-west-2a", ends_at=ENDS_AT),))
    made = change(made, INF2, pool_held=(*made.units[INF2].pool.held[1:3], Held("inf2.xlarge", "cr-9", 4), Held("inf2.xlarge", "cr-8", 1)))
    assert held_words(made.units[INF2]) == (
        f"NodePool inf2: 2 instance(s) in Capacity Block cr-1, which ends at {date_time(ENDS_AT)}",
        f"NodePool inf2: 4 instance(s) in reservation cr-9, which ends at {date_time(ENDS_AT)}",
        "NodePool inf2: 1 instance(s) in reservation cr-8",
    )
    assert held_words(change(made, INF2, reservations=None).units[INF2])[1] == "NodePool inf2: 4 instance(s) in reservation cr-9"


@pytest.mark.parametrize(
    ("source", "waits"),
    [
        pytest.param(Source("ec2", False, None, 1_800.0), True, id="it has not answered"),
        pytest.param(Source("ec2", False, NOW, 1_800.0), False, id="it has"),
        pytest.param(Source("ec2", False, None, 1_800.0, problem="AccessDenied"), False, id="it will not"),
        pytest.param(Source("ec2", False, None, 1_800.0, absent=True), False, id="it is not asked"),
        pytest.param(Source("elbv2", False, None, 1_800.0), False, id="another one"),
    ],
)
def test_whether_the_answer_of_ec2_is_awaited(source: Source, *, waits: bool) -> None:
    """While it is, a missing end is no alert and no weight comes back; for ever, no weight would come back at all."""
    assert awaited(replace(snapshot(), sources=(source,))) is waits


def _reservation_alerts(made: Snapshot) -> list[Alert]:
    return [one for one in decide(memory(), made)[1].alerts if one.row in ROWS]


@pytest.mark.parametrize(
    ("now", "warned"),
    [(MOVES_AT - 86_401, False), (MOVES_AT - 86_400, True), (ENDS_AT - 1, True), (ENDS_AT, False)],
)
def test_the_notice_of_an_end_word_for_word(now: float, *, warned: bool) -> None:
    """A day is the time to buy another block; after its end the notice would hide others."""
    words = (
        f"sd21-inf2: Capacity Block cr-1 ends at {date_time(ENDS_AT)}; 2 of its 6 node(s) run in it. Karpenter drains them from "
        f"{date_time(DRAINED_AT)} on, and traffic moves at {date_time(MOVES_AT)}: extend the block, or let NodePool inf2 launch "
        "something else by then"
    )
    found = [one for one in _reservation_alerts(_two_blocks(now)) if one.key.endswith("/cr-1")]
    assert found == ([alert_of("reservation/sd21-inf2/cr-1", "warning", words)] if warned else [])


def test_the_alert_of_an_unknown_end_word_for_word() -> None:
    """It names the permission that is missing."""
    words = (
        "sd21-inf2: nodes run in Capacity Block cr-1, cr-2, and EC2 has not said when it ends. No traffic moves before it ends, so "
        "requests can be lost then: allow ec2:DescribeCapacityReservations (docs/aws.md)"
    )
    made = _two_blocks(blocks=())
    held = tuple(sorted(made.units[INF2].pool.held, key=lambda one: one.reservation))
    assert list(_reservation_alerts(change(made, INF2, pool_held=held))) == [alert_of("reservation-end/sd21-inf2", "warning", words)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        pytest.param({}, " (cr-1 ended at {end})", id="its block ended"),
        pytest.param({"blocks": ()}, "", id="nothing is known of one"),
        pytest.param({"blocks": (replace(BLOCK, ends_at=None),)}, "", id="a block without an end"),
        pytest.param({"blocks": (replace(BLOCK, ends_at=ENDS_AT + 61),)}, "", id="a block that has not ended"),
        pytest.param({"blocks": (replace(BLOCK, ends_at=ENDS_AT + 60),)}, " (cr-1 ended at {now})", id="it ends now"),
        pytest.param({"reservations": (replace(BLOCK, free=1),)}, None, id="one has room"),
        pytest.param(
            {"reservations": (replace(BLOCK, free=1, instance_type="g5.xlarge"),)}, " (cr-1 ended at {end})", id="of another type"
        ),
        pytest.param({"reservations": (replace(BLOCK, free=1),), "pool_zones": ("us-west-2a",)}, None, id="room in a zone of the NodePool"),
        pytest.param(
            {"reservations": (replace(BLOCK, free=1, instance_type="inf2.8xlarge"),), "pool_instance_types": ("inf2.8xlarge",)},
            None,
            id="of a type of the NodePool",
        ),
    ],
)
def test_the_alert_of_a_pool_without_room_word_for_word(changes: dict[str, Any], why: str | None) -> None:
    """It says which reservation ended and what to do; where there is room, Karpenter will launch."""
    plain = {"pool_capacity_types": ("reserved",), "pending": pods(), "desired": 2, "ready": 0, "pool_held": (), "reservations": ()}
    made = on_block(ENDS_AT + 60, **{**plain, **changes})
    words = (
        "sd21-inf2: pods wait because NodePool inf2 launches only into reservations, and no active one has a free instance{why}: buy or "
        "extend a reservation and select it in the EC2NodeClass (capacityReservationSelectorTerms), or add on-demand to the NodePool's "
        "requirement karpenter.sh/capacity-type"
    )
    found = list(_reservation_alerts(made))
    if why is None:
        assert found == []
    else:
        text = words.format(why=why.format(end=date_time(ENDS_AT), now=date_time(ENDS_AT + 60)))
        assert found == [alert_of("reserved/sd21-inf2", "critical", text)]


def test_the_application_file_says_which_reservations_a_unit_may_use() -> None:
    """A free instance of a type or in a zone that its pods may not use is no room."""
    made = on_block(ENDS_AT + 60, pool_capacity_types=("reserved",), pending=pods(), ready=1, pool_held=(), blocks=())
    made = change(made, INF2, reservations=(replace(BLOCK, free=1),), pool_instance_types=("inf2.xlarge",), pool_zones=("us-west-2a",))
    for limits, full in (({}, False), ({"instance_types": ("inf2.8xlarge",)}, True), ({"zones": ("us-west-2b",)}, True)):
        units = tuple(replace(unit, **limits) if unit.name == INF2 else unit for unit in made.application.units)  # type: ignore[arg-type]
        alerts = list(_reservation_alerts(replace(made, application=replace(made.application, units=units))))
        assert [(one.key, one.severity) for one in alerts] == ([("reserved/sd21-inf2", "warning")] if full else [])
