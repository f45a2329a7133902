"""Long random worlds in which the controller acts, and what in them only resembles a shortage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.evidence import judge as evidence
from controller.policy.evidence import proof
from controller.policy.evidence.proof import Finding
from controller.policy.model import Decision, Proof
from failover_analysis.fuzz.hours import LATE_S, Hours, main, play
from failover_analysis.fuzz.judge import passes
from failover_analysis.fuzz.world import HOUR_S, ZONES, Closed, PoolPlan, World, draw_long
from failover_testbed.capacity.ec2 import Offering
from tests.analysis.fuzz.test_fuzz import SIZES, TRICKLE

OPEN = replace(TRICKLE, closed={}, sold={**dict.fromkeys(SIZES, ZONES), "safe.xlarge": ZONES}, length_s=600.0)
"""Ten more replicas are wanted at 20 s, and EC2 has everything."""

TWO_SIZES = replace(
    OPEN,
    pools=(PoolPlan("inf2", SIZES, min_types=2, prefers=SIZES[0]), OPEN.pools[1]),
    units=(replace(OPEN.units[0], types=SIZES), OPEN.units[1]),
    closed={Offering(SIZES[0], zone): (Closed(0.0, 600.0),) for zone in ZONES},
)


def _first(world: World, unit: str = "inf2") -> tuple[tuple[Proof, float] | None, Decision]:
    """How and when the unit was first proven short, and the last decision."""
    found, decision = None, None
    for t, decision, _ in passes(world):
        judged = decision.evidence[unit]
        if judged.short and found is None and judged.proof is not None:
            found = (judged.proof, t)
    assert decision is not None
    return found, decision


def test_with_too_few_types_for_min_values_nothing_is_launched() -> None:
    """One of two types is out, the NodePool requires a choice of two, and Karpenter says that none is compatible."""
    found, _ = _first(TWO_SIZES)
    assert found is not None
    assert found[0] is Proof.SATURATED
    assert found[1] < 90
    assert _first(replace(TWO_SIZES, pools=(replace(TWO_SIZES.pools[0], min_types=0), OPEN.pools[1])))[0] is None


def test_launches_that_ec2_throttles_prove_nothing() -> None:
    """`RequestLimitExceeded` is passing trouble: EC2 has everything, and Karpenter tries again."""
    found, _ = _first(replace(OPEN, throttled=((0.0, 500.0),)))
    assert found is None


def test_pods_that_karpenter_ignores_prove_nothing_and_are_named() -> None:
    """They request devices by Dynamic Resource Allocation: its event on the pod names no NodePool."""
    units = (replace(OPEN.units[0], ignored=True), OPEN.units[1])
    found, decision = _first(replace(OPEN, units=units))
    assert found is None
    assert any(alert.key == "silent/inf2" for alert in decision.alerts)


def test_a_static_node_pool_does_not_keep_a_shortage_unproven() -> None:
    """Karpenter launches nothing through it for a pod, so nothing is refused there."""
    pools = (PoolPlan("inf2", SIZES[:1]), PoolPlan("static", SIZES[:1], static=True), OPEN.pools[1])
    units = (replace(OPEN.units[0], pools=("inf2", "static")), OPEN.units[1])
    closed = {Offering(SIZES[0], zone): (Closed(0.0, 600.0),) for zone in ZONES}
    found, _ = _first(replace(OPEN, pools=pools, units=units, closed=closed))
    assert found is not None
    assert found[1] < 90


def test_a_preferred_type_that_is_out_is_no_shortage() -> None:
    """A NodeOverlay makes Karpenter ask for it first, in each zone, and then for the other."""
    pools = (PoolPlan("inf2", SIZES, prefers=SIZES[0]), OPEN.pools[1])
    assert _first(replace(TWO_SIZES, pools=pools))[0] is None


def test_a_capacity_block_that_is_used_up_or_over_is_no_shortage() -> None:
    """Karpenter then asks for on-demand instances, which EC2 has."""
    pools = (PoolPlan("inf2", SIZES[:1], ("reserved", "on-demand")), OPEN.pools[1])
    block = {Offering(SIZES[0], ZONES[0], "reserved"): (2, 2400.0 + 300.0)}
    assert _first(replace(OPEN, pools=pools, blocks=block, budgets=True))[0] is None


def test_a_block_that_several_nodes_ask_for_at_once_is_no_shortage_before_their_nodeclaims_are_seen() -> None:
    """EC2 says that a reservation is full, and of no type or zone that there is none: Karpenter's next request is on demand."""
    pools = (PoolPlan("inf2", SIZES[:1], ("reserved", "on-demand")), OPEN.pools[1])
    block, sold = {Offering(SIZES[0], ZONES[0], "reserved"): (1, 5000.0)}, {SIZES[0]: ZONES[:1], "safe.xlarge": ZONES}
    units = (replace(OPEN.units[0], pinned=True, replicas=((0.0, 0), (20.0, 4))), OPEN.units[1])
    world = replace(OPEN, pools=pools, units=units, blocks=block, sold=sold, zones_known=True, claims_late_s=4.0)
    assert _first(world)[0] is None


def test_a_type_without_the_capacity_of_a_node_overlay_does_not_hide_a_shortage() -> None:
    """EC2 has the other type, on which Karpenter fits no pod, as its event on the pod says; neither NodePool nor pod says so."""
    pools = (PoolPlan("inf2", SIZES, overlaid=SIZES[:1]), OPEN.pools[1])
    found, _ = _first(replace(TWO_SIZES, pools=pools))
    assert found is not None
    assert found[0] is Proof.SATURATED
    assert found[1] < 90
    assert _first(replace(TWO_SIZES, pools=(PoolPlan("inf2", SIZES, overlaid=SIZES[1:]), OPEN.pools[1])))[0] is None


def test_a_node_that_a_disruption_budget_keeps_takes_the_next_pod() -> None:
    """Nothing is launched for it, and no shortage is proven although EC2 has nothing left."""
    units = (replace(OPEN.units[0], replicas=((0.0, 1), (20.0, 3), (200.0, 1), (400.0, 3), (520.0, 4))), OPEN.units[1])
    closed = {Offering(SIZES[0], zone): (Closed(150.0, 900.0),) for zone in ZONES}
    world = replace(OPEN, units=units, closed=closed, boot_s=(20.0, 40.0), length_s=900.0)
    kept, _ = _first(replace(world, budgets=True))
    removed, _ = _first(world)
    assert kept is not None
    assert removed is not None
    assert 400 < removed[1] < 520 < kept[1]


def test_long_worlds_have_every_trouble_and_equal_seeds_give_equal_worlds() -> None:
    """Else they would show nothing of it."""
    worlds = [draw_long(seed) for seed in range(60)]
    assert worlds[7] == draw_long(7)
    pools = [pool for world in worlds for pool in world.pools]
    units = [unit for world in worlds for unit in world.units]
    assert all(world.length_s == 6 * HOUR_S for world in worlds)
    for found in (
        [world for world in worlds if world.throttled],
        [world for world in worlds if world.budgets],
        [world for world in worlds if world.blocks],
        [world for world in worlds if 0.15 in world.lost.values()],
        [pool for pool in pools if pool.min_types],
        [pool for pool in pools if pool.static],
        [pool for pool in pools if pool.prefers],
        [pool for pool in pools if pool.overlaid],
        [unit for unit in units if unit.ignored],
    ):
        assert len(found) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_no_hour_is_judged_wrongly(seed: int) -> None:
    """`python -m failover_analysis.fuzz.hours` plays more and longer."""
    found = play(seed, hours=1)
    assert (found.false_failovers, found.false_proofs, found.fallbacks_into, found.silent) == ([], [], [], [])


def test_a_rule_that_takes_one_refusal_for_proof_is_counted_as_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures must tell it from the rule that we have."""
    examine = proof.examine

    def hasty(*args: object) -> Finding:
        found = examine(*args)  # type: ignore[arg-type]
        return Finding(Proof.NAMED, found.refusals) if found.refusals else found

    monkeypatch.setattr(evidence, "examine", hasty)
    total = Hours()
    for seed in range(6, 12):  # in whose first hour something is refused that EC2 has
        total.add(play(seed, hours=1))
    assert total.false_proofs


def test_a_rule_that_proves_nothing_is_counted_as_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every shortage that lasts is one that was not proven."""
    monkeypatch.setattr(evidence, "examine", lambda *_: Finding(None))
    total = Hours()
    for seed in range(4):
        total.add(play(seed, hours=1))
    assert total.shortages[LATE_S[0]] == len(total.unproven[LATE_S[0]]) > 0


def test_the_command_prints_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """For a file, and for people."""
    assert main(["--worlds", "1", "--hours", "1"]) in {0, 1}
    assert '"delays_s"' in capsys.readouterr().out
