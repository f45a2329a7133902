"""Karpenter's batching window."""

from __future__ import annotations

from failover_testbed.capacity.batcher import Batcher


def test_nothing_is_due_without_a_pod() -> None:
    assert Batcher().due_at == float("inf")


def test_each_pod_keeps_the_batch_open_for_another_second_up_to_ten() -> None:
    """As --batch-idle-duration and --batch-max-duration."""
    subject = Batcher()
    subject.add(100.0)
    assert subject.due_at == 101.0
    subject.add(100.5)
    assert subject.due_at == 101.5
    for second in range(1, 10):
        subject.add(100.5 + second)
    assert subject.due_at == 110.0


def test_the_next_pod_opens_another_batch() -> None:
    subject = Batcher()
    subject.add(100.0)
    subject.close()
    assert subject.due_at == float("inf")
    subject.add(200.0)
    assert subject.due_at == 201.0
