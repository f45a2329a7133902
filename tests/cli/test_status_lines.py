"""What `status` shows of an observation, without a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from controller.cli.explain import explanation_lines
from controller.cli.explanation import explain
from controller.cli.observe import Observation, judge
from controller.cli.plan import plan_document, plan_lines
from controller.cli.replicas import Lapsed, Replicas
from controller.cli.status import Running, change_essence, change_line, status_document, status_lines
from controller.clock import format_rfc3339
from controller.policy.account import Ledger
from controller.policy.model import (
    Cause,
    FloorMemory,
    Memory,
    Mode,
    Override,
    PolicySettings,
    Sample,
    Scaler,
    Snapshot,
    Strategy,
    UnitMemory,
    Verdict,
    Verification,
)
from controller.routing.conclusion import conclude
from controller.service.application_status import json_object, status_of
from controller.service.controller import View
from controller.service.status import document, process
from controller.service.telemetry import Telemetry
from tests.policy.support import change, pods, refused
from tests.signals.hostile import Place, replaced
from tests.support.applications import NOW, alert_of, application, memory, snapshot


def _observed(made: Snapshot, remembered: Memory) -> Observation:
    now = conclude(remembered, made)
    return Observation(made, now.memory, now.decision, now.plan, None)


def test_replicas_that_the_load_balancer_calls_unhealthy_stand_beside_the_unit() -> None:
    """Ready 2/2 and no traffic is a riddle without it."""
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "", made.routing.action, applied=True, healthy={"sd21-inf2": 0, "sd21-trn1": 2})
    observation = _observed(replace(made, routing=replace(made.routing, verification=seen)), memory())
    lines = [line for _, line in status_lines(observation, Running(), 200)]
    assert [line for line in lines if line.startswith("⚠ sd21-inf2") and "2/2" in line and line.endswith("0 of 2 targets healthy")]
    assert [line for line in lines if line.startswith("✔ sd21-trn1") and line.endswith("no pod waits")]
    assert status_document(observation, Running())["healthyTargets"] == {"sd21-inf2": 0, "sd21-trn1": 2}


@pytest.mark.parametrize(
    ("floor", "ours", "kept"),
    [
        pytest.param(5, True, 5, id="ours is in its place"),
        pytest.param(5, False, 8, id="theirs is there"),
        pytest.param(1, True, None, id="the file asks for it too"),
    ],
)
def test_a_floor_of_somebody_else_is_shown(floor: int, *, ours: bool, kept: int | None) -> None:
    """Its field manager may be ours: nobody would find out why the replicas stay."""
    made = change(snapshot(), scaler=Scaler("sd21-inf2-hpa", "5", 8, 20, "105", 0, floor_ours=ours))
    observation = _observed(made, memory(floors={"sd21-inf2-hpa": FloorMemory(found=floor)}))
    words = f"floor: sd21-inf2 {kept}: somebody else set this floor on the ScaledObject"
    assert (words in [line.strip() for _, line in status_lines(observation, Running(), 200)]) is (kept is not None)
    shown = status_document(observation, Running())["units"]["sd21-inf2"]["floor"]
    assert ((shown["replicas"], shown["claim"]) == (kept, "found")) is (kept is not None)


def _published(view: View, calls: Mapping[str, int] | None = None) -> dict[str, Any]:
    return document([view], process((), now=NOW, epoch=1, leader="", dry_run=False, config_error="", calls=calls or {}))


def test_the_account_of_the_leading_replica_is_shown() -> None:
    """As it publishes it; nothing where nothing was observed yet."""
    made = snapshot()
    observation = judge(made, memory())
    account = Ledger({Mode.COST: 7200.0}, {Mode.COST: 1000.0}, 50.0, 3.25, 1.5, 90.0, 600.0, 0.75, 2, {"kubernetes": 12.0, "elbv2": 840.5})
    said = status_of(made, observation.decision, Mode.COST, account)
    lines = [line for _, line in status_lines(replace(observation, published=said), Running(), 200)]
    (shown,) = [line for line in lines if "account" in line]
    assert shown.startswith(
        "  account of 2 h: cost mode saved $3.25, failover cost $1.50, exposed 1.5 min, replicas kept by probes $0.75, "
    )
    assert shown.endswith("mode changes 2; calls: elbv2 840, kubernetes 12")
    assert not any("hindsight" in line for line in lines)


def test_the_bill_is_compared_with_other_fleets() -> None:
    """With strategy planned."""
    made = snapshot()
    observation = judge(made, memory())
    account = Ledger(seconds={Mode.COST: 7200.0}, compared_s=3600.0, compared_spend=10.0, weights_spend=12.5, least_spend=8.25)
    observation = replace(observation, published=status_of(made, observation.decision, Mode.COST, account))
    assert (
        "  bill of 1 h with known demand: the replicas cost $10.00, those for the weights of the application file $12.50, the optimum with "
        "hindsight $8.25"
    ) in [line for _, line in status_lines(observation, Running(), 200)]


def test_an_alert_of_the_controller_and_of_this_observation_is_shown_once_with_its_page() -> None:
    """The quota was shown twice, with other counts. What one observation cannot show is shown as well, and what needs a person first."""
    now, stored = ("sd21-inf2: 3 pods wait", "sd21-inf2: 2 pods wait")
    made = judge(snapshot(), memory())
    found = alert_of("cause/sd21-inf2/quota", "critical", now)
    known = (
        alert_of("max/sd21-trn1", "warning", "its maximum"),
        alert_of("fighting", "critical", "two fight"),
        replace(found, text=stored),
    )
    seen = replace(made, decision=replace(made.decision, alerts=(found,)), known=known)
    written = [line.strip() for _, line in status_lines(seen, Running(), 200) if line.strip().startswith("⚠")]
    assert written == [
        "⚠ two fight (docs/runbooks/somebody-else-writes.md)",
        f"⚠ {now} (docs/runbooks/capacity-is-short.md)",
        "⚠ its maximum (docs/runbooks/replicas-do-not-follow.md)",
    ]


def _parts(value: object, place: Place = ()) -> Iterator[Place]:
    """Every place in a document but the document itself."""
    for step, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, step)
        yield from _parts(item, (*place, step))


ESCAPES = "\x1b[2J\x1b]0;owned\x07" + "x" * 10_000
HUGE = 10**400


@pytest.mark.parametrize(
    "evil",
    [None, True, -1, HUGE, [], [1, None], {}, {"a": [1]}, ESCAPES, {ESCAPES: ESCAPES}, [{"name": []}]],
    ids=lambda one: ascii(one)[:24],
)
def test_what_is_published_may_be_anything(evil: object) -> None:
    """Anyone who may write ConfigMaps may have edited it, or another version wrote it: no command fails for it, or clears the screen."""
    made = snapshot()
    observation = judge(made, memory())
    account = Ledger({Mode.COST: 7200.0}, {Mode.COST: 1000.0}, 50.0, 3.25, 1.5, 90.0, 600.0, 0.75, 2, {"kubernetes": 12.0})
    whole = _published(View(made, observation.decision, observation.made, observation.memory, account))
    whole["notifiers"] = [{"name": "slack", "ok": False, "lastError": "no", "sent": 1, "failed": 2, "queued": 3}]
    for place in _parts(whole):
        stored = json_object(json.dumps(replaced(whole, place, evil)))
        assert stored is not None
        for _, line in status_lines(observation, Running(stored), 200):
            assert line.isprintable(), (place, line[:80])
            assert len(line) < 5_000, place


def _waits(policy: PolicySettings) -> tuple[list[str], dict[str, object]]:
    """What status and plan say of the waits, which must be the same, and the document."""
    made = snapshot(application(policy=policy))
    observation = judge(made, memory())
    lines = [line for lines in (status_lines(observation, Running(), 200), plan_lines(observation, 200, exact=False)) for _, line in lines]
    waits = [line.split(maxsplit=1)[1] for line in lines if line.lower().lstrip().startswith("waits")]
    assert plan_document(observation)["waits"] == status_document(observation, Running())["waits"]
    return waits, plan_document(observation)["waits"]


def test_the_waits_are_shown() -> None:
    """Of the heaviest unit where none is short."""
    lines, shown = _waits(PolicySettings(patience_s=45))
    assert lines == ["patience 45 s, hold 22 min 42 s (sd21-inf2)"] * 2
    assert shown == {"units": ["sd21-inf2"], "patienceSeconds": 45, "holdSeconds": pytest.approx(1362, abs=1)}


def test_the_running_controller_says_whether_the_load_balancer_shows_the_action() -> None:
    """In ``/status`` under the names of `failoverctl status --json`."""
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "other weights", made.routing.action, weights={"sd21-inf2": 1}, healthy={"sd21-inf2": 0})
    made = replace(made, routing=replace(made.routing, verification=seen))
    observation = judge(made, memory())
    view = View(made, observation.decision, observation.made, observation.memory, Ledger())
    published = _published(view)["applications"]["shop/sd21"]["verification"]
    shown = status_document(observation, Running())
    assert (published["verified"], published["problem"]) == ("not-yet", "other weights")
    assert {name: published[name] for name in ("verified", "weights", "actualWeights", "healthyTargets")} == {
        name: shown[name] for name in ("verified", "weights", "actualWeights", "healthyTargets")
    }


def test_the_running_controller_does_not_call_another_action_verified() -> None:
    """What it last saw was about the action before."""
    made = snapshot()
    made = replace(made, routing=replace(made.routing, verification=Verification(Verdict.YES, NOW, action="another")))
    observation = judge(made, memory())
    view = View(made, observation.decision, observation.made, observation.memory, Ledger())
    assert _published(view)["applications"]["shop/sd21"]["verification"] is None


def _suspected(**unit: Any) -> Observation:
    """inf2 was refused in one zone of three."""
    failure = refused(NOW - 60, named_type="inf2.xlarge", named_zone="us-west-2a", truncated=True)
    zones = ("us-west-2a", "us-west-2b", "us-west-2c")
    changes = {"pool_failures": (failure,), "pool_zones": zones, "pending": pods(), "desired": 4, **unit}
    return judge(change(snapshot(), **changes), memory())


def test_plan_and_status_say_how_far_a_proof_is() -> None:
    """What is refused, what is missing, and when age alone proves it: for people and for machines."""
    observation = _suspected()
    (line,) = [line for _, line in status_lines(observation, Running(), 200) if "sd21-inf2" in line and "2/4" in line]
    assert line.endswith("partly refused (capacity); not refused yet: us-west-2b, us-west-2c")
    units, evidence = status_document(observation, Running())["units"], plan_document(observation)["evidence"]
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
    assert [line for _, line in status_lines(observation, Running(), 200) if "sd21-inf2" in line and line.endswith("NodePool at its limit")]
    assert (
        observation.decision.sentence
        == "part of what sd21-inf2 may have is beyond the limit of its NodePool; the other parts are not proven short"
    )


def _row(made: Snapshot, unit: str = "sd21-inf2", mode: Mode = Mode.COST) -> str:
    """What `status` says of a unit, icon first."""
    lines = [line for _, line in status_lines(judge(made, memory(mode)), Running(), 200)]
    return next(line for line in lines if (f" {unit} " in line and "%" in line) or (f" {unit} " in line and "?" in line))


@pytest.mark.parametrize(
    ("change_of", "says"),
    [
        pytest.param({"ready": 4, "desired": 5}, "⚠ 4 of 5 replicas ready", id="one replica is missing"),
        pytest.param({"ready": None, "desired": None}, "? replicas not known", id="nothing is known"),
        pytest.param({"latency": Sample(1.2, NOW - 30)}, "⚠ latency 1.20 s over 0.90 s", id="too slow"),
        pytest.param({"demand": Sample(900.0, NOW - 30)}, "⚠ 2 of 4 needed replicas ready", id="too few for the demand"),
        pytest.param({"demand": Sample(105.0, NOW - 30)}, "✔ demand met", id="enough"),
        pytest.param({}, "✔ no pod waits", id="demand not known"),
    ],
)
def test_no_tick_where_something_is_wrong_or_unknown(change_of: dict[str, Any], says: str) -> None:
    """A unit with 4 of 5 replicas ready, or beyond its latency limit, does not meet its demand."""
    row = _row(change(snapshot(), **change_of))
    assert (row[0], row.endswith(says[2:])) == (says[0], True), row


def test_set_and_actual_shares_are_shown_in_both_modes() -> None:
    """In capacity mode the ready pods share the requests evenly, so each unit has a share there too; unknown is "?"."""
    made = snapshot(mode=Mode.CAPACITY)
    assert _row(made, mode=Mode.CAPACITY).split()[2:4] == ["20%", "?"], "AWS has not said anything yet"
    healthy = {**{unit.backend.service: 2 for unit in made.application.units}, "sd21-inf2": 0}
    seen = Verification(Verdict.YES, NOW, "", made.routing.action, weights={"sd21-all": 1}, healthy=healthy)
    made = replace(made, routing=replace(made.routing, verification=seen))
    assert _row(made, mode=Mode.CAPACITY).split()[2:4] == ["20%", "0%"]
    assert _row(made, "sd21-trn1", Mode.CAPACITY).split()[2:4] == ["20%", "25%"]
    cost = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW, "", cost.routing.action, weights={"sd21-all": 1})
    cost = replace(cost, routing=replace(cost.routing, verification=seen))
    assert _row(cost).split()[2:4] == ["40%", "?"]
    units = status_document(judge(made, memory(Mode.CAPACITY)), Running())["units"]
    assert (units["sd21-inf2"]["share"], units["sd21-inf2"]["actualShare"]) == (0.2, 0.0)


def test_a_load_balancer_that_is_never_asked_was_not_asked_in_1970() -> None:
    """With aws.apis that leave it out."""
    made = snapshot()
    seen = Verification(Verdict.CANNOT_TELL, 0.0, "aws.apis leaves elbv2 out")
    observation = judge(replace(made, routing=replace(made.routing, verification=seen)), memory())
    (line,) = [line for _, line in status_lines(observation, Running(), 200) if "load balancer" in line]
    assert line == "  ? load balancer did not say whether it shows the routing action: aws.apis leaves elbv2 out"
    assert status_document(observation, Running())["verifiedAt"] is None
    view = View(observation.snapshot, observation.decision, observation.made, observation.memory, Ledger())
    assert _published(view)["applications"]["shop/sd21"]["verification"]["at"] is None


@pytest.mark.parametrize(
    ("verdict", "icon"), [(Verdict.YES, "✔"), (Verdict.NOT_YET, "⚠"), (Verdict.CANNOT_TELL, "?"), (None, "?")], ids=str
)
def test_the_load_balancer_always_has_its_line(verdict: Verdict | None, icon: str) -> None:
    """What AWS did not answer is a question mark, in `status` and among the guards of `plan`."""
    made = snapshot()
    seen = None if verdict is None else Verification(verdict, NOW, "" if verdict is Verdict.YES else "throttled", made.routing.action)
    observation = judge(replace(made, routing=replace(made.routing, verification=seen)), memory())
    assert [line for _, line in status_lines(observation, Running(), 80) if line.startswith(f"  {icon} load balancer")]


def test_a_guard_that_passes_for_want_of_an_answer_gets_no_tick() -> None:
    """The load balancer was not asked: the guard lets pass, and `plan` shows a question mark with the reason."""
    made = snapshot(mode=Mode.CAPACITY)
    made = replace(made, routing=replace(made.routing, verification=None))
    made = change(made, pool_failures=(), ready=2)
    back = replace(memory(Mode.CAPACITY), changed_at=NOW - 900, units={"sd21-inf2": UnitMemory(NOW - 5000, Cause.CAPACITY)})
    lines = [line for _, line in plan_lines(judge(made, back), 80, exact=False)]
    assert "  ? verified: cannot tell: not observed yet" in lines


@pytest.mark.parametrize(
    ("replicas", "line"),
    [
        pytest.param(Replicas("pod-a", ("pod-b",)), "  leader: pod-a; standby: pod-b", id="two"),
        pytest.param(
            Replicas("pod-a", (), ("pod-b",)),
            "  ⚠ leader: pod-a; no standby is ready; not ready: pod-b",
            id="one is ready",
        ),
        pytest.param(
            Replicas("", ("pod-b",), lapsed=Lapsed("pod-a", NOW - 300)),
            f"  ✖ no replica leads (pod-a renewed the Lease last at {format_rfc3339(NOW - 300)}); standby: pod-b",
            id="a Lease that ran out",
        ),
        pytest.param(Replicas(problem="403 Forbidden"), "  ? replicas of the controller: 403 Forbidden", id="not allowed"),
    ],
)
def test_the_replicas_of_the_controller_are_shown(replicas: Replicas, line: str) -> None:
    """Who leads, and whether another one could take over."""
    assert line in [shown for _, shown in status_lines(judge(snapshot(), memory()), Running(None, replicas), 120)]


@pytest.mark.parametrize(
    ("verdict", "published", "noted"),
    [
        pytest.param(Verdict.CANNOT_TELL, {"reason": "DemandMet"}, True, id="the controller may see it"),
        pytest.param(Verdict.CANNOT_TELL, None, False, id="no controller"),
        pytest.param(Verdict.YES, {"reason": "DemandMet"}, False, id="it is seen"),
    ],
)
def test_what_a_person_may_not_ask_is_not_what_the_controller_does_not_know(
    verdict: Verdict, published: dict[str, Any] | None, *, noted: bool
) -> None:
    """Without AWS credentials on a laptop everything says that no mode change would come, and advises allowUnsafeSwitch."""
    made = snapshot()
    seen = Verification(verdict, NOW, "no AWS credentials", made.routing.action)
    found = replace(judge(replace(made, routing=replace(made.routing, verification=seen)), memory()), published=published)
    words = "the load balancer cannot be asked from here (no AWS credentials). The controller asks with credentials and settings of its own"
    shown = (
        status_lines(found, Running(), 200),
        plan_lines(found, 200, exact=False),
        explanation_lines(found, explain(found.memory, found.snapshot), 200),
    )
    assert [any(words in line for _, line in lines) for lines in shown] == [noted] * 3


def test_a_dry_run_is_called_one_and_nothing_is_called_dead() -> None:
    """It publishes nothing; what is there is of the live controller before it."""
    stale = {"at": format_rfc3339(NOW - 7200), "version": "0.1.0", "epoch": 7}
    shown: dict[bool, list[str]] = {}
    for published in (None, stale):
        running = Running(published, Replicas(dry=("failoverctl-abc",)))
        shown[published is None] = [line for _, line in status_lines(judge(snapshot(), memory()), running, 160)]
        assert status_document(judge(snapshot(), memory()), running)["replicas"]["dryRun"] == ["failoverctl-abc"]
    assert shown[True] == shown[False]
    assert "  ⚠ dry run: failoverctl-abc decides and logs; it changes, notifies and publishes nothing" in shown[True]
    assert not [line for line in shown[True] if "is it running" in line or "leads" in line or "published its status" in line]


def test_machines_read_of_overrides_and_verification_what_people_do() -> None:
    """In `status --json`; and in `plan --json` the mode before and after it."""
    override = Override(pinned_mode=Mode.CAPACITY, pinned_until=NOW + 3600, pinned_why="drill", pinned_by="ann")
    made = snapshot()
    seen = Verification(Verdict.NOT_YET, NOW - 50, "rule 3 shows the old weights", made.routing.action)
    pinned = judge(replace(made, routing=replace(made.routing, override=override, verification=seen)), memory())
    shown = status_document(pinned, Running())
    planned = plan_document(judge(replace(made, routing=replace(made.routing, override=override)), memory()))
    assert shown["override"] == {
        "problem": None,
        "pause": None,
        "pin": {"mode": "capacity", "until": format_rfc3339(NOW + 3600), "why": "drill", "by": "ann"},
    }
    assert (shown["verificationProblem"], shown["verifiedAt"]) == ("rule 3 shows the old weights", format_rfc3339(NOW - 50))
    assert (planned["presentMode"], planned["mode"], planned["verb"]) == ("cost", "capacity", "failover")
    assert planned["cost"].startswith("the ready replicas cost $")
    assert status_document(judge(snapshot(), memory()), Running())["override"] == {"problem": None, "pause": None, "pin": None}


def test_status_and_plan_keep_to_the_width() -> None:
    """At 80 columns, with long sentences, facts and alerts; only requests and commands may be wider."""
    observation = _suspected(latency=Sample(1.2, NOW - 30))
    lines = [line for _, line in [*status_lines(observation, Running(), 80), *plan_lines(observation, 80, exact=False)]]
    assert max(map(len, lines)) <= 80
    assert any("yet: us-west-2b" in line for line in lines)


def test_a_change_is_one_line_and_a_countdown_is_no_change() -> None:
    """For `--until` and for `--watch` without a terminal."""
    first = _suspected()
    later = judge(replace(first.snapshot, now=NOW + 2), memory())
    assert change_essence(first) == change_essence(later)
    assert change_essence(first) != change_essence(judge(snapshot(), memory()))
    assert "\n" not in change_line(first)[1]
    assert "shop/sd21 COST" in change_line(first)[1]


def test_what_strategy_planned_would_run_is_shown() -> None:
    """In `status` and `plan`, as text and as JSON, and as metrics; with another strategy none of them has it."""
    app = application(policy=PolicySettings(strategy=Strategy.PLANNED))
    made = snapshot(app)
    scaler = Scaler("hpa", "1", 1, 100)
    counted = replace(made, units={name: replace(one, demand=Sample(200, NOW), scaler=scaler) for name, one in made.units.items()})
    telemetry = Telemetry()
    for seen in (counted, replace(counted, application=application())):
        observation, shown = _observed(seen, memory()), seen is counted
        telemetry.decided(seen, observation.decision, memory(), Ledger())
        for lines in (status_lines(observation, Running(), 400), plan_lines(observation, 400, exact=False)):
            assert any("would run" in line and "without any one family" in line for _, line in lines) is shown
        for found in (status_document(observation, Running()), plan_document(observation)):
            assert ("planned" in found) is shown
        assert ('failoverctl_planned_dollars_per_hour{application="shop/sd21"}' in _scraped(telemetry)) is shown
    wanted = status_document(_observed(counted, memory()), Running())["planned"]
    assert wanted["expectedDemand"] == 1_000
    assert min(wanted["carriedWithout"].values()) >= wanted["neededWithout"] == 800


def _scraped(telemetry: Telemetry) -> str:
    return generate_latest(telemetry.registry).decode()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("short", [True, False])
def test_only_characters_that_every_terminal_has_are_printed(mode: Mode, *, short: bool) -> None:
    """A danda of Devanagari stood before the capacity Service: most fonts draw a box for it."""
    made = snapshot(mode=mode)
    if short:
        made = change(made, pool_failures=(refused(NOW - 60),), pending=pods(), desired=4)
    seen = judge(made, memory(mode))
    shown = (
        status_lines(seen, Running(), 80),
        plan_lines(seen, 80, exact=False),
        explanation_lines(seen, explain(seen.memory, made), 80),
    )
    printed = {character for lines in shown for _, line in lines for character in line}
    assert {"•", "✔"} <= printed
    assert {character for character in printed if not character.isascii()} <= set("·•…→◌⚠✔✖")
