"""Random worlds in which EC2 answers as in the field: no failover without a shortage, no shortage without a failover."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.policy.evidence import judge as evidence
from controller.policy.evidence import proof
from controller.policy.evidence.proof import Finding
from controller.policy.karpenter_times import ICE_CACHE_S
from controller.policy.model import Proof
from failover_analysis.fuzz.judge import judge, play
from failover_analysis.fuzz.world import ZONES, Closed, PoolPlan, UnitPlan, World, draw
from failover_testbed.capacity.ec2 import Offering

KEPT = (285, 487, 545, 618, 677, 1121)
"""Seeds in which capacity returns while Karpenter's cache still hides it, demand returns after the cache has expired (285, 1121), or
Karpenter stops after a refusal (487): the nearest to a false failover that there is."""


@pytest.mark.parametrize("seed", [*range(24), *KEPT])
def test_no_world_is_judged_wrongly(seed: int) -> None:
    """`make fuzz-proof` plays thousands more."""
    verdict = judge(seed)
    assert not verdict.false, f"failover for {verdict.units} at {verdict.failover_at} s, and none was short: {verdict.proofs}"
    assert not verdict.missed, f"{verdict.missed} was short for ten minutes, and nothing was done"


def test_equal_seeds_give_equal_worlds() -> None:
    """A seed that found something must find it again."""
    assert (draw(7), judge(7)) == (draw(7), judge(7))


def test_the_worlds_have_shortages_and_what_only_resembles_one() -> None:
    """Else they would prove nothing."""
    verdicts = [judge(seed) for seed in range(24)]
    assert 5 <= sum(bool(one.short) for one in verdicts) <= 19
    assert {words.split(": ")[1] for one in verdicts for words in one.proofs} == {str(one) for one in Proof}


def test_a_rule_that_takes_one_refusal_for_proof_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule was before EC2's answers in the field were known."""
    examine = proof.examine

    def hasty(*args: object) -> Finding:
        found = examine(*args)  # type: ignore[arg-type]
        return Finding(Proof.NAMED, found.refusals) if found.refusals else found

    monkeypatch.setattr(evidence, "examine", hasty)
    assert any(judge(seed).false for seed in range(60))


def test_a_rule_that_proves_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that never fails over is never wrong about a failover."""
    monkeypatch.setattr(evidence, "examine", lambda *_: Finding(None))
    assert any(judge(seed).missed for seed in range(24))


TRICKLE = World(
    seed=1,
    pools=(PoolPlan("inf2", ("inf2.xlarge",)), PoolPlan("safe", ("safe.xlarge",))),
    units=(
        UnitPlan("inf2", ("inf2",), ("inf2.xlarge",), pinned=False, replicas=((0.0, 1), (20.0, 11))),
        UnitPlan("safe", ("safe",), ("safe.xlarge",), pinned=False, replicas=((0.0, 3),)),
    ),
    sold={"inf2.xlarge": ("us-west-2a",), "safe.xlarge": ("us-west-2a",)},
    zones_known=False,
    closed={Offering("inf2.xlarge", "us-west-2a"): (Closed(0.0, 1500.0, 1, 150.0),)},
    one_zone=True,
    boot_s=(20.0, 40.0),
    errors=(),
)
"""Ten more replicas are wanted, and EC2 gives one in each cycle of Karpenter's cache: grant and refusals come in the same second."""


@pytest.mark.parametrize("late_s", [0.0, 4.0])
def test_a_unit_that_gets_one_node_of_ten_a_cycle_is_short(late_s: float) -> None:
    """The grant of a batch does not end the refusals beside it, also where its NodeClaim is delivered after their events."""
    verdict = play(replace(TRICKLE, claims_late_s=late_s))
    assert (verdict.units, verdict.false, verdict.missed) == (("inf2",), False, ())
    assert verdict.failover_at is not None
    assert verdict.failover_at < 90


def test_a_launch_that_ends_the_refusals_of_its_own_batch_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule was: the unit of that world was never short."""
    monkeypatch.setattr(proof, "created_after", lambda launch, failure: launch.launched >= failure.at - 1.0)
    verdict = play(TRICKLE)
    assert verdict.failover_at is None
    assert verdict.missed == ("inf2",)


def test_a_batch_that_only_the_order_of_delivery_tells_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule was: the watch of NodeClaims is late, and each grant seems to come after the refusals beside it."""
    monkeypatch.setattr(proof, "BATCH_S", -math.inf)
    assert play(replace(TRICKLE, claims_late_s=4.0)).missed == ("inf2",)


SIZES = ("inf2.xlarge", "inf2.8xlarge")
WALK = replace(
    TRICKLE,
    pools=(PoolPlan("inf2", SIZES, ("on-demand", "spot")), TRICKLE.pools[1]),
    units=(replace(TRICKLE.units[0], types=SIZES, replicas=((0.0, 1), (20.0, 3))), TRICKLE.units[1]),
    sold={**dict.fromkeys(SIZES, ZONES), "safe.xlarge": ZONES},
    closed={Offering(size, zone, "spot"): (Closed(0.0, 1500.0),) for size in SIZES for zone in ZONES},
    idle=((15.0, 330.0),),
)
"""Karpenter runs again after five minutes, and is refused for six offerings, one a call, before it asks for one that EC2 has."""

AGAIN = replace(
    TRICKLE,
    units=(replace(TRICKLE.units[0], replicas=((0.0, 1), (20.0, 3), (46.0, 1), (260.0, 3)), slow=((250.0, 1500.0),)), TRICKLE.units[1]),
    sold={**TRICKLE.sold, "inf2.xlarge": ZONES},
    zones_known=True,
    closed={Offering("inf2.xlarge", zone): (Closed(0.0, 1500.0 if zone == ZONES[0] else 150.0),) for zone in ZONES},
)
"""The demand leaves before the patience is over, and returns, with a latency beyond its limit, after Karpenter's cache has expired."""


@pytest.mark.parametrize("world", [pytest.param(WALK, id="walk"), pytest.param(AGAIN, id="again")])
def test_what_was_refused_before_is_no_shortage_now(world: World) -> None:
    """Karpenter asks for what is left, or again for what has left its cache, and EC2 has it."""
    verdict = play(world)
    assert (verdict.failover_at, verdict.missed) == (None, ())


def test_old_demand_that_proves_a_shortage_with_its_first_refusals_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule was: half a minute after the first refusal, whether Karpenter was heard of since or not."""
    monkeypatch.setattr(proof, "RETRY_S", 30.0 - ICE_CACHE_S)
    monkeypatch.setattr(evidence, "heard_at", lambda *_: math.inf)
    assert play(WALK).false


def test_a_proof_that_outlives_the_cache_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rule was: refusals of a demand that had left proved that of the next one at once."""
    monkeypatch.setattr(proof._Said, "_waited", lambda *_: True)
    assert play(AGAIN).false
