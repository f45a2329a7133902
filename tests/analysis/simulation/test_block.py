"""A Capacity Block that ends: no request fails, because the others have grown and the traffic has moved before."""

from __future__ import annotations

import pytest

from controller.policy.model import Mode, Override
from tests.analysis.simulation.block import play_block
from tests.analysis.simulation.support import broken


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_request_fails_when_a_block_ends(seed: int) -> None:
    """The traffic has left the nodes at least ten minutes before Karpenter drains them."""
    ended = play_block(seed, noise=0.03)
    assert ended.lost == 0, f"{ended.lost:.0f} of {ended.demand:.0f} requests failed"
    assert ended.ahead_s >= 600
    # A NodePool of reserved instances alone refuses nothing when it has none left. `truth` counts its pods; an alert names them.
    assert broken(ended.result) <= {"truth"}


def test_capacity_mode_grows_before_a_block_ends() -> None:
    """One target group serves there with all pods, so traffic leaves those of the block only with them. The others have grown by then."""
    ended = play_block(mode=Mode.CAPACITY, override=Override(pinned_mode=Mode.CAPACITY, pinned_why="test"), noise=0.03)
    assert ended.lost == 0, f"{ended.lost:.0f} of {ended.demand:.0f} requests failed"


def test_a_block_whose_end_is_not_known_costs_requests() -> None:
    """The same world without what EC2 says: the test above can fail."""
    ended = play_block(known=False, noise=0.03)
    assert ended.lost > 1_000
    assert ended.ahead_s == 0
