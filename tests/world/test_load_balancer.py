"""How the real AWS Load Balancer Controller handles the stack and the controller's writes."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml

from controller.clients.kube import EVENTS, INGRESSES, JSON_PATCH
from controller.policy.model import Backend, Mode, Verdict
from controller.routing.annotations import NUDGED_AT, PIN_REASON, PINNED_MODE, PINNED_UNTIL
from controller.routing.ingress.action import parse_action
from controller.routing.ingress.read import hostnames
from controller.routing.ingress.standby import standby_rule
from controller.routing.marks import FOREVER
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.manifests import kubectl
from tests.cluster.objects import ACTION, CAPACITY
from tests.support import hand_built
from tests.support.applications import COST_TARGETS, SERVICES
from tests.support.constants import set_constant
from tests.support.stacks import NAMES, example
from tests.world.balanced import BalancedHandBuilt, BalancedStack, Balancing, alerts, release, verdict

COST = {target.service: target.weight for target in COST_TARGETS}
_EVENTS_AT_ONCE = 25
"""Success events of one Ingress; from then on 12 per hour."""
_RETURN_S = 120.0
"""Until the replica on the new node has passed its first health check and the load balancer shows the new mode."""


def test_the_rendered_stack_is_accepted_as_it_is(balanced: BalancedStack) -> None:
    """Its load balancer has the live rule with the weights of cost mode, and a standby rule for every Service."""
    assert {reason for reason, _ in balanced.events()} == {"SuccessfullyReconciled"}
    assert balanced.live() == COST
    assert balanced.standby() == {name: f"{name}.standby.invalid" for name in (*SERVICES, CAPACITY)}
    with balanced.controller() as service:
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)


@pytest.mark.parametrize("mode", Mode)
def test_every_example_gets_its_load_balancer(balancing: Balancing, installed: ControlPlane, namespace: str, mode: Mode) -> None:
    """Every Ingress is valid and has an address. Moto refuses to create a target group twice; AWS does not.

    The Services come first: of one that it has not seen yet the load-balancer controller says `FailedBuildModel`, and tries again.
    """
    rendered = [one for name in NAMES for one in example(name, mode) if one["kind"] in {"Ingress", "Service"}]
    for one in rendered:
        one["metadata"]["namespace"] = namespace
    for kind in ("Service", "Ingress"):
        documents = yaml.safe_dump_all([one for one in rendered if one["kind"] == kind])
        kubectl(installed, "apply", "--server-side", "--validate=strict", "-f", "-", stdin=documents)
    wanted = {one["metadata"]["name"] for one in rendered if one["kind"] == "Ingress"}
    session = installed.patient_session()

    def addressed() -> bool:
        items = session.request("GET", INGRESSES.path(namespace))["items"]
        return {one["metadata"]["name"] for one in items if hostnames(one)} == wanted

    wait_for("every load balancer", addressed, 120, balancing.lbc.report)
    events = session.request("GET", EVENTS.path(namespace))["items"]
    release(session, namespace)
    session.close()
    reasons = {one["reason"] for one in events if one["involvedObject"]["kind"] == "Ingress"}
    assert reasons - {"FailedDeployModel"} == {"SuccessfullyReconciled"}


@pytest.mark.parametrize("balanced", ["", "in-place"], ids=["single-service", "in-place"], indirect=True)
def test_a_mode_change_is_one_change_of_one_rule_each_way(balanced: BalancedStack) -> None:
    """No target group is created or deleted. The load balancer shows the change, and one change reverts it."""
    before, groups = len(balanced.front.writes()), balanced.groups()
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        assert balanced.changes(before) == []
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
        wait_for("capacity mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        assert balanced.changes(before) == ["ModifyRule"]
        assert list(balanced.live()) == balanced.targets()
        balanced.launch("sd21-inf2")
        wait_for("cost mode", lambda: balanced.mode() == "cost", _RETURN_S, balanced.report)
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
    assert balanced.live() == COST
    assert balanced.changes(before) == ["ModifyRule"] * 2
    assert balanced.groups() == groups


def test_what_the_load_balancer_does_not_show_is_reported_and_nudged(balanced: BalancedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its controller hangs while another replica answers the webhooks: unverified, an alert, a nudge. Then one change, verified."""
    balanced.withdraw_webhooks()
    before = len(balanced.front.writes())
    set_constant(monkeypatch, "NUDGE_S", 8.0)
    with balanced.controller(policy={"verifyAlertSeconds": 5}) as service:
        with balanced.lbc.frozen():
            balanced.shortage("sd21-inf2")
            wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
            wait_for("the verdict", lambda: verdict(service, balanced) is Verdict.NOT_YET, 40, balanced.report)
            wait_for("the alert", lambda: "unverified" in alerts(service), 40, balanced.report)
            wait_for("the nudge", lambda: NUDGED_AT in balanced.ingress()["metadata"]["annotations"], 40, balanced.report)
            assert alerts(service)["unverified"].count("sd21-inf2 40") == 1
            assert balanced.live() == COST
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        wait_for("the alert is over", lambda: "unverified" not in alerts(service), 40, balanced.report)
    assert balanced.changes(before) == ["ModifyRule"]


def test_a_mode_change_that_its_webhook_blocks_is_reported_and_made_later(balanced: BalancedStack) -> None:
    """The load-balancer controller's webhook must answer every change of an Ingress: while it hangs, no mode can change.

    It must answer for new pods as well, so the pod that waits is made before.
    """
    with balanced.controller() as service:
        balanced.pend("sd21-inf2")
        with balanced.lbc.frozen():
            balanced.saturate("sd21-inf2")
            wait_for("the alert", lambda: "action-failed" in alerts(service), 60, balanced.report)
            assert "a webhook hangs" in alerts(service)["action-failed"]
            assert balanced.mode() == ""
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 60, balanced.report)
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
    assert {one.code for one in balanced.writes("ingresses")} == {504, 200}, "the API server gave up when we did: nothing is written late"


@pytest.mark.parametrize("balanced", ["grouped"], indirect=True)
def test_an_invalid_neighbour_blocks_the_mode_change_until_it_is_fixed(balanced: BalancedStack) -> None:
    """An Ingress that names a missing Service stops its whole group: reported in the load-balancer controller's words."""
    balanced.neighbour("sd21-all")
    wait_for("the neighbour's address", lambda: bool(balanced.hostname("neighbour")), 60, balanced.report)
    with balanced.controller() as service:
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        balanced.neighbour("nope")
        wait_for("the alert", lambda: "blocked" in alerts(service), 40, balanced.report)
        before = len(balanced.front.writes())
        assert f'ingress: {balanced.namespace}/neighbour: Service "nope" not found' in alerts(service)["blocked"]
        balanced.shortage("sd21-inf2")
        wait_for("the refusal", lambda: "held/RoutingBlocked" in alerts(service), 40, balanced.report)
        assert (balanced.mode(), balanced.changes(before)) == ("", [])
        balanced.neighbour("sd21-all")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 60, balanced.report)
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
    assert balanced.changes(before) == ["ModifyRule"]


def test_doctor_and_plan_call_the_stack_safe(balanced: BalancedStack) -> None:
    """As with a fake load balancer: nothing to change, and the only warning is the AWS sample's stickiness."""
    report = balanced.command("doctor", balanced.key, "--output", "json")
    document = json.loads(report.stdout)
    levels = {one["check"]: one["level"] for one in document["checks"] if one["level"] != "ok"}
    assert (report.returncode, levels, document["standbyPatch"]) == (0, {"stickiness": "warning", "known-to-work": "warning"}, []), (
        report.stdout
    )
    done = balanced.command("plan", "--json")
    plan = json.loads(done.stdout)
    assert (done.returncode, plan["mode"], plan["actions"], plan["changes"], plan["alerts"]) == (0, "cost", [], False, []), done.stdout


def test_a_stack_built_by_hand_is_adopted_and_made_safe(built: BalancedHandBuilt) -> None:
    """`init` writes its file; the standby rules from `plan` add target groups and rules and change none; a mode change is then one."""
    path = built.folder / "adopted.yaml"
    done = built.command("init", "--ingress", f"{built.namespace}/{hand_built.INGRESS}", "--out", str(path))
    assert (done.returncode, "0 value(s) not found" in done.stderr) == (0, True), f"{done.stdout}{done.stderr}"
    plan = json.loads(built.command("plan", "--json", APPLICATIONS=str(path)).stdout)
    assert (plan["mode"], plan["actions"]) == ("cost", [])
    before, groups = len(built.front.writes()), built.groups()

    patch = json.dumps(plan["standbyPatch"])
    built.session.request("PATCH", INGRESSES.path(built.namespace, hand_built.INGRESS), body=patch, content_type=JSON_PATCH)
    everything = (*SERVICES, hand_built.CAPACITY)
    wait_for(
        "the standby rules",
        lambda: built.groups().keys() == set(everything) and len(built.rules()) == 2 + len(everything),
        60,
        built.report,
    )
    built.make_load_balancer(hand_built.INGRESS, everything)
    assert built.standby() == {name: f"{name}.standby.invalid" for name in everything}
    assert sorted(set(built.changes(before))) == ["CreateRule", "CreateTargetGroup"]
    assert built.groups().items() >= groups.items()
    printed = built.command("doctor", f"{built.namespace}/{hand_built.INGRESS}", "--output", "json", APPLICATIONS=str(path))
    report = json.loads(printed.stdout)
    assert {one["check"]: one["level"] for one in report["checks"]}["standby-rules"] == "ok"

    before, groups = len(built.front.writes()), built.groups()
    pinned = {PINNED_MODE: "capacity", PINNED_UNTIL: FOREVER, PIN_REASON: "a drill"}
    with built.controller() as service:
        wait_for("it is verified", lambda: verdict(service, built) is Verdict.YES, 40, built.report)
        built._patch(INGRESSES, hand_built.INGRESS, {"metadata": {"annotations": pinned}})
        wait_for("capacity mode", lambda: built.mode() == "capacity", 40, built.report)
        wait_for("it is verified", lambda: verdict(service, built) is Verdict.YES, 40, built.report)
    assert (built.changes(before), built.groups(), built.live()) == (["ModifyRule"], groups, {hand_built.CAPACITY: 1})


def test_pods_that_wait_for_the_load_balancer_hold_up_no_return(balanced: BalancedStack) -> None:
    """New pods get a readiness gate for each of their target groups, including standby ones; all open, and the return follows."""
    with balanced.controller() as service:
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
        balanced.launch("sd21-inf2")
        wait_for(
            "the gates are closed", lambda: len(gates := balanced.gates("sd21-inf2")) == 2 and "True" not in gates, 40, balanced.report
        )
        assert balanced.endpoints("sd21-inf2") == 1
        wait_for("the gates are open", lambda: balanced.gates("sd21-inf2") == ["True", "True"], 90, balanced.report)
        wait_for("cost mode", lambda: balanced.mode() == "cost", _RETURN_S, balanced.report)
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        wait_for("both pods get requests", lambda: balanced.endpoints("sd21-inf2") == 2, 40, balanced.report)


@pytest.mark.parametrize("balanced", ["two-listeners"], indirect=True)
def test_every_listener_is_changed_and_verified(balanced: BalancedStack) -> None:
    """One change of one rule on each; while one of them lags, the mode change does not count as shown."""
    before = len(balanced.front.writes())
    with balanced.controller() as service:
        wait_for("cost mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
        wait_for("capacity mode is verified", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
    assert balanced.changes(before) == ["ModifyRule"] * 2


def test_what_aws_refuses_is_reported_in_its_words(balanced: BalancedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The load-balancer controller may not change rules: the alert gives the reason. With the permission back, it changes them."""
    before = len(balanced.front.writes())
    set_constant(monkeypatch, "NUDGE_S", 20.0)
    with balanced.controller(policy={"verifyAlertSeconds": 5}) as service:
        balanced.front.forbidden = {"ModifyRule"}
        balanced.shortage("sd21-inf2")
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 40, balanced.report)
        wait_for("the alert", lambda: "Failed deploy model" in alerts(service).get("unverified", ""), 90, balanced.report)
        assert "AccessDenied" in alerts(service)["unverified"]
        balanced.front.forbidden = set()
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 90, balanced.report)
    assert set(balanced.changes(before)) == {"ModifyRule"}


def test_an_unreported_success_does_not_block_a_mode_change_for_long(balanced: BalancedStack) -> None:
    """An Ingress that changes often gets no more success events; its mode still changes after a failure that was fixed."""
    for number in range(_EVENTS_AT_ONCE):
        done = balanced.attempts()
        balanced.annotate(note=str(number))
        wait_for("it is carried out", partial(_more, balanced, done), 40, balanced.report)
    rules = balanced.ingress()["spec"]["rules"]
    broken = standby_rule(Backend("nope", 80))
    with balanced.controller() as service:
        reported, done = balanced.events_with("SuccessfullyReconciled"), balanced.attempts()
        balanced._patch(INGRESSES, "sd21", {"spec": {"rules": [*rules, broken]}})
        wait_for("the alert", lambda: "blocked" in alerts(service), 40, balanced.report)
        balanced._patch(INGRESSES, "sd21", {"spec": {"rules": rules}})
        wait_for("it is carried out", lambda: balanced.attempts() > done, 40, balanced.report)
        balanced.shortage("sd21-inf2")
        wait_for("the refusal", lambda: "held/RoutingBlocked" in alerts(service), 40, balanced.report)
        assert balanced.events_with("SuccessfullyReconciled") == reported
        wait_for("capacity mode", lambda: balanced.mode() == "capacity", 240, balanced.report)
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)


def _more(stack: BalancedStack, than: int) -> bool:
    return stack.attempts() > than


@pytest.mark.parametrize(
    ("written", "said"),
    [
        pytest.param(
            '{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"sd21-inf2"}]}}',
            "invalid ForwardConfig: invalid TargetGroupTuple: missing servicePort",
            id="without a port",
        ),
        pytest.param("{", "failed to parse json annotation", id="not JSON"),
    ],
)
def test_an_unreadable_action_is_reported_twice(balanced: BalancedStack, written: str, said: str) -> None:
    """Without a mode marker neither controller can act: the old rule stays, nothing is written, and both report it."""
    before = len(balanced.front.writes())
    with balanced.controller() as service:
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        balanced._patch(INGRESSES, "sd21", {"metadata": {"annotations": {ACTION: written}}})
        wait_for("its words", lambda: said in alerts(service).get("blocked", ""), 40, balanced.report)
        wait_for("ours", lambda: "held/RoutingUnknown" in alerts(service), 40, balanced.report)
    assert balanced.changes(before) == []


def test_a_deleted_action_is_written_again(balanced: BalancedStack) -> None:
    """The load-balancer controller keeps the old rule meanwhile. Our controller knows the mode although no marker shows it."""
    before, action = len(balanced.front.writes()), balanced.ingress()["metadata"]["annotations"][ACTION]
    with balanced.controller() as service:
        wait_for("it is verified", lambda: verdict(service, balanced) is Verdict.YES, 40, balanced.report)
        balanced._patch(INGRESSES, "sd21", {"metadata": {"annotations": {ACTION: None}}})
        wait_for("it is there", lambda: ACTION in balanced.ingress()["metadata"]["annotations"], 40, balanced.report)
        wait_for("it is verified again", lambda: verdict(service, balanced) is Verdict.YES, 60, balanced.report)
    assert parse_action(balanced.ingress()["metadata"]["annotations"][ACTION])[:2] == parse_action(action)[:2]
    assert balanced.changes(before) == []
