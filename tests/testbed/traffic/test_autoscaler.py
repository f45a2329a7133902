"""KEDA's HorizontalPodAutoscaler."""

from __future__ import annotations

from controller.policy.model import SCALE_IN_S
from failover_testbed.traffic.autoscaler import Autoscaler


def test_wants_the_total_over_the_target_rounded_up() -> None:
    """An external metric with an averageValue."""
    assert Autoscaler().replicas(0, 500, 105, 4, least=1, most=100) == 5


def test_a_tenth_is_tolerated() -> None:
    """459 over 4 times 105 is 1.09."""
    assert Autoscaler().replicas(0, 459, 105, 4, least=1, most=100) == 4


def test_grows_by_four_or_doubles() -> None:
    """The default scale-up policy."""
    assert Autoscaler().replicas(0, 5000, 100, 2, least=1, most=100) == 6
    assert Autoscaler().replicas(0, 5000, 100, 10, least=1, most=100) == 20


def test_shrinks_only_once_the_window_has_forgotten_the_higher_recommendation() -> None:
    """Five minutes by default."""
    subject = Autoscaler()
    assert subject.replicas(0, 800, 100, 8, least=1, most=100) == 8
    assert subject.replicas(60, 300, 100, 8, least=1, most=100) == 8
    assert subject.replicas(SCALE_IN_S + 1, 200, 100, 8, least=1, most=100) == 3
    assert subject.replicas(SCALE_IN_S + 62, 200, 100, 3, least=1, most=100) == 2


def test_shrinks_by_the_window_of_its_scaled_object() -> None:
    """At once with 0, later with more than the default, and never where scale-in is disabled."""
    for seconds, replicas in ((0.0, 3), (900.0, 8), (None, 8)):
        subject = Autoscaler()
        subject.remember(0, 8)
        assert subject.replicas(SCALE_IN_S + 1, 300, 100, 8, least=1, most=100, scale_in_s=seconds) == replicas


def test_grows_only_once_the_window_has_forgotten_the_lower_recommendation() -> None:
    """`behavior.scaleUp.stabilizationWindowSeconds`: a burst that is shorter starts nothing, and of a longer one the lowest part counts."""
    subject = Autoscaler()
    recommended = [(0, 200, 2), (60, 900, 2), (120, 200, 2), (180, 900, 2), (300, 700, 2), (301, 900, 6), (400, 900, 7), (481, 900, 9)]
    present = 2
    for at, total, replicas in recommended:
        present = subject.replicas(at, total, 100, present, least=1, most=100, scale_out_s=180.0)
        assert present == replicas, at


def test_without_a_window_it_grows_at_once() -> None:
    """Kubernetes' default for growing."""
    subject = Autoscaler()
    assert subject.replicas(0, 200, 100, 2, least=1, most=100) == 2
    assert subject.replicas(1, 500, 100, 2, least=1, most=100) == 5


def test_a_floor_waits_for_no_window() -> None:
    """KEDA's minReplicaCount is no recommendation."""
    subject = Autoscaler()
    subject.replicas(0, 200, 100, 2, least=1, most=100, scale_out_s=180.0)
    assert subject.replicas(15, 900, 100, 2, least=6, most=100, scale_out_s=180.0) == 6


def test_the_floor_holds_at_once() -> None:
    """A raised minimum is no recommendation from the metric: neither policy nor window applies."""
    assert Autoscaler().replicas(0, 100, 100, 1, least=9, most=100) == 9
    assert Autoscaler().replicas(0, 5000, 100, 50, least=1, most=7) == 7


def test_a_forbidden_growth_leaves_the_floor() -> None:
    """KEDA's paused-scale-out stops the metric, not a raised minimum."""
    assert Autoscaler().replicas(0, 5000, 100, 2, least=1, most=100, may_grow=False) == 2
    assert Autoscaler().replicas(0, 5000, 100, 2, least=3, most=100, may_grow=False) == 3
