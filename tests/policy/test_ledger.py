"""The account of what the modes cost and saved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.account import Ledger, booked, counted, placed
from controller.policy.account.ledger import LONGEST_S
from controller.policy.memory import standing_mode
from controller.policy.model import Memory, Mode, PolicySettings, ProbeAnswer, ReturnProbe, Sample, Scaler, Snapshot, Strategy
from tests.policy.support import INF2, TRN1, change, decide, pods, proven, shortage
from tests.support.applications import NOW, application, memory, probed_by, routing, snapshot

HOURLY = 2 * (0.7582 + 1.3438 + 1.0060 + 0.8048 + 1.0060)


def book(made: Snapshot, remembered: Memory, seconds: float = 60.0, before: Ledger | None = None) -> Ledger:
    """One stretch of time."""
    kept, decision = decide(remembered, made)
    return booked(before or Ledger(), made, decision, standing_mode(kept, decision), seconds)


def asked(made: Snapshot, requests: float = 600.0) -> Snapshot:
    """The snapshot with this many requests a period of a minute."""
    return change(made, INF2, demand=Sample(requests, NOW))


def test_cost_mode_saves_what_evaluation_says() -> None:
    """10.8 % of the capacity mode's price of a request: 0.01174 less 0.01047 $/h for each request a period, for 600 of them and an hour."""
    ledger = Ledger()
    for _ in range(60):
        ledger = book(asked(snapshot()), memory(), before=ledger)
    assert ledger.saved == pytest.approx(600 * (0.0117391 - 0.0104668), rel=1e-3)
    assert ledger.premium == 0
    assert ledger.requests == {Mode.COST: pytest.approx(36_000)}
    assert ledger.seconds == {Mode.COST: 3600}
    assert ledger.spend == pytest.approx(HOURLY)


def test_capacity_mode_costs_the_same_on_top() -> None:
    """The other sign, another account: what a failover cost."""
    ledger = book(asked(snapshot(mode=Mode.CAPACITY)), memory(Mode.CAPACITY, mode_since=NOW - 10))
    assert ledger.premium == pytest.approx(600 * (0.0117391 - 0.0104668) / 60, rel=1e-3)
    assert (ledger.saved, ledger.exposed_s) == (0, 0)


def test_a_proven_shortage_in_cost_mode_is_exposure() -> None:
    """From the proof to the failover users of the unit wait; a unit without weight harms nobody."""
    assert book(shortage(), memory()).exposed_minutes == 1
    units = application().units
    light = application(units=(replace(units[0], weight=0), *units[1:]))
    assert book(shortage(snapshot(light)), memory()).exposed_s == 0


def test_a_pending_canary_is_a_probe() -> None:
    """It costs no node, and is counted so that people see what is asked of Karpenter."""
    made = change(snapshot(mode=Mode.CAPACITY), pending=pods(1), desired=3)
    assert book(made, memory(Mode.CAPACITY, units=proven(NOW - 700))).probing_s == 60
    assert book(made, memory(Mode.CAPACITY)).probing_s == 0


@pytest.mark.parametrize(("answer", "probing"), [(ProbeAnswer(NOW - 20), 0.0), (None, 60.0)])
def test_a_pod_that_waits_while_ec2_refuses_reservations_is_no_probe(answer: ProbeAnswer | None, probing: float) -> None:
    """It waits for demand: the canary stands back while EC2 answers."""
    made = change(snapshot(probed_by(ReturnProbe.RESERVATION), mode=Mode.CAPACITY), pending=pods(1), desired=3, probed=answer)
    assert book(made, memory(Mode.CAPACITY, units=proven(NOW - 700))).probing_s == probing


def test_replicas_that_only_a_probe_keeps_are_its_cost() -> None:
    """Its floor of one more than are ready keeps what the scaler would let go; what the demand needs is not the probe's."""
    made = change(snapshot(mode=Mode.CAPACITY), pending=pods(1), desired=6, ready=5, demand=Sample(170.0, NOW))
    scaler = Scaler("inf2", "5", 6, 20, "89.2", 0, floor_ours=True)
    held = change(made, scaler=scaler)
    remembered = memory(Mode.CAPACITY, units=proven(NOW - 700))
    assert book(held, remembered, 300.0).probe_dollars == pytest.approx((5 - 2) * 0.7582 / 12)
    assert book(held, memory(Mode.CAPACITY), 300.0).probe_dollars == 0, "nothing is to be proven"
    assert book(change(held, demand=None), remembered, 300.0).probe_dollars == 0, "the demand is not known"
    assert book(change(held, scaler=replace(scaler, floor_ours=False)), remembered, 300.0).probe_dollars == 0, "not our floor"


def test_replicas_are_paid_for_from_the_moment_they_have_a_node() -> None:
    """Loading a model takes ten minutes of an instance that serves nothing."""
    assert placed(change(snapshot(), desired=7, ready=2, pending=pods(3)).units[INF2]) == 4
    assert placed(change(snapshot(), desired=None, ready=None).units[INF2]) == 0


@pytest.mark.parametrize(
    ("made", "seconds", "booked_s"),
    [
        pytest.param(snapshot(), 0.0, 0.0, id="no time"),
        pytest.param(snapshot(), -5.0, 0.0, id="a clock that was set back"),
        pytest.param(snapshot(), 7200.0, LONGEST_S, id="a gap that nobody observed"),
        pytest.param(snapshot(routing=routing(exists=False)), 60.0, 0.0, id="no Ingress"),
    ],
)
def test_what_is_not_known_is_not_booked(made: Snapshot, seconds: float, booked_s: float) -> None:
    """An account that guesses is worse than a short one."""
    assert sum(book(made, Memory(), seconds).seconds.values()) == booked_s


def test_calls_and_switches_add_up() -> None:
    """By service; one that was not called does not appear."""
    ledger = counted(counted(Ledger(), mode_changes=1, calls={"kubernetes": 3}), calls={"kubernetes": 2, "elbv2": 0.5, "ec2": 0})
    assert (ledger.mode_changes, ledger.calls) == (1, {"kubernetes": 5, "elbv2": 0.5})


def test_what_was_spent_is_compared_with_other_fleets() -> None:
    """With strategy `planned`, by the hour: what ran, the whole replicas for the weights of the file, and the optimum with hindsight."""
    planning = application(policy=PolicySettings(strategy=Strategy.PLANNED))
    made = asked(snapshot(planning))
    for name in made.units:
        made = change(made, name, scaler=Scaler(name, "1", 1, 100, "100"), demand=Sample(120.0, NOW))
    ledger = Ledger()
    for _ in range(60):
        ledger = book(made, memory(), before=ledger)
    assert ledger.compared_s == 3600
    assert ledger.compared_spend == pytest.approx(ledger.spend)
    # 40 % of 600 are 3 replicas of inf2, 20 % one of trn1, 15 % one of g5, 10 % one of g6, 15 % two of the other g5.
    assert ledger.weights_spend == pytest.approx(3 * 0.7582 + 1.3438 + 1.0060 + 0.8048 + 2 * 1.0060)
    # One replica of each carries 446; two more of inf2 carry the rest.
    assert ledger.least_spend == pytest.approx(3 * 0.7582 + 1.3438 + 1.0060 + 0.8048 + 1.0060)


def test_nothing_is_compared_while_a_counter_is_missing() -> None:
    """The optimum would be that of a part of the demand, and the bill that of all of it."""
    made = snapshot(application(policy=PolicySettings(strategy=Strategy.PLANNED)))
    for name in made.units:
        made = change(made, name, demand=Sample(120.0, NOW))
    assert book(made, memory()).compared_s == 60
    assert book(change(made, INF2, demand=None), memory()).compared_s == 0


def test_nothing_is_compared_without_a_fleet() -> None:
    """Another strategy, or no demand known."""
    assert book(asked(snapshot()), memory()).compared_s == 0
    assert book(snapshot(application(policy=PolicySettings(strategy=Strategy.PLANNED))), memory()).compared_s == 0


def test_a_short_time_is_booked_and_requests_that_are_not_known_are_not() -> None:
    """Half a second counts, and without a demand nothing was served for the account."""
    short = book(asked(snapshot()), memory(), 0.5)
    assert short.seconds == {Mode.COST: 0.5}
    assert book(snapshot(), memory()).requests == {Mode.COST: 0.0}


def test_calls_alone_are_counted() -> None:
    """And mode changes without any."""
    assert counted(Ledger(), calls={"ec2": 1}).calls == {"ec2": 1}
    assert counted(Ledger(), mode_changes=2).mode_changes == 2


def test_each_probe_is_paid_for() -> None:
    """Of two units that are probed, one keeps three replicas too many; a floor below what its requests need keeps none."""
    made = snapshot(mode=Mode.CAPACITY)
    remembered = memory(Mode.CAPACITY, units={**proven(NOW - 700), TRN1: proven(NOW - 700)[INF2]})
    for name, ready, requests in ((INF2, 5, 170.0), (TRN1, 2, 500.0)):
        scaler = Scaler(name, "5", ready + 1, 20, "89.2", 0, floor_ours=True)
        made = change(made, name, pending=pods(1), desired=ready + 1, ready=ready, demand=Sample(requests, NOW), scaler=scaler)
    assert book(made, remembered, 300.0).probe_dollars == pytest.approx((5 - 2) * 0.7582 / 12)
    unscaled = replace(made, units={**made.units, INF2: replace(made.units[INF2], scaler=None)})
    assert book(unscaled, remembered, 300.0).probe_dollars == 0
    more = change(made, TRN1, demand=Sample(80.0, NOW))
    assert book(more, remembered, 300.0).probe_dollars == pytest.approx((3 * 0.7582 + 1.3438) / 12)


def test_probes_exist_in_capacity_mode_and_where_the_settings_want_them() -> None:
    """A pod that waits in cost mode is no probe."""
    units = proven(NOW - 700)
    made = change(snapshot(mode=Mode.CAPACITY), pending=pods(1), desired=3)
    off = replace(made, application=probed_by(ReturnProbe.NONE))
    assert book(off, memory(Mode.CAPACITY, units=units)).probing_s == 0
    cost = change(snapshot(), pending=pods(1), desired=3)
    assert book(cost, memory(units=units)).probing_s == 0
