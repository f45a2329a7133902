"""What `status` shows of a look, without a cluster."""

from __future__ import annotations

from dataclasses import replace

from controller.cli.look import Look
from controller.cli.status import status_document, status_lines
from controller.policy.decide import decide
from controller.policy.model import Memory, Mode, PolicySettings, Snapshot, Verdict, Verification
from controller.policy.plan import plan
from tests.support.applications import NOW, application, memory, snapshot


def _look(made: Snapshot, remembered: Memory) -> Look:
    kept, decision = decide(remembered, made)
    return Look(made, kept, decision, plan(decision, made), None)


def test_replicas_that_the_load_balancer_calls_unhealthy_stand_beside_the_unit() -> None:
    """Ready 2/2 and no traffic is a riddle without it."""
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "", made.routing.action, applied=True, healthy={"sd21-inf2": 0, "sd21-trn1": 2})
    look = _look(replace(made, routing=replace(made.routing, verification=seen)), memory())
    lines = [line for _, line in status_lines(look, None)]
    assert [line for line in lines if "sd21-inf2" in line and "2/2" in line and "demand met, 0 healthy target(s)" in line]
    assert [line for line in lines if "sd21-trn1" in line and line.endswith("demand met")]
    assert status_document(look, None)["healthyTargets"] == {"sd21-inf2": 0, "sd21-trn1": 2}


def test_a_gradual_return_is_in_the_heading() -> None:
    """The mode alone would hide that half of the traffic is back."""
    made = snapshot(application(policy=PolicySettings(return_steps=4)), Mode.CAPACITY)
    look = _look(replace(made, routing=replace(made.routing, return_step=2)), memory(Mode.CAPACITY))
    assert next(line for _, line in status_lines(look, None)) == "sd21  CAPACITY, step 2 of 4 of the way back for 24 h   shop/sd21"
    assert status_document(look, None)["returnStep"] == 2
