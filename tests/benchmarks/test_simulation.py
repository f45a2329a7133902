"""What the benchmark of simulated years plays."""

from __future__ import annotations

from benchmarks.simulation import DAYS, IN_TURN, INTERVAL_S, WORLD, strategy_of
from controller.policy.model import Strategy
from failover_analysis.simulation.scenario import find, load
from failover_analysis.simulation.variety import KINDS_PLAYED

CI_SEEDS = 21


def test_each_seed_has_outages_of_its_own() -> None:
    """A world with the same few outages in every seed would find little, and nobody would notice: nothing in it breaks."""
    world = load(find(WORLD))
    first, second = (world.setup(seed, days=DAYS, random_faults=True, interval_s=INTERVAL_S) for seed in (1, 2))
    assert first.outages != second.outages
    assert min(len(first.outages), len(second.outages)) > DAYS


def test_the_seeds_of_ci_have_every_strategy_behind_every_kind_of_routing_object() -> None:
    """Whatever is not played finds nothing."""
    world = load(find(WORLD))
    drawn = {
        (strategy_of(IN_TURN, seed), world.setup(seed, days=1, random_faults=True).application.route.kind)
        for seed in range(1, CI_SEEDS + 1)
    }
    assert drawn == {(one.value, kind) for one in Strategy for kind in KINDS_PLAYED}
