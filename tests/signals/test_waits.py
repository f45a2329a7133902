"""How long a unit has waited, when its pods come and go."""

from __future__ import annotations

from controller.clients.kube import NODE_CLAIMS
from controller.clock import format_rfc3339
from controller.signals.waits import BREAK_S, Waits
from tests.signals.samples import node_claim
from tests.signals.test_cluster_clock import T0, Cluster

UNIT = ("shop/sd21", "inf2")


def test_a_replaced_pod_keeps_the_age() -> None:
    """The one that was deleted, a moment without any, and the one that was made."""
    waits = Waits()
    assert waits.since(UNIT, [100.0], [], 150.0) == 100.0
    assert waits.since(UNIT, [], [], 160.0) is None
    assert waits.since(UNIT, [165.0], [], 170.0) == 100.0
    assert waits.since(("shop/sd21", "trn1"), [165.0], [], 170.0) == 165.0


def test_a_break_ends_it() -> None:
    """Nobody waited for a while."""
    waits = Waits()
    for late, expected in ((0.0, 100.0), (1.0, 171.0 + BREAK_S)):
        waits.since(UNIT, [100.0], [], 150.0)
        assert waits.since(UNIT, [], [], 170.0) is None
        assert waits.since(UNIT, [], [], 180.0) is None
        assert waits.since(UNIT, [171.0 + BREAK_S], [], 170.0 + BREAK_S + late) == expected


def test_passes_that_are_far_apart_are_no_break() -> None:
    """A thousand applications have a pass each every 50 s: a pod that was replaced in between made the demand young."""
    waits = Waits()
    waits.since(UNIT, [100.0], [], 150.0)
    assert waits.since(UNIT, [230.0], [], 150.0 + 3 * BREAK_S) == 100.0


def test_a_launch_ends_it() -> None:
    """A scale-up whose pods get their nodes one after the other is no shortage, however long it goes on."""
    waits = Waits()
    waits.since(UNIT, [100.0], [], 150.0)
    assert waits.since(UNIT, [155.0], [154.0], 160.0) == 155.0
    assert waits.since(UNIT, [158.0], [154.0], 170.0) == 155.0


def test_a_claim_is_never_younger_than_its_first_sight() -> None:
    """A clock of the API server that was ahead when it stamped the claim would prove a return."""
    cluster = Cluster()
    for name in ("inf2-aaaaa", "inf2-ddddd"):
        cluster.refuse(name)
    cluster.ours.advance(1)
    ahead = node_claim("inf2-bbbbb", "inf2", T0 + 1800, Launched=format_rfc3339(T0 + 1801))
    cluster.view.changed(NODE_CLAIMS, None, "ADDED", ahead)
    cluster.ours.advance(9)
    cluster.refuse("inf2-ccccc")
    pool = cluster.view.pool("inf2", cluster.ours.now())
    (launch,) = pool.launches
    assert (launch.asked_at or 0.0) < pool.failures[-1].at


def test_what_was_removed_is_forgotten_and_nothing_else() -> None:
    """Applications come and go while the controller runs; those that stay keep their ages through a reload."""
    waits = Waits()
    for unit in (UNIT, ("shop/gone", "inf2"), ("shop/sd21", "gone")):
        waits.since(unit, [100.0], [], 150.0)
    waits.retain({UNIT})
    assert waits.since(UNIT, [145.0], [], 160.0) == 100.0
    assert waits.since(("shop/gone", "inf2"), [145.0], [], 160.0) == 145.0
    assert waits.since(("shop/sd21", "gone"), [145.0], [], 160.0) == 145.0
