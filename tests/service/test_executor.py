"""How a plan is carried out: raised side by side, then the routing action, then lowered; and what stops what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.clients.calls import CallMeter
from controller.errors import Conflict, Forbidden, RemoteError
from controller.policy.model import Action, ActionKind, Memory, Plan
from controller.routing.conclusion import conclude
from controller.service.election import EFFECT_S
from controller.service.executor import Executor
from tests.support.applications import snapshot

RAISE, TARGET, ROUTE, LOWER = ActionKind.RAISE_FLOOR, ActionKind.SET_TARGET, ActionKind.ROUTE, ActionKind.LOWER_FLOOR


class Leader:
    """Leads until a number of confirmations is used up."""

    def __init__(self, left: int = 1000) -> None:
        self.left = left

    def epoch(self) -> int:
        return 3

    def leads(self) -> bool:
        return True

    def confirm(self, epoch: int, needed_s: float) -> bool:
        self.left -= 1
        return epoch == 3 and needed_s == EFFECT_S and self.left >= 0

    def outrank(self, epoch: int) -> None:
        raise AssertionError("nobody asked for it")


class Applier:
    """Records the requests in order; fails those for objects that the test names."""

    def __init__(self, *failing: str, meet: threading.Barrier | None = None, error: RemoteError | None = None) -> None:
        self.failing, self.done, self.meet, self.error = failing, list[str](), meet, error
        self.threads: set[int] = set()
        self.meter = CallMeter()
        self._lock = threading.Lock()

    def apply(self, actions: Sequence[Action], *, deadline_s: float) -> None:
        assert deadline_s == EFFECT_S, "so long may a leader act after it has confirmed that it leads"
        (name,) = {action.name for action in actions}
        self.meter.count("kubernetes")
        if self.meet is not None:
            self.meet.wait(timeout=10)
        with self._lock:
            self.done.append(" and ".join(action.kind for action in actions) + f" {name}")
            self.threads.add(threading.get_ident())
        if name in self.failing:
            raise self.error or Conflict(name)


@pytest.fixture
def make() -> Iterator[Callable[[Applier, Leader], Executor]]:
    """Executors whose threads end with the test."""
    made: list[Executor] = []

    def make_one(applier: Applier, leader: Leader) -> Executor:
        made.append(Executor(applier, leader))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


def plan(*steps: tuple[ActionKind, str]) -> Plan:
    """A plan of these actions."""
    shown = {"body": '[{"op":"add"}]', "unit": "sd21-inf2"}
    scaled: dict[str, Any] = {"resource": "scaledobjects.keda.sh", "object_kind": "ScaledObject", **shown}
    routed: dict[str, Any] = {"resource": "ingresses.networking.k8s.io", "object_kind": "Ingress"}
    actions = tuple(Action(kind, "shop", name, "", **(routed if kind is ROUTE else scaled)) for kind, name in steps)
    return Plan("shop/sd21", conclude(Memory(), snapshot()).decision, actions)


WHOLE = plan((RAISE, "a"), (TARGET, "a"), (RAISE, "b"), (ROUTE, "web"), (LOWER, "c"), (TARGET, "c"))


def test_stages_follow_each_other_and_one_object_gets_one_request(make: Callable[[Applier, Leader], Executor]) -> None:
    applier = Applier()
    outcome = make(applier, Leader()).execute(WHOLE, 3)
    assert outcome.routed
    assert outcome.applied == WHOLE.actions
    assert applier.meter.take("shop/sd21") == {"kubernetes": 4}
    assert set(applier.done[:2]) == {"raise-floor and set-target a", "raise-floor b"}
    assert applier.done[2:] == ["route web", "lower-floor and set-target c"]


def test_different_objects_go_out_side_by_side(make: Callable[[Applier, Leader], Executor]) -> None:
    """Each request waits for the other: one after the other they would never end."""
    applier = Applier(meet=threading.Barrier(2))
    assert make(applier, Leader()).execute(plan((RAISE, "a"), (RAISE, "b")), 3).failures == ()


def test_one_at_a_time_keeps_the_callers_thread_and_the_order_of_the_objects() -> None:
    """As a simulated run needs it, which has no other threads and must be the same each time."""
    applier, objects = Applier("a"), plan((RAISE, "b"), (RAISE, "a"), (TARGET, "b"), (ROUTE, "web"))
    outcome = Executor(applier, Leader(), side_by_side=1).execute(objects, 3)
    assert applier.done == ["raise-floor and set-target b", "raise-floor a", "route web"]
    assert applier.threads == {threading.get_ident()}
    assert outcome.routed
    assert [failure.action for failure in outcome.failures] == list(objects.actions[1:2])


def test_a_floor_that_cannot_be_raised_does_not_stop_the_mode_change(make: Callable[[Applier, Leader], Executor]) -> None:
    applier = Applier("a")
    outcome = make(applier, Leader()).execute(WHOLE, 3)
    assert outcome.routed
    assert [failure.action for failure in outcome.failures] == list(WHOLE.actions[:2])  # one request: both failed
    assert all(isinstance(failure.error, Conflict) for failure in outcome.failures)
    assert applier.done[-1] == "lower-floor and set-target c"


def test_who_was_overtaken_has_not_failed(make: Callable[[Applier, Leader], Executor]) -> None:
    """The next pass makes the action anew from what the other wrote: a line that says "failed" sends people to the wrong place."""
    with capture_logs() as logs:
        make(Applier("web"), Leader()).execute(plan((ROUTE, "web")), 3)
    assert [(line["event"], line["log_level"]) for line in logs] == [("action.overtaken", "info")]


def test_each_line_names_application_action_and_request(make: Callable[[Applier, Leader], Executor]) -> None:
    """From these lines people learn what was written and what was refused, of one application among thousands."""
    raised, route = "ScaledObject a minReplicaCount nothing to ", "Ingress web routing action"
    of = {"application": "shop/sd21"}
    with capture_logs() as logs:
        make(Applier("web", error=Forbidden("403: may not patch")), Leader()).execute(plan((RAISE, "a"), (ROUTE, "web")), 3)
        make(Applier(), Leader(0)).execute(plan((RAISE, "a")), 3)
    assert logs == [
        {"event": "action.applied", "log_level": "info", **of, "action": raised, "unit": "sd21-inf2", "body": '[{"op":"add"}]'},
        {"event": "action.failed", "log_level": "warning", **of, "action": route, "error": "403: may not patch"},
        {"event": "action.not_leading", "log_level": "warning", **of, "action": raised},
    ]


@pytest.mark.parametrize(("side_by_side", "plans"), [(2, 1), (4, 3)])
def test_a_plan_has_its_threads_whatever_another_does(side_by_side: int, plans: int) -> None:
    """All requests of all plans are under way at once, one of each in its caller's thread: else this waits for ever."""
    applier = Applier(meet=threading.Barrier(side_by_side * plans))
    executor = Executor(applier, Leader(), side_by_side=side_by_side, plans=plans)
    steps = plan(*((RAISE, str(number)) for number in range(side_by_side)))
    callers = [threading.Thread(target=executor.execute, args=(steps, 3)) for _ in range(plans)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(timeout=20)
    names = {thread.name.split("_")[0] for thread in threading.enumerate()}
    executor.close()
    assert len(applier.threads) == side_by_side * plans
    assert "action" in names
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("action")]


def test_nothing_is_lowered_behind_traffic_that_did_not_move(make: Callable[[Applier, Leader], Executor]) -> None:
    applier = Applier("web")
    outcome = make(applier, Leader()).execute(WHOLE, 3)
    assert not outcome.routed
    assert [failure.action.kind for failure in outcome.failures] == [ROUTE]
    assert applier.done[-1] == "route web"


@pytest.mark.parametrize("left", range(5))
def test_without_certainty_nothing_more_is_sent(make: Callable[[Applier, Leader], Executor], left: int) -> None:
    """Asked before every single request."""
    applier, leader = Applier(), Leader()
    leader.left = left
    outcome = make(applier, leader).execute(WHOLE, 3)
    assert len(applier.done) == left
    assert outcome.unconfirmed == (left < 4)
    assert outcome.routed == (left >= 3)
    first = 1 + sum(request.count(" and ") for request in applier.done[:1])  # either of the two that go out side by side
    assert len(outcome.applied) == (0, first, 3, 4, 6)[left]


def test_a_plan_of_another_term_is_not_carried_out(make: Callable[[Applier, Leader], Executor]) -> None:
    applier = Applier()
    assert make(applier, Leader()).execute(WHOLE, 2).unconfirmed
    assert applier.done == []


def test_the_routing_action_can_go_alone(make: Callable[[Applier, Leader], Executor]) -> None:
    """In a mass event the rest of the plan waits for the next pass. A plan without a routing action then does nothing."""
    applier = Applier()
    executor = make(applier, Leader())
    outcome = executor.execute(WHOLE, 3, routing_alone=True)
    assert outcome.routed
    assert outcome.applied == WHOLE.actions[3:4]
    assert executor.execute(plan((RAISE, "a")), 3, routing_alone=True).applied == ()
    assert applier.done == ["route web"]
