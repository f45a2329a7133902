"""What a patience leads to: when the traffic moves, whether the shortage was real, and how long users were exposed."""

from __future__ import annotations

from dataclasses import replace

from controller.policy.model import Proof
from failover_analysis.fuzz.world import LENGTH_S
from research.patience import Played, Stretch, outcome, played

REAL = Played(
    one_zone=True,
    stretches=(Stretch(130.0, 400.0, ((130.0, Proof.SATURATED),), ("a",)),),
    short={"a": ((100.0, 400.0),)},
)
"""A unit that is short from 100 s to 400 s, and proven at 130 s."""


def every(seconds: float) -> dict[Proof, float]:
    return dict.fromkeys(Proof, seconds)


def test_users_are_exposed_until_the_traffic_moves() -> None:
    """From the start of the shortage, not from its proof."""
    assert outcome(REAL, every(0.0)).exposed_s == 30.0
    moved = outcome(REAL, every(30.0))
    assert (moved.exposed_s, moved.proof, moved.false, moved.over) == (60.0, Proof.SATURATED, False, False)
    assert moved.brief  # over at 460 s


def test_a_shortage_that_ends_within_the_patience_moves_nothing() -> None:
    """Its whole length is exposed."""
    waited = outcome(REAL, every(270.0))
    assert (waited.proof, waited.exposed_s) == (None, 300.0)


def test_a_proof_without_a_shortage_is_false() -> None:
    """Unless it lasts less than the patience."""
    lone = replace(REAL, stretches=(Stretch(700.0, 701.0, ((700.0, Proof.AGE),), ("a",)),))
    assert outcome(lone, every(0.0)).false
    assert outcome(lone, every(0.0)).exposed_s == 300.0
    assert outcome(lone, every(5.0)).proof is None


def test_each_kind_of_proof_has_its_patience() -> None:
    """The first one that is over counts."""
    both = replace(REAL, stretches=(Stretch(130.0, 400.0, ((130.0, Proof.NAMED), (140.0, Proof.SATURATED)), ("a",)),))
    assert outcome(both, {**every(60.0), Proof.SATURATED: 10.0}).exposed_s == 50.0
    assert outcome(both, {**every(60.0), Proof.SATURATED: 90.0}).exposed_s == 90.0


def test_a_played_world_shows_its_shortages() -> None:
    """Times lie within the world, and some unit is short in one of a few."""
    worlds = [played((seed, True)) for seed in range(4)]
    times = [at for world in worlds for each in world.short.values() for pair in each for at in pair]
    assert times
    assert all(0.0 <= at <= LENGTH_S for at in times)
