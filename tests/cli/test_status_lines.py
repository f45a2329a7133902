"""What `status` shows of an observation, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controller.cli.observe import Observation, judge
from controller.cli.plan import plan_document, plan_lines
from controller.cli.status import status_document, status_lines
from controller.clock import format_rfc3339
from controller.policy.conclusion import conclude
from controller.policy.ledger import Ledger
from controller.policy.model import HoldStrategy, Memory, Mode, OutageHistory, PolicySettings, Snapshot, Verdict, Verification
from controller.service.controller import View
from controller.service.status import document
from tests.policy.support import change, pods, refused
from tests.support.applications import NOW, application, memory, snapshot


def _observed(made: Snapshot, remembered: Memory) -> Observation:
    now = conclude(remembered, made)
    return Observation(made, now.memory, now.decision, now.plan, None)


def test_replicas_that_the_load_balancer_calls_unhealthy_stand_beside_the_unit() -> None:
    """Ready 2/2 and no traffic is a riddle without it."""
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "", made.routing.action, applied=True, healthy={"sd21-inf2": 0, "sd21-trn1": 2})
    observation = _observed(replace(made, routing=replace(made.routing, verification=seen)), memory())
    lines = [line for _, line in status_lines(observation, None)]
    assert [line for line in lines if "sd21-inf2" in line and "2/2" in line and "demand met, 0 healthy target(s)" in line]
    assert [line for line in lines if "sd21-trn1" in line and line.endswith("demand met")]
    assert status_document(observation, None)["healthyTargets"] == {"sd21-inf2": 0, "sd21-trn1": 2}


def test_a_gradual_return_is_in_the_heading() -> None:
    """The mode alone would hide that half of the traffic is back."""
    made = snapshot(application(policy=PolicySettings(return_steps=4)), Mode.CAPACITY)
    observation = _observed(replace(made, routing=replace(made.routing, return_step=2)), memory(Mode.CAPACITY))
    assert next(line for _, line in status_lines(observation, None)) == "sd21  CAPACITY, step 2 of 4 of the way back for 24 h   shop/sd21"
    assert status_document(observation, None)["returnStep"] == 2


def test_the_account_of_the_leading_replica_is_shown() -> None:
    """As it publishes it; nothing where nothing was observed yet."""
    made = snapshot()
    observation = judge(made, memory())
    account = Ledger({Mode.COST: 7200.0}, {Mode.COST: 1000.0}, 50.0, 3.25, 1.5, 90.0, 600.0, 0.75, 2, {"kubernetes": 12.0, "elbv2": 840.5})
    view = View(made.application, made, observation.decision, observation.made, observation.memory, account)
    published = document([view], [], now=NOW, epoch=1, leader="", dry_run=False, config_error="", calls={"kubernetes": 99})
    lines = [line for _, line in status_lines(observation, published)]
    assert "  account of 2 h: cost mode saved $3.25, failover cost $1.50, exposed 1.5 min," in lines
    assert "  replicas kept by probes $0.75, mode changes 2; calls: elbv2 840, kubernetes 12" in lines
    assert published["calls"] == {"kubernetes": 99}
    nothing = document([replace(view, ledger=Ledger())], [], now=NOW, epoch=1, leader="", dry_run=False, config_error="", calls={})
    assert not [line for _, line in status_lines(observation, nothing) if "account" in line]


def _waits(policy: PolicySettings, history: OutageHistory) -> tuple[list[str], dict[str, object]]:
    """What status and plan say of the waits, which must be the same, and the document."""
    made = snapshot(application(policy=policy))
    observation = judge(made, replace(memory(), outage_history=history))
    lines = [line for lines in (status_lines(observation, None), plan_lines(observation, exact=False)) for _, line in lines]
    waits = [line.split(maxsplit=1)[1] for line in lines if line.lower().lstrip().startswith("waits")]
    assert plan_document(observation)["waits"] == status_document(observation, None)["waits"]
    return waits, plan_document(observation)["waits"]


def test_the_waits_are_shown_with_where_they_come_from() -> None:
    """Of the heaviest unit where none is short."""
    lines, shown = _waits(PolicySettings(patience_s=45), OutageHistory())
    assert lines == ["break-even: patience 45 s, hold 22 min 42 s (sd21-inf2)"] * 2
    assert (shown["patienceSeconds"], shown["strategy"], shown["shortagesOverByPatience"]) == (45, "break-even", None)


def test_learned_waits_say_what_was_learned() -> None:
    """How many shortages, and which of their quantiles the waits are; nothing before there is enough to learn from."""
    learned = PolicySettings(hold_strategy=HoldStrategy.LEARNED, exposed_cost=5.0)
    few, _ = _waits(learned, OutageHistory(outages_s=(600.0,) * 3, uptimes_s=(7200.0,) * 9))
    assert few[0].endswith("; break-even until 8 shortages, and stretches between them, were observed: 3 so far")
    brief = (20.0,) * 6 + (3600.0,) * 2
    lines, shown = _waits(learned, OutageHistory(outages_s=brief, uptimes_s=(86_400.0,) * 10))
    assert shown["strategy"] == "learned"
    assert (shown["shortagesSeen"], shown["stretchesBetweenSeen"]) == (8, 10)
    assert lines[0].startswith("learned: patience ")
    assert "75% of 8 shortages were over by that patience, 0% of 10 stretches between them by that hold" in lines[0]


def test_the_running_controller_says_whether_the_load_balancer_shows_the_action() -> None:
    """In ``/status`` under the names of `failoverctl status --json`."""
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "other weights", made.routing.action, weights={"sd21-inf2": 1}, healthy={"sd21-inf2": 0})
    made = replace(made, routing=replace(made.routing, verification=seen))
    observation = judge(made, memory())
    view = View(made.application, made, observation.decision, observation.made, observation.memory, Ledger())
    published = document([view], [], now=NOW, epoch=1, leader="", dry_run=False, config_error="", calls={})["applications"]["shop/sd21"][
        "verification"
    ]
    shown = status_document(observation, None)
    assert (published["verified"], published["problem"]) == ("not-yet", "other weights")
    assert {name: published[name] for name in ("verified", "weights", "actualWeights", "healthyTargets")} == {
        name: shown[name] for name in ("verified", "weights", "actualWeights", "healthyTargets")
    }


def _suspected(**unit: Any) -> Observation:
    """inf2 was refused in one zone of three."""
    failure = refused(NOW - 60, named_type="inf2.xlarge", named_zone="us-west-2a", truncated=True)
    zones = ("us-west-2a", "us-west-2b", "us-west-2c")
    changes = {"pool_failures": (failure,), "pool_zones": zones, "pending": pods(), "desired": 4, **unit}
    return judge(change(snapshot(), **changes), memory())


def test_plan_and_status_say_how_far_a_proof_is() -> None:
    """What is refused, what is missing, and when age alone proves it: for people and for machines."""
    observation = _suspected()
    (line,) = [line for _, line in status_lines(observation, None) if "sd21-inf2" in line and "2/4" in line]
    assert line.endswith("refused in part (capacity), not yet: us-west-2b, us-west-2c")
    units, evidence = status_document(observation, None)["units"], plan_document(observation)["evidence"]
    for found in (units["sd21-inf2"], evidence["sd21-inf2"]):
        assert {key: found[key] for key in ("proof", "refused", "missing", "waitingSince", "ageAt")} == {
            "proof": None,
            "refused": ["us-west-2a"],
            "missing": ["us-west-2b", "us-west-2c"],
            "waitingSince": format_rfc3339(NOW - 90),
            "ageAt": format_rfc3339(NOW + 150),
        }
    assert (units["sd21-trn1"]["refused"], units["sd21-trn1"]["ageAt"]) == ([], None)


def test_a_limit_is_not_called_a_refusal() -> None:
    """Nobody was refused anything: the operator's limit stops the launch."""
    observation = _suspected(pool_failures=(), pool_at_limit="limit of cpu reached: 32 of 32")
    assert [line for _, line in status_lines(observation, None) if "sd21-inf2" in line and line.endswith("NodePool at its limit")]
    assert (
        observation.decision.sentence
        == "part of what sd21-inf2 may have is beyond the limit of its NodePool; the other parts are not proven short"
    )
