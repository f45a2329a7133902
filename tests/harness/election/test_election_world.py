"""Many replicas, one Lease, simulated time: only its holder acts. `make bench-election` runs 100,000 lease periods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.service import election
from controller.service.election import Election, Timing
from failover_harness.election.simulated import ROUGH, Figures, Trouble, World

BEYOND = replace(ROUGH, late=True, gap=0.1)
"""Faults that no lease can guard against; only a record that compares versions and epochs can."""
PERIODS = 500


def run(trouble: Trouble, *, seed: int = 1, replicas: int = 3, periods: int = PERIODS) -> Figures:
    """The figures of one world."""
    return World(seed, trouble, replicas=replicas).run(periods * Timing().lease_s)


@pytest.mark.parametrize("replicas", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_no_action_and_no_state_write_by_who_does_not_hold_the_lease(seed: int, replicas: int) -> None:
    """Partitions, 30 s of latency, pauses, kills, deleted and stolen Leases, clocks at half and twice the rate, all at once."""
    figures = run(ROUGH, seed=seed, replicas=replicas)
    assert (figures.stale_state, figures.foreign_actions) == (0, 0)
    assert figures.actions > 300, "work was done"
    assert figures.epochs > 40, "and leaders changed"


@pytest.mark.parametrize("seed", range(2))
def test_state_is_fenced_even_where_requests_arrive_after_their_client_gave_up(seed: int) -> None:
    """Or if the process paused between confirming and sending: the next leader's stamp has changed the record's version."""
    assert run(BEYOND, seed=seed).stale_state == 0


def test_the_same_seed_gives_the_same_world() -> None:
    assert run(ROUGH, periods=100) == run(ROUGH, periods=100)


def test_another_takes_over_within_the_promised_time() -> None:
    """A lease duration and a poll after a kill, a poll after SIGTERM; simulated seconds."""
    killed, ended = run(Trouble(kill_every_s=90)).after_kill_s, run(Trouble(end_every_s=90)).after_end_s
    assert len(killed) > 40
    assert max(killed) <= 18
    assert len(ended) > 40
    assert max(ended) <= 2


def test_a_calm_world_has_one_leader_for_ever() -> None:
    figures = run(Trouble(rates=(0.9, 1.1)))
    assert figures.epochs == 1
    assert figures.refused == 0


# --- the checks can fail: they catch the removal of each safeguard -----------------------------------------------------------------------


def test_trusting_the_whole_lease_duration_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """With clocks at different rates the old leader still acts while the new one does."""
    monkeypatch.setattr(election, "CLOCK_RATIO", 1.0)
    assert run(Trouble(deny_every_s=60, rates=(0.5, 2.0))).foreign_actions > 0


def test_creating_an_absent_lease_at_once_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder of the deleted Lease does not know yet."""
    monkeypatch.setattr(Election, "_may_create", lambda self, now: True)
    assert run(Trouble(delete_every_s=20), periods=2000).foreign_actions > 0


def test_state_without_a_stamp_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not compare versions accepts an earlier leader's late writes."""
    monkeypatch.setattr(World, "accept_state", _accept_blindly)
    assert run(BEYOND).stale_state > 0


def _accept_blindly(world: World, over: tuple[int, int], epoch: int) -> tuple[int, int]:
    world.figures.stale_state += epoch < world.server.state[1]
    world.server.state = (world.server.state[0] + 1, epoch)
    return world.server.state
