"""A unit with `probe: reservation` beside the real Karpenter: EC2 is asked without it, and nothing is left for it to use."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from controller.clients.kube import NODE_CLAIMS, NODE_CLASSES
from controller.policy.model import Return, UnitEvidence
from controller.service.wiring import Service
from controller.signals.reservation_probe import TAG
from failover_harness.controllers.karpenter import NODE_CLASS
from failover_harness.waiting import wait_for
from failover_testbed.aws.server import EmulatedAws
from tests.cluster.manifests import SYSTEM
from tests.cluster.processes import Process, run_controller
from tests.world.stack import World

_UNIT = "sd21-inf2"
_PROVEN_S = 150.0
"""Until a reservation is made after the end of a shortage: a minute, and busy machines are slow."""


def _evidence(service: Service) -> UnitEvidence:
    return service.controller.views()[0].decision.evidence[_UNIT]


def _run_short(world: World) -> None:
    """The unit runs out everywhere; the mode changes, and the demand that Karpenter was refused for goes away."""
    world.scale(_UNIT, 2)
    wait_for("capacity mode", lambda: world.mode() == "capacity", 90, world.report)
    world.scale(_UNIT, 1)
    wait_for("nothing waits", lambda: world.unschedulable(_UNIT) == 0, 60, world.report)


def _claims(world: World) -> list[str]:
    """The NodeClaims of the unit's NodePool."""
    pool = world.units[_UNIT].node_pool
    found = world.session.request("GET", NODE_CLAIMS.path(None), query=(("labelSelector", f"karpenter.sh/nodepool={pool}"),))["items"]
    return [one["metadata"]["name"] for one in found]


def test_a_return_is_proven_without_karpenter_and_leaves_nothing(world: World, aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Karpenter asks EC2 for nothing between the end of the shortage and the proof, and finds no reservation to launch into."""
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    world.probes[_UNIT] = "reservation"
    world.capacity.refuse(world.instance_type(_UNIT), world.zones)
    reservations = world.capacity.reservations
    with world.controller(aws={"apis": ["ec2"], "region": "us-west-2"}) as service:
        _run_short(world)
        wait_for("EC2 refuses the probe", lambda: reservations.calls > len(world.zones), 90, world.report)
        assert (reservations.made, _evidence(service).returned) == ({}, Return.NONE)
        fleets, claims = len(world.capacity.fleets), _claims(world)
        world.capacity.restore(world.instance_type(_UNIT))
        wait_for("the return is proven", lambda: _evidence(service).returned.proven, _PROVEN_S, world.report)
        assert _evidence(service).returned is Return.RESERVED
        assert (len(world.capacity.fleets), _claims(world)) == (fleets, claims), "Karpenter launched something meanwhile"
    (made,) = reservations.made.values()
    assert (dict(made.tags), made.offering.instance_type) == ({TAG: SYSTEM}, world.instance_type(_UNIT))
    assert reservations.left == []
    node_class = world.session.get(NODE_CLASSES, None, NODE_CLASS["name"])
    assert node_class["status"].get("capacityReservations", []) == [], "the node class must not find the reservation"


def test_the_reservation_of_a_killed_controller_is_cancelled_by_the_next(world: World, aws: EmulatedAws) -> None:
    """EC2 has made it and the process is gone: the next one cancels it before it asks again, and proves the return then."""
    world.probes[_UNIT] = "reservation"
    world.capacity.refuse(world.instance_type(_UNIT), world.zones)
    settings, reservations = {**aws.environment(), "FAILOVERCTL_AWS__APIS": '["ec2"]'}, world.capacity.reservations
    running: list[Process] = []

    def kill(call: str) -> None:
        if call == "create after" and running:
            running[0].end(signal.SIGKILL)
            running.clear()

    with ExitStack() as first:
        running.append(first.enter_context(run_controller(world, settings=settings)))
        _run_short(world)
        reservations.interrupts = kill
        world.capacity.restore(world.instance_type(_UNIT))
        wait_for("the controller is killed", lambda: not running, _PROVEN_S, world.report)
    assert len(reservations.left) == 1
    with run_controller(world, settings=settings):
        wait_for("the next controller cancels it", lambda: not reservations.left, 60, world.report)
        wait_for("it asks again", lambda: len(reservations.made) > 1, _PROVEN_S, world.report)
        wait_for("nothing is left", lambda: not reservations.left, 60, world.report)
