"""A nudge makes the load-balancer controller reconcile a change; a mode change that is never shown can be rolled back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.policy.decision.steady import MAX_NUDGES
from controller.policy.model import Memory, Mode, ModeChange, PolicySettings, RoutingStyle, Snapshot, Verb, Verdict, Verification
from controller.policy.model.modes import Repeats
from controller.policy.reasons import Reason
from controller.routing.annotations import MARKER, NUDGED_AT, WRITTEN_BY
from controller.routing.names import action_key
from tests.policy.support import applied, decide, plan, proven, shortage
from tests.support.applications import COUNTED, NOW, application, memory, routing, snapshot


def unseen(app: Any = None, verdict: Verdict = Verdict.NOT_YET, **changes: Any) -> Snapshot:
    """Capacity mode was written, and the load balancer does not show it."""
    made = snapshot(app or application(), Mode.CAPACITY)
    seen = replace(Verification(verdict, NOW, "80 /* forwards to sd21-inf2 40", made.routing.action, counted=COUNTED), **changes)
    return shortage(replace(made, routing=replace(made.routing, verification=seen)))


def since(seconds: float, **changes: Any) -> Memory:
    """The memory this many seconds after the failover."""
    at = NOW - seconds
    changed = (ModeChange(at, Mode.CAPACITY, Reason.SHORTAGE_PROVEN),)
    made = memory(Mode.CAPACITY, units=proven(), mode_changes=changed, changed_at=at, unverified_since=at, mode_since=at)
    return replace(made, **changes)


def test_a_change_that_is_not_shown_is_nudged_in_the_same_patch() -> None:
    """The whole action once more with a new annotation: any change of an annotation makes the controller reconcile at once."""
    made = unseen()
    kept, decision = decide(since(120), made)
    assert (decision.verb, decision.reason, decision.mode) == (Verb.NUDGE, Reason.NUDGED, Mode.CAPACITY)
    assert "has not shown the routing action for 2 min (80 /* forwards to sd21-inf2 40)" in decision.sentence
    (action,) = [one for one in plan(decision, made).due if one.resource.startswith("ingresses")]
    annotations = json.loads(action.body)["metadata"]["annotations"]
    assert annotations == {action_key("weighted-routing"): made.routing.action, MARKER: "capacity", NUDGED_AT: f"{NOW:.0f}"}
    after = applied(kept, decision, NOW)
    assert (after.nudged.times, after.nudged.at, after.changed_at, after.unverified_since) == (1, NOW, NOW - 120, NOW - 120)


def test_every_write_says_which_installation_made_it() -> None:
    """Two installations over one Ingress have the same field manager."""
    made = replace(unseen(), installation="failover-system")
    _, decision = decide(since(120), made)
    (action,) = [one for one in plan(decision, made).due if one.resource.startswith("ingresses")]
    assert json.loads(action.body)["metadata"]["annotations"][WRITTEN_BY] == "failover-system"


def test_nudges_double_their_pause_and_end() -> None:
    """A controller that is down does not react to more of them."""
    times = []
    remembered, now = since(0), NOW
    while now < NOW + 8000:  # the next pause would end after 7560
        made = replace(unseen(), now=now, sources=())
        remembered, decision = decide(remembered, made)
        if decision.verb is Verb.NUDGE:
            times.append(now - NOW)
            remembered = applied(remembered, decision, now)
        now += 10
    assert times == [120, 360, 840, 1800, 3720]
    assert len(times) == MAX_NUDGES


@pytest.mark.parametrize(
    ("made", "remembered"),
    [
        pytest.param(unseen(), since(119), id="not yet"),
        pytest.param(unseen(verdict=Verdict.CANNOT_TELL), since(900), id="cannot tell whether it is needed"),
        pytest.param(unseen(applied=True), since(900), id="the rules are right, the targets are not healthy"),
        pytest.param(unseen(action="{}"), since(900), id="another action was observed"),
        pytest.param(unseen(), since(900, unverified_since=None, verified_at=NOW - 800), id="it was shown once"),
        pytest.param(unseen(), since(9000, nudged=Repeats(MAX_NUDGES)), id="nudged enough"),
        pytest.param(
            replace(unseen(), routing=replace(unseen().routing, blocked="due to ingress: other/broken")), since(900), id="blocked"
        ),
    ],
)
def test_no_nudge(made: Snapshot, remembered: Memory) -> None:
    """A nudge is for one case: the load-balancer controller can act and did not."""
    assert decide(remembered, made)[1].verb is not Verb.NUDGE


def test_the_alert_names_the_nudges_and_what_the_controller_says() -> None:
    """The alert counts from the first change that is not shown: re-weighting meanwhile must not hide a controller that is down."""
    made = replace(unseen(), routing=replace(unseen().routing, undone="Failed deploy model due to Throttling: rate exceeded"))
    later = since(400, changed_at=NOW - 5, nudged=Repeats(2, NOW - 30))
    (alert,) = [one for one in decide(later, made)[1].alerts if one.key == "unverified"]
    assert "written 6 min 40 s ago" in alert.text
    assert "its controller says: Failed deploy model due to Throttling" in alert.text
    assert "(nudged 2 times)" in alert.text


class TestRollback:
    """Off by default. On, it undoes a mode change that is not shown, or whose targets are not healthy."""

    APP = application(policy=PolicySettings(rollback_s=300))

    def test_a_failover_that_is_never_shown_is_rolled_back(self) -> None:
        """Ingress and load balancer then agree again, and a late load-balancer controller changes nothing."""
        made = unseen(self.APP)
        kept, decision = decide(since(300), made)
        assert (decision.verb, decision.reason, decision.mode) == (Verb.ROLLBACK, Reason.ROLLED_BACK, Mode.COST)
        assert "did not show the change to mode capacity within 5 min" in decision.sentence
        assert not decision.lowering_allowed
        after = applied(kept, decision, NOW)
        assert after.mode is Mode.COST
        assert after.units, "the shortage is not over"
        assert after.unverified_since == NOW

    def test_a_fallback_whose_targets_are_not_healthy_is_rolled_back(self) -> None:
        """The rules are right, and users get errors."""
        made = snapshot(self.APP)
        seen = Verification(Verdict.NOT_YET, NOW, "sd21-inf2 has 0 healthy target(s)", made.routing.action, applied=True, counted=COUNTED)
        made = replace(made, routing=replace(made.routing, verification=seen))
        at = NOW - 400
        remembered = memory(
            changed_at=at, unverified_since=at, mode_changes=(ModeChange(at, Mode.COST, Reason.RETURN_PROVEN),), hold_level=1
        )
        kept, decision = decide(remembered, made)
        assert (decision.verb, decision.mode) == (Verb.ROLLBACK, Mode.CAPACITY)
        assert applied(kept, decision, NOW).hold_level == 2, "the next fallback waits longer"

    @pytest.mark.parametrize(
        ("made", "remembered"),
        [
            pytest.param(unseen(), since(9000), id="off by default"),
            pytest.param(unseen(APP), since(299), id="not yet"),
            pytest.param(unseen(APP, Verdict.CANNOT_TELL), since(900), id="cannot tell: hold and alert, never guess"),
            pytest.param(unseen(APP, Verdict.YES), since(900), id="it is shown"),
            pytest.param(
                unseen(APP), since(900, mode_changes=(ModeChange(NOW - 900, Mode.CAPACITY, Reason.PINNED_TO_MODE),)), id="a person's change"
            ),
            pytest.param(
                unseen(APP), since(900, mode_changes=(ModeChange(NOW - 900, Mode.CAPACITY, Reason.ROUTING_DRIFTED),)), id="found so"
            ),
            pytest.param(
                unseen(APP), since(900, mode_changes=(ModeChange(NOW - 900, Mode.CAPACITY, Reason.ROLLED_BACK),)), id="a roll-back itself"
            ),
            pytest.param(
                unseen(APP), since(900, mode_changes=(ModeChange(NOW - 2000, Mode.CAPACITY, Reason.SLO_BREACHED),)), id="shown once"
            ),
        ],
    )
    def test_no_rollback(self, made: Snapshot, remembered: Memory) -> None:
        """It undoes only a mode change of ours that the load balancer is known not to show."""
        assert decide(remembered, made)[1].verb is not Verb.ROLLBACK

    def test_it_is_refused_where_the_old_side_cannot_serve(self) -> None:
        """A roll-back to it would serve no user better."""
        made = unseen(self.APP)
        made = replace(made, units={name: replace(one, ready=0) for name, one in made.units.items()})
        decision = decide(since(900, nudged=Repeats(MAX_NUDGES)), made)[1]
        assert (decision.held_back, decision.reason) == (Verb.ROLLBACK, Reason.STANDBY_NOT_READY)

    def test_in_place(self) -> None:
        """The other style has both modes in the same target groups."""
        app = replace(self.APP, routing_style=RoutingStyle.IN_PLACE)
        made = snapshot(app, routing=routing(marker="capacity"))
        seen = Verification(Verdict.NOT_YET, NOW, "late", made.routing.action)
        made = replace(made, routing=replace(made.routing, verification=seen))
        decision = decide(since(900), made)[1]
        assert (decision.verb, decision.mode) == (Verb.ROLLBACK, Mode.COST)


def unbound(made: Snapshot, service: str, **changes: Any) -> Snapshot:
    """Somebody has deleted the TargetGroupBinding of a Service."""
    bound = tuple(one for one in made.routing.bound or () if one != service)
    return replace(made, routing=replace(made.routing, bound=bound, **changes))


@pytest.mark.parametrize("foreign", [False, True])
def test_a_standby_target_group_binding_that_is_gone_is_nudged_at_once(*, foreign: bool) -> None:
    """The load-balancer controller would notice hours later, and until then no mode change is safe. The same action takes nothing over."""
    gone = unbound(snapshot(), "sd21-all", foreign=foreign)
    kept, decision = decide(memory(sent="ours"), gone)
    assert (decision.verb, decision.details["problem"]) == (Verb.NUDGE, "the TargetGroupBinding of sd21-all is gone")
    assert decide(applied(kept, decision, NOW), gone)[1].verb is Verb.HOLD
    assert decide(replace(kept, nudged=Repeats(MAX_NUDGES, NOW - 7200)), gone)[1].verb is Verb.HOLD
    assert decide(memory(), gone)[1].verb is Verb.HOLD, "an Ingress that we never wrote is perhaps new: its target groups are on their way"


def test_a_unit_whose_target_group_binding_is_gone_gets_no_traffic() -> None:
    """Its requests would find no target. The write makes the load-balancer controller reconcile, as a nudge does."""
    decision = decide(memory(), unbound(snapshot(), "sd21-inf2"))[1]
    assert (decision.verb, decision.reason) == (Verb.REWEIGHT, Reason.AVAILABILITY_CHANGED)
    assert {target.service: target.weight for target in decision.targets}["sd21-inf2"] == 0


def test_a_load_balancer_that_is_gone_is_nudged_at_once_but_not_where_a_service_is_missing() -> None:
    """A missing Service is nothing that its controller could make."""
    made = unseen(problem="critical: the load balancer sd21-1.example no longer exists")
    kept, decision = decide(since(1, sent="ours"), made)
    assert (decision.verb, decision.details["problem"]) == (Verb.NUDGE, "the load balancer sd21-1.example no longer exists")
    assert decide(applied(kept, decision, NOW), made)[1].verb is Verb.HOLD
    missing = replace(made, routing=replace(made.routing, capacity_exists=False, capacity_ready=None))
    assert decide(since(1, sent="ours"), missing)[1].verb is not Verb.NUDGE


def test_a_unit_whose_port_the_file_has_changed_keeps_its_traffic() -> None:
    """The action still names the former port, whose target group is there; that of the new port is on its way."""
    made = unbound(snapshot(), "sd21-inf2")
    first, *others = made.application.units
    units = (replace(first, backend=replace(first.backend, port="http")), *others)
    decision = decide(memory(), replace(made, application=replace(made.application, units=units)))[1]
    weights = {target.service: target.weight for target in decision.targets}
    assert weights.get("sd21-inf2") != 0
