"""Which waiting pods no instance is on its way for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.evidence import Ages, unmet_pods
from controller.policy.evidence.offerings import BINDS_S, ON_THE_WAY_S
from controller.policy.model import Launch, PendingPod, PoolObservation, Snapshot
from tests.policy.support import INF2, TRN1, change
from tests.support.applications import NOW, snapshot

OTHER = PoolObservation("inf2-west")
"""A second NodePool that inf2's pods may use."""


def claim(launched: float = NOW - 60, **changes: Any) -> Launch:
    """A launch of inf2's type in its NodePool."""
    made = snapshot().application.unit(INF2)
    return replace(Launch("claim", "inf2", launched - 2, launched, instance_type=made.instance_type), **changes)


def waiting(*launches: Launch, pods: Sequence[PendingPod] = (PendingPod("pod", NOW - 90),), **changes: Any) -> Snapshot:
    """Two replicas are ready, and more are wanted."""
    return change(snapshot(), **{"pool_launches": launches, "pending": tuple(pods), "desired": 2 + len(pods), "ready": 2, **changes})


def unmet(made: Snapshot, unit: str = INF2) -> list[str]:
    return [pod.name for pod in unmet_pods(made, Ages(made.now))[unit]]


@pytest.mark.parametrize(
    ("launches", "left"),
    [
        pytest.param((), ["pod"], id="nothing was launched"),
        pytest.param((claim(),), [], id="an instance is on its way"),
        pytest.param((claim(NOW - ON_THE_WAY_S),), [], id="at the last moment"),
        pytest.param((claim(NOW - ON_THE_WAY_S - 1),), ["pod"], id="it would have registered by now"),
        pytest.param((claim(gone=True),), ["pod"], id="its NodeClaim is gone"),
        pytest.param((claim(NOW - 2_000, initialized=NOW - BINDS_S),), [], id="usable for a moment: the pod will be bound"),
        pytest.param((claim(initialized=NOW - BINDS_S - 1),), ["pod"], id="usable, and the pod still waits"),
        pytest.param((claim(pool="elsewhere"),), ["pod"], id="of a NodePool that the unit does not use"),
        pytest.param((claim(instance_type="p5.48xlarge"),), ["pod"], id="of a type that the unit does not run on"),
    ],
)
def test_a_pod_waits_in_vain_unless_an_instance_for_it_is_on_its_way(launches: tuple[Launch, ...], left: list[str]) -> None:
    """A pod whose instance is booting proves no shortage, and a failover would come ten minutes before its replica."""
    assert unmet(waiting(*launches)) == left


@pytest.mark.parametrize(
    ("said", "left"),
    [
        pytest.param(None, [], id="nothing"),
        pytest.param(NOW - 65, [], id="before its NodeClaim was created"),
        pytest.param(NOW - 64, ["pod"], id="in the pass that created it"),
        pytest.param(NOW - 30, ["pod"], id="since"),
    ],
)
@pytest.mark.parametrize("asked_at", [None, NOW - 62])
def test_an_instance_is_for_no_pod_for_which_karpenter_found_no_place_since(
    said: float | None, left: list[str], asked_at: float | None
) -> None:
    """It is another application's, or of pods that nobody here knows: else their nodes would hide our shortage for as long as they boot."""
    pod, launch = PendingPod("pod", NOW - 90, unplaced_at=said), claim(NOW - 60, asked_at=asked_at)
    assert unmet(waiting(launch, pods=(pod,))) == left


def test_of_two_pods_the_one_that_found_a_place_has_it() -> None:
    """The older one has none, as Karpenter said of it alone."""
    pods = (PendingPod("older", NOW - 120, unplaced_at=NOW - 30), PendingPod("younger", NOW - 90))
    assert unmet(waiting(claim(), pods=pods)) == ["older"]


@pytest.mark.parametrize(
    ("pinned", "left"),
    [((), []), (("spot",), []), (("on-demand",), ["pod"]), (("on-demand", "spot"), [])],
    ids=["not", "to it", "not to it", "to both"],
)
def test_an_instance_of_another_capacity_type_is_not_on_its_way_for_a_pod(pinned: tuple[str, ...], left: list[str]) -> None:
    """Somebody else's spot instances would hide for ever that nothing is launched for pods that require on-demand ones."""
    spot = replace(claim(), capacity_type="spot")
    assert unmet(waiting(spot, pool_capacity_types=("on-demand", "spot"), pod_capacity_types=pinned)) == left


@pytest.mark.parametrize(
    ("pods", "devices", "left"),
    [
        pytest.param((0, 0), 0, [1], id="nothing is known: one pod an instance, the older"),
        pytest.param((1, 1, 1), 2, [2], id="as many as there are devices"),
        pytest.param((2, 2), 1, [1], id="a pod of more than there are is still one"),
        pytest.param((1, 1), 2, [], id="all of them"),
        pytest.param((2, 2), 3, [1], id="half a pod is none"),
    ],
)
def test_an_instance_takes_the_pods_that_have_waited_longest(pods: tuple[int, ...], devices: int, left: list[int]) -> None:
    """As many as its devices carry."""
    queue = tuple(PendingPod(f"pod-{number}", NOW - 90 + number, devices=wants) for number, wants in enumerate(pods))
    assert unmet(waiting(claim(devices=devices), pods=queue[::-1])) == [f"pod-{number}" for number in sorted(left, reverse=True)]


def test_an_instance_is_for_pods_that_may_use_its_nodepool() -> None:
    """A pod that names other NodePools waits on, whatever was launched for its unit."""
    west = replace(claim(), pool=OTHER.name, claim="west")
    both = {"alternatives": (replace(OTHER, launches=(west,)),)}
    named, own = PendingPod("named", NOW - 90, pools=(OTHER.name,)), PendingPod("own", NOW - 80)
    assert unmet(waiting(pods=(named, own), **both)) == ["own"]
    assert unmet(waiting(claim(), pods=(named,), alternatives=(OTHER,))) == ["named"]
    assert unmet(waiting(west, pods=(named,))) == ["named"], "a NodePool that the unit is not known to use"


def test_an_alternative_nodepool_is_judged_by_its_own_types() -> None:
    """The application file's types are those of the unit's own NodePool."""
    west = replace(claim(), pool=OTHER.name, claim="west", instance_type="inf2.48xlarge")
    named = (PendingPod("named", NOW - 90, pools=(OTHER.name,)),)
    large = replace(OTHER, instance_types=("inf2.48xlarge",), launches=(west,))
    assert unmet(waiting(pods=named, alternatives=(large,))) == []
    assert unmet(waiting(pods=named, alternatives=(replace(large, instance_types=("inf2.8xlarge",)),))) == ["named"]


def test_a_surge_pod_is_missed_by_nobody() -> None:
    """A rollout's pod waits while every replica is ready."""
    assert unmet(waiting(desired=2)) == []
    assert unmet(waiting(desired=3)) == ["pod"]
    assert unmet(waiting(desired=None)) == ["pod"]
    assert unmet(waiting(ready=None)) == ["pod"]


def test_units_that_share_a_nodepool_share_its_instances() -> None:
    """One instance takes one pod, the one that has waited longest, of whichever unit."""
    shared = claim()
    made = waiting(shared, pods=(PendingPod("younger", NOW - 50),))
    pool = made.units[INF2].pool
    kind = made.application.unit(INF2).instance_type
    units = tuple(replace(unit, node_pool="inf2", instance_type=kind) if unit.name == TRN1 else unit for unit in made.application.units)
    made = replace(made, application=replace(made.application, units=units))
    older = replace(made.units[TRN1], pool=pool, pending=(PendingPod("older", NOW - 70),), desired=3, ready=2)
    made = replace(made, units={**made.units, TRN1: older})
    assert (unmet(made, TRN1), unmet(made, INF2)) == ([], ["younger"])
