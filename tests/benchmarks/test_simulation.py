"""What the benchmark of simulated years plays."""

from __future__ import annotations

from benchmarks.simulation import DAYS, INTERVAL_S, WORLD
from failover_analysis.simulation.scenario import find, load


def test_each_seed_has_outages_of_its_own() -> None:
    """A world with the same few outages in every seed would find little, and nobody would notice: nothing in it breaks."""
    world = load(find(WORLD))
    first, second = (world.setup(seed, days=DAYS, random_faults=True, interval_s=INTERVAL_S) for seed in (1, 2))
    assert first.outages != second.outages
    assert min(len(first.outages), len(second.outages)) > DAYS
