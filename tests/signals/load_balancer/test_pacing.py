"""How often the verifier calls ELBv2, and what it remembers in between."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from controller.policy.model import Target, Verdict, Verification
from controller.signals.budget import CallBudget
from controller.signals.load_balancer.verifier import Verifier
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.simulated_view import AUDIT_S, BALANCER_S, LISTENERS_S
from failover_testbed.clocks import ManualClock
from tests.analysis.simulation.support import setup
from tests.signals.load_balancer.scripted_elb import (
    CAPACITY,
    DNS,
    NOW,
    Clients,
    Elb,
    arn,
    ask,
    forward,
    refusal,
)


def test_the_last_word_is_repeated_until_another_check_is_due(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """A tick may ask as often as it likes."""
    first = verifier.verify(ask())
    made = len(elb.calls)
    clock.advance(59)
    assert verifier.verify(ask(ready={"inf2": 1})) is first
    assert len(elb.calls) == made
    clock.advance(1)
    assert verifier.verify(ask()).at == NOW + 60
    assert len(elb.calls) == made + 3  # the load balancer and its listeners are known by now


def test_targets_are_counted_again_when_more_pods_are_ready(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """Their unit gets its weight back by that count; a minute's wait would leave them idle. It is never sooner than a retry."""
    more = ask(ready={"inf2": 3, "trn1": 2})
    first = verifier.verify(ask())
    clock.advance(4)
    assert verifier.verify(more) is first
    clock.advance(1)
    second = verifier.verify(more)
    assert second.at == NOW + 5
    clock.advance(59)
    assert verifier.verify(more) is second, "as many as were counted for"


def test_checks_that_are_throttled_side_by_side_are_one_step_of_the_back_off(elb: Elb, clock: ManualClock) -> None:
    """Four lanes check at the same time: one throttling is one incident, and the text names the wait that there is."""
    lanes, inside = 4, threading.Barrier(4)

    class Throttled(Elb):
        def describe_rules(self, ListenerArn: str, Marker: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
            inside.wait(5)
            raise refusal("Throttling")

    throttled = Throttled(listeners=elb.listeners, rules=elb.rules, health=elb.health)
    verifier = Verifier(Clients(throttled), clock, CallBudget(1, 40, clock))
    with ThreadPoolExecutor(lanes) as pool:
        found = list(pool.map(lambda number: verifier.verify(ask(application=f"default/{number}")), range(lanes)))
    assert {one.problem for one in found} == {"no answer to DescribeRules (Throttling); trying again in 5 s"}
    clock.advance(2)
    assert verifier.verify(ask(application="default/another")).problem == "ELBv2 did not answer; trying again in 3 s"
    clock.advance(3)
    elb.errors = {"DescribeRules": refusal("Throttling")}
    verifier._clients = Clients(elb)
    assert verifier.verify(ask()).problem.endswith("trying again in 10 s"), "a later one is a step of its own"


def test_a_routing_that_is_not_there_yet_is_checked_every_five_seconds(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """The load-balancer controller usually needs about one."""
    elb.only_rules()[0]["Actions"] = [forward({"all": 1})]
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET
    elb.only_rules()[0]["Actions"] = [forward({"inf2": 40, "trn1": 60})]
    clock.advance(4.9)
    assert verifier.verify(ask()).verdict is Verdict.NOT_YET
    clock.advance(0.1)
    assert verifier.verify(ask()).verdict is Verdict.YES


def test_another_action_is_checked_at_once(elb: Elb, verifier: Verifier) -> None:
    """A verification counts only for the action it names."""
    assert verifier.verify(ask()).verdict is Verdict.YES
    result = verifier.verify(ask(action="capacity", targets=CAPACITY))
    assert (result.verdict, result.action) == (Verdict.NOT_YET, "capacity")


def test_an_old_yes_does_not_come_back_with_the_old_action(elb: Elb, clock: ManualClock) -> None:
    """Cost, capacity, cost again within the budget's drought: the load balancer may still show capacity."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert verifier.verify(ask(action="capacity", targets=CAPACITY)).verdict is Verdict.CANNOT_TELL
    result = verifier.verify(ask())
    assert result.verdict is Verdict.CANNOT_TELL
    assert "call budget" in result.problem


def test_without_budget_the_last_verification_stands(elb: Elb, clock: ManualClock) -> None:
    """With the time at which it was made, so that its age shows."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    first = verifier.verify(ask())
    clock.advance(100)
    assert verifier.verify(ask()) is first


def test_audits_leave_calls_for_changes(elb: Elb, clock: ManualClock) -> None:
    """A mode change must be verified although two hundred others are being audited."""
    budget = CallBudget(0.01, 14, clock)
    verifier = Verifier(Clients(elb), clock, budget)
    first = verifier.verify(ask())
    clock.advance(60)
    assert verifier.verify(ask()) is first  # nine calls are left, three are needed, eight are kept
    assert verifier.verify(ask(application="default/changed")).verdict is Verdict.YES


class Asked(CallBudget):
    """A budget that keeps how much a check takes, and what it accounts for afterwards."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(1000, 1000, clock)
        self.taken: list[tuple[float, float]] = []
        self.charged: list[float] = []

    def take(self, n: float = 1, *, keep: float = 0) -> bool:
        self.taken.append((n, keep))
        return super().take(n, keep=keep)

    def charge(self, n: float) -> None:
        self.charged.append(n)
        super().charge(n)


def test_a_check_asks_for_the_calls_that_it_makes(elb: Elb, clock: ManualClock) -> None:
    """Of a load balancer that is known: its rules, each target group with traffic, however little, and each that stands by."""
    budget = Asked(clock)
    verifier = Verifier(Clients(elb), clock, budget)
    elb.only_rules()[0]["Actions"] = [forward({"inf2": 1, "trn1": 0})]
    question = ask(targets=(Target("inf2", 80, 1), Target("trn1", 80, 0)), standby=(("all", 80),))
    assert verifier.verify(question).verdict is Verdict.YES
    clock.advance(60)
    verifier.verify(question)
    assert budget.taken[1:] == [(3, 8.0)]
    assert budget.charged[1:] == [0]


def test_the_last_calls_are_for_changes(elb: Elb, clock: ManualClock) -> None:
    """Down to none that is left."""
    budget = CallBudget(0.01, 9, clock)
    verifier = Verifier(Clients(elb), clock, budget)
    verifier.verify(ask())
    assert budget.available() == 3
    assert verifier.verify(ask(application="default/changed")).verdict is Verdict.YES
    assert budget.available() == 0


def test_an_audit_begins_once_there_are_its_calls_and_those_that_it_leaves(elb: Elb, clock: ManualClock) -> None:
    """Three, and eight."""
    budget = CallBudget(1 / 16, 13, clock)
    verifier = Verifier(Clients(elb), clock, budget)
    first = verifier.verify(ask())
    clock.advance(63)
    assert verifier.verify(ask()) is first
    assert budget.available() == 7 + 63 / 16
    clock.advance(1)
    assert verifier.verify(ask()).at == NOW + 64


def test_what_the_budget_did_not_reach_is_due_at_once(elb: Elb, clock: ManualClock) -> None:
    """It comes before all that were checked."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    verifier.verify(ask())
    assert verifier.verify(ask(application="default/other")).verdict is Verdict.CANNOT_TELL
    assert verifier.due("default/other", {}) == -math.inf
    assert verifier.load().calls_each == verifier.cost("default/sd21"), "as many calls as the others need"


def test_the_load_balancer_of_a_routing_that_changed_is_still_known(elb: Elb, clock: ManualClock) -> None:
    """Its metrics go on while the change waits for its check; of what was never found, nothing is known."""
    verifier = Verifier(Clients(elb), clock, CallBudget(0.01, 5, clock))
    verifier.verify(ask())
    verifier.verify(ask(action="capacity", targets=CAPACITY))
    verifier.verify(ask(application="default/other"))
    assert verifier.dimensions() == {"default/sd21": "app/K8s-sd21/0123456789abcdef"}
    assert verifier.dimension_of(["unknown.example", DNS]) == "app/K8s-sd21/0123456789abcdef"
    assert verifier.dimension_of(["unknown.example"]) == ""


def test_a_success_that_began_before_a_throttling_does_not_end_its_wait(elb: Elb, clock: ManualClock) -> None:
    """Checks run side by side: it says nothing of what came after it began."""

    class Overtaken(Elb):
        """It throttles another check before it answers about the targets of the first."""

        def describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:  # noqa: N803
            if TargetGroupArn == arn("trn1") and not others:
                self.errors["DescribeRules"] = refusal("Throttling")
                others.append(verifier.verify(ask(application="default/other")))
                del self.errors["DescribeRules"]
            return super().describe_target_health(TargetGroupArn)

    others: list[Verification] = []
    overtaken = Overtaken(listeners=elb.listeners, rules=elb.rules, health=elb.health)
    verifier = Verifier(Clients(overtaken), clock, CallBudget(1000, 1000, clock))
    assert verifier.verify(ask()).verdict is Verdict.YES
    assert others[0].problem.endswith("trying again in 5 s")
    assert verifier.verify(ask(application="default/third")).problem == "ELBv2 did not answer; trying again in 5 s"
    clock.advance(5)
    overtaken.errors["DescribeRules"] = refusal("Throttling")
    assert verifier.verify(ask(application="default/third")).problem.endswith("trying again in 10 s")


def test_retries_that_botocore_makes_are_booked(elb: Elb, clock: ManualClock) -> None:
    """They are calls, as AWS counts them."""
    budget = CallBudget(1, 40, clock)
    elb.retries = 2
    Verifier(Clients(elb), clock, budget).verify(ask())
    # Load balancer by name (in vain) and by search, listeners, rules, the health of two target groups; three answers report retries.
    assert budget.available() == 40 - 6 - 3 * 2


def test_what_is_remembered_is_bounded(elb: Elb, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications come and go for years."""
    monkeypatch.setattr("controller.signals.load_balancer.verifier._KEPT_APPLICATIONS", 3)
    monkeypatch.setattr("controller.signals.load_balancer.directory._KEPT", 3)
    verifier = Verifier(Clients(elb), clock, CallBudget(1000, 1000, clock))
    for number in range(9):
        verifier.verify(ask(application=f"default/app{number}", hostnames=(DNS, f"{number}.example")))
        clock.advance(10)
    assert list(verifier.dimensions()) == ["default/app6", "default/app7", "default/app8"]
    assert len(verifier._directory._load_balancers) <= 3
    verifier.retain(["default/app8"])
    assert verifier.dimensions() == {"default/app8": "app/K8s-sd21/0123456789abcdef"}
    assert verifier.dimension_of([DNS]) == "app/K8s-sd21/0123456789abcdef"


@pytest.mark.parametrize(
    ("health", "ready", "checks"),
    [
        pytest.param(["initial", "initial"], 2, 2, id="its pods wait for their first check"),
        pytest.param(["healthy"], 2, 1, id="healthy"),
        pytest.param([], 0, 1, id="nothing is ready there"),
    ],
)
def test_what_stands_by_and_is_not_healthy_yet_is_checked_again_soon(
    health: list[str], ready: int, checks: int, elb: Elb, verifier: Verifier, clock: ManualClock
) -> None:  # fmt: skip
    """A failover is refused on the result of the last check: it must not be a whole audit old once the first checks have passed."""
    elb.health[arn("all")] = health
    question = ask(standby=(("all", 80),), ready={"all": ready})
    assert verifier.verify(question).verdict is Verdict.YES
    clock.advance(15.1)
    verifier.verify(question)
    assert elb.calls.count("DescribeRules") == checks


def test_an_hour_of_checks_costs_the_calls_that_the_simulation_books(elb: Elb, verifier: Verifier, clock: ManualClock) -> None:
    """Both by one formula, so that the account of a simulated month is that of a real one."""

    def calls(groups: int) -> float:
        return 3600 / AUDIT_S * (1 + groups) + 3600 / LISTENERS_S + 3600 / BALANCER_S

    for _ in range(720):
        verifier.verify(ask(hostnames=(DNS,), standby=(("all", 80),)))  # a name in lower case is searched for twice
        clock.advance(5)
    assert len(elb.calls) == calls(groups=3)
    made = setup(demand=lambda _: 600.0, seconds=3600.0)
    simulation = Simulation(made, 1)
    simulation.run(until=made.start + 3599)
    assert simulation.engine.world.calls["elbv2"] == calls(groups=len(made.application.units) + 1)
