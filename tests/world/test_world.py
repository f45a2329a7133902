"""How the controller reacts to the real Karpenter."""

from __future__ import annotations

from controller.policy.model import Cause, Proof, Shortage, UnitEvidence
from controller.service.wiring import Service
from failover_harness.controllers.fleets import QUOTA, SUBNET_FULL
from failover_harness.waiting import wait_for
from tests.world.stack import World

RETURN_S = 280.0
"""Until Karpenter has requested a node again after a refusal and the node has joined: three minutes, and busy machines are slow."""


def _evidence(service: Service, unit: str) -> UnitEvidence:
    return service.controller.views()[0].decision.evidence[unit]


def test_a_zone_without_capacity_is_not_a_unit_without_it(world: World) -> None:
    """Karpenter launches in another zone without reporting the first; the mode stays, and the pending pods become ready."""
    world.capacity.refuse(world.instance_type("sd21-inf2"), world.zones[:1])
    with world.controller() as service:
        before = world.action()
        world.scale("sd21-inf2", 2)
        wait_for("the second replica is ready", lambda: world.endpoints("sd21-inf2") == 2, 120, world.report)
        assert _evidence(service, "sd21-inf2").shortage is Shortage.NONE
        assert (world.action(), world.mode()) == (before, "")


def test_a_unit_without_capacity_is_left_and_returned_to_on_proof(world: World) -> None:
    """Refused in every zone: the Ingress goes to capacity mode. Once Karpenter has launched again and the node has joined: back."""
    inf2 = world.instance_type("sd21-inf2")
    world.capacity.refuse(inf2, world.zones)
    with world.controller() as service:
        cost = world.targets()
        world.scale("sd21-inf2", 2)
        wait_for("capacity mode", lambda: world.mode() == "capacity", 60, world.report)
        assert world.targets() == ["sd21-all"]
        evidence = _evidence(service, "sd21-inf2")
        assert (evidence.shortage, evidence.proof, evidence.cause) == (Shortage.PROVEN, Proof.SATURATED, Cause.CAPACITY)
        asked = world.capacity.fleets[-1]
        assert {one.zone for one in asked} == set(world.zones), "the refusal proves the unit short because every zone was requested"
        world.capacity.restore(inf2)
        wait_for("cost mode", lambda: world.mode() == "cost", RETURN_S, world.report)
        assert world.targets() == cost
        wait_for("the replica on the node that joined", lambda: world.endpoints("sd21-inf2") == 2, 60, world.report)


def test_a_quota_is_reported_as_a_quota(world: World) -> None:
    """Refused by the account's limit: the alert says that waiting does not help and who can raise the limit."""
    world.capacity.refuse(world.instance_type("sd21-g6-triton"), world.zones, QUOTA)
    with world.controller() as service:
        world.scale("sd21-g6-triton", 2)
        wait_for("the cause", lambda: _evidence(service, "sd21-g6-triton").cause is Cause.QUOTA, 60, world.report)
        wait_for("the alert", lambda: any("quota" in one.key for one in service.controller.views()[0].decision.alerts), 30, world.report)


def test_full_subnets_are_reported_as_the_network(world: World) -> None:
    """Refused for lack of addresses: the alert says that every pool in these subnets is affected."""
    world.capacity.refuse(world.instance_type("sd21-g5-cuda"), world.zones, SUBNET_FULL)
    with world.controller() as service:
        world.scale("sd21-g5-cuda", 2)
        wait_for("the cause", lambda: _evidence(service, "sd21-g5-cuda").cause is Cause.NETWORK, 60, world.report)
        wait_for("the alert", lambda: any("network" in one.key for one in service.controller.views()[0].decision.alerts), 30, world.report)
