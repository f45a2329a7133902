"""Failed actions wait before they are sent again, whatever asks for a pass meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import Conflict, Forbidden, RemoteError, Unavailable
from controller.policy.model import Action, ActionKind, Memory, Mode, Plan
from controller.routing.conclusion import conclude
from controller.service.executor import Failure, Outcome
from controller.service.retries import RETRY_AFTER_MAX_S, RETRY_MAX_S, Backoff, Retries
from tests.support.applications import NOW, snapshot

ROUTE, RAISE, LOWER = ActionKind.ROUTE, ActionKind.RAISE_FLOOR, ActionKind.LOWER_FLOOR
HANGS = Unavailable("no answer within 2.5 s")


def action(kind: ActionKind, name: str, after: str = "1", mode: Mode | None = None) -> Action:
    """One action; only what tells two requests apart matters."""
    written = "Ingress" if kind is ROUTE else "ScaledObject"
    return Action(kind, "shop", name, "0", after, "objects", written, content_type="application/json", body="{}", mode=mode)


def plan(*actions: Action) -> Plan:
    """A plan with these actions."""
    return replace(conclude(Memory(), snapshot()).plan, actions=actions)


WHOLE = plan(action(RAISE, "a"), action(ROUTE, "web", mode=Mode.CAPACITY), action(LOWER, "b"))


def failing(
    error: RemoteError, seconds: int, every_s: float = 0.5, made: Plan = WHOLE, *, anew: bool = False
) -> tuple[Retries, list[float]]:
    """An event of the application every half a second while its Ingress cannot be written; the times of the tries.

    Args:
        error: The answer to every try.
        seconds: How long, seconds.
        every_s: Between two events, seconds.
        made: The plan.
        anew: Whether each event shows another version of the Ingress, which the request then names.
    """
    retries, times, t = Retries(), [], 0.0
    while t < seconds:
        actions = tuple(replace(one, body=str(t)) for one in made.actions) if anew else made.actions
        due = retries.deferring(replace(made, actions=actions), NOW + t).due
        applied = tuple(one for one in due if one.kind is RAISE)
        failures = tuple(Failure(one, error) for one in due if one.kind is ROUTE)
        times += [t] * len(failures)
        retries.count(Outcome(applied, failures), NOW + t)
        t += every_s
    return retries, times


def test_a_webhook_that_hangs_is_tried_after_pauses_that_double() -> None:
    """However many events ask for a pass: without the pauses there were 240 tries in these two minutes, each of which blocks the loop."""
    assert failing(HANGS, 120)[1] == [0, 1, 3, 7, 15, 31, 63]
    assert failing(HANGS, 600)[1][-2:] == [483, 543]


def test_what_did_not_fail_goes_on_but_nothing_is_lowered() -> None:
    """Floors are raised while the routing action waits; lowering comes after traffic has moved."""
    retries, _ = failing(HANGS, 2)
    waiting = retries.deferring(WHOLE, NOW + 2)
    assert [one.kind for one in waiting.due] == [RAISE]
    assert [one.deferred for one in waiting.actions[1:]] == ["failed 2 time(s) in a row: sent again in 1 s", "waits for the routing action"]
    assert retries.again_s(WHOLE, NOW + 2) == pytest.approx(1.0)


def test_a_floor_that_fails_holds_up_nothing_else() -> None:
    """The routing action and what follows it are due."""
    retries = Retries()
    retries.count(Outcome((), (Failure(WHOLE.actions[0], HANGS),)), NOW)
    assert [one.kind for one in retries.deferring(WHOLE, NOW).due] == [ROUTE, LOWER]


def test_a_failed_action_that_waits_for_something_else_asks_for_no_pass() -> None:
    """It is due again, and the plan defers it now: passes without a pause would not send it sooner."""
    retries, lower = Retries(), WHOLE.actions[2]
    retries.count(Outcome((), (Failure(lower, HANGS),)), NOW)
    deferred = plan(replace(lower, deferred="the load balancer does not show the weights yet"))
    assert retries.again_s(deferred, NOW) == pytest.approx(1.0)
    assert retries.again_s(deferred, NOW + 1) == float("inf")
    assert retries.deferring(plan(lower), NOW + 1).due == (lower,)  # nothing else holds it up


def test_another_mode_is_due_at_once() -> None:
    """Users wait for a failover, whatever became of an earlier weight."""
    retries, _ = failing(HANGS, 100)
    other = plan(action(ROUTE, "web", mode=Mode.COST), action(LOWER, "b"))
    assert retries.deferring(other, NOW + 100).due == other.actions
    assert retries.again_s(other, NOW + 100) == float("inf")


@pytest.mark.parametrize(("asked", "waits"), [(30.0, 30.0), (3600.0, RETRY_AFTER_MAX_S), (0.2, 1.0), (None, 1.0)])
def test_a_retry_after_is_honoured_within_a_bound(asked: float | None, waits: float) -> None:
    """An API server that sheds load names a time; a wrong one must not stop a failover for an hour."""
    retries = Retries()
    error = Unavailable("429 Too Many Requests", status=429, retry_after_s=asked)
    retries.count(Outcome((), (Failure(WHOLE.actions[1], error),)), NOW)
    assert retries.again_s(WHOLE, NOW) == pytest.approx(waits)


def test_a_conflict_is_decided_again_at_once_until_it_repeats() -> None:
    """Another writer was first: the next request is made from what it wrote. A writer that never rests gets pauses, too."""
    assert failing(Conflict("409"), 20, anew=True)[1] == [0, 0.5, 1, 5, 13]


def test_after_a_conflict_the_same_bytes_wait_for_what_the_other_wrote() -> None:
    """The watch has not delivered it yet: the same request would be refused again, and three times within a moment would be an alert."""
    retries, times = failing(Conflict("409"), 1, every_s=0.25)
    assert times == [0]
    assert retries.again_s(WHOLE, NOW + 0.1) == pytest.approx(0.1)
    assert not list(retries.alerts())
    assert failing(Conflict("409"), 20)[1] == [0, 1, 3, 7, 15]


def test_another_installation_that_writes_first_is_no_failure() -> None:
    """It has an alert of its own, whose remedy is another one. What fails for another reason is still said."""
    overtaken, refused = failing(Conflict("409"), 20)[0], failing(Forbidden("403: may not patch"), 100)[0]
    assert [len(list(overtaken.alerts(rival))) for rival in ("", "elsewhere")] == [1, 0]
    assert len(list(refused.alerts("elsewhere"))) == 1


def test_what_waits_for_something_else_keeps_its_reason() -> None:
    """Once it failed, too: people read what it waits for."""
    retries, _ = failing(HANGS, 2)
    waits = replace(WHOLE.actions[1], deferred="after the drain")
    assert retries.deferring(plan(waits), NOW + 2).actions == (waits,)


def test_the_alert_is_about_what_failed_most_often() -> None:
    """Whichever failed first."""
    for order in ((0, 1), (1, 0)):
        retries = Retries()
        for time in range(5):
            for place in order:
                if time >= place:  # the routing action failed once less
                    retries.count(Outcome((), (Failure(WHOLE.actions[place], HANGS),)), NOW + 100 * time)
        (alert,) = retries.alerts()
        assert "tried 5 times without success: ScaledObject a minReplicaCount 0 to 1: " in alert.text


@pytest.mark.parametrize(
    ("kind", "error", "hinted"),
    [
        (ROUTE, HANGS, True),
        (ROUTE, Unavailable('failed calling webhook "a"'), False),
        (ROUTE, Forbidden("403"), False),
        (RAISE, HANGS, False),
    ],
)
def test_a_webhook_that_hangs_is_suspected_only_of_a_time_out_of_the_ingress(kind: ActionKind, error: RemoteError, *, hinted: bool) -> None:
    """The load-balancer controller's is called before every change of an Ingress, and a time-out does not name it."""
    retries, made = Retries(), action(kind, "x")
    for time in range(3):
        retries.count(Outcome((), (Failure(made, error),)), NOW + 100 * time)
    (alert,) = retries.alerts()
    assert ("a webhook hangs" in alert.text) is hinted


def test_a_success_ends_the_back_off() -> None:
    """The next failure is the first one again."""
    backoff = Backoff()
    assert (backoff.left(-1e9), backoff.times) == (0.0, 0)
    for now in (0.0, 10.0, 20.0):
        backoff.failed(now)
    assert (backoff.left(20.0), backoff.lasts) == (4.0, True)
    backoff.succeeded()
    assert (backoff.left(-1e9), backoff.times, backoff.lasts) == (0.0, 0, False)
    backoff.failed(30.0)
    assert backoff.left(30.0) == 1.0


def test_the_alert_comes_with_the_third_failure_and_goes_with_its_cause() -> None:
    """After a success, and when the action is wanted no more."""
    assert not list(failing(HANGS, 2)[0].alerts())
    for error, words in ((HANGS, "a webhook hangs"), (Forbidden("403: may not patch"), "403: may not patch")):
        retries, times = failing(error, 100)
        (alert,) = retries.alerts()
        assert alert.key == "action-failed"
        assert f"tried {len(times)} times without success: Ingress web routing action: " in alert.text
        assert words in alert.text
        retries.deferring(plan(), NOW + 100 + RETRY_MAX_S)
        assert not list(retries.alerts())
    retries, _ = failing(HANGS, 100)
    retries.count(Outcome(WHOLE.actions[1:2]), NOW + 100)
    assert not list(retries.alerts())
