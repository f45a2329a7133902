"""Many applications share one budget of ELBv2 calls: everyone gets a turn, and where it is too small, that is said."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from controller.clients.kube import AUTO_TARGET_GROUP_BINDINGS, INGRESSES, TARGET_GROUP_BINDINGS
from controller.policy.model import Application, Route, Target, Verdict
from controller.policy.routing import healthy_targets
from controller.ports import MessageKind
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.service.messages import overloaded
from controller.signals import external as external_module
from controller.signals.budget import CallBudget
from controller.signals.cluster import ClusterView
from controller.signals.external import LANES, ExternalSources, Poll
from controller.signals.load_balancer import request as request_module
from controller.signals.load_balancer.turns import AGE_S, Load, Turns, Waiting, expected_load
from controller.signals.load_balancer.verifier import Verifier
from controller.signals.workloads import WorkloadView
from failover_testbed.clocks import ManualClock
from tests.signals.load_balancer.scripted_elb import DEFAULT, Clients, Elb, arn, forward, refusal, rule
from tests.support.applications import NOW, application, seed_units, snapshot

JOB_S = 5.0


class Fleet:
    """Applications, each with an ALB of its own that shows its routing, and the job that verifies them."""

    def __init__(self, size: int, *, per_second: float) -> None:
        self.clock, self.elb = ManualClock(NOW), Elb(load_balancers=[])
        self.view = ClusterView(self.clock, lambda: None)
        units = seed_units()
        self.applications = [
            application(units=units, namespace=f"team-{n // 100}", route=Route(f"app-{n:04d}", "weighted-routing")) for n in range(size)
        ]
        self.versions = 0
        for app in self.applications:
            self._balanced(app)
        self.write(*self.applications)
        self.budget = CallBudget(per_second, max(40.0, 2 * per_second * JOB_S), self.clock)
        self.verifier = Verifier(Clients(self.elb), self.clock, self.budget)
        self.stop = threading.Event()
        self.external = ExternalSources(self.view, verifier=self.verifier, stop=self.stop)

    def _balanced(self, app: Application) -> None:
        name = f"k8s-{app.route.name}"
        lb = f"arn:aws:elasticloadbalancing:us-west-2:1:loadbalancer/app/{name}/0"
        self.elb.load_balancers.append({"LoadBalancerArn": lb, "LoadBalancerName": name, "DNSName": f"{name}-1.elb", "Type": "application"})
        weights = {f"{app.route.name}-{unit.backend.service}": unit.weight or 0 for unit in app.units}
        listener = f"{lb}/listener"
        self.elb.listeners[lb] = [{"ListenerArn": listener, "Port": 80, "Protocol": "HTTP"}]
        self.elb.rules[listener] = [rule(forward(weights)), DEFAULT]
        for service in weights:
            self.elb.health[arn(service)] = ["healthy"]

    def write(self, *applications: Application, weight: int | None = None) -> None:
        """Writes the Ingresses of applications, with another weight of the first unit if that is given."""
        ingresses, bindings = [], []
        for app in applications:
            self.versions += 1
            weights = [unit.weight or 0 for unit in app.units]
            weights[0] = weights[0] if weight is None else weight
            targets = tuple(Target(unit.backend.service, 80, share) for unit, share in zip(app.units, weights, strict=True))
            backend = {"service": {"name": app.route.part, "port": {"name": "use-annotation"}}}
            metadata = {
                "name": app.route.name,
                "namespace": app.namespace,
                "uid": app.route.name,
                "resourceVersion": str(self.versions),
                "annotations": {action_key(app.route.part): format_action(targets, 0)},
            }
            ingresses.append({
                "metadata": metadata,
                "spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
                "status": {"loadBalancer": {"ingress": [{"hostname": f"k8s-{app.route.name}-1.elb"}]}},
            })  # fmt: skip
            labels = {"ingress.k8s.aws/stack-namespace": app.namespace, "ingress.k8s.aws/stack-name": app.route.name}
            for unit in app.units:
                service = unit.backend.service
                bindings.append({
                    "metadata": {"name": f"{app.route.name}-{service}", "namespace": app.namespace, "labels": labels},
                    "spec": {"serviceRef": {"name": service, "port": 80}, "targetGroupARN": arn(f"{app.route.name}-{service}")},
                })  # fmt: skip
        if len(applications) == len(self.applications):
            self.view.listed(INGRESSES, None, ingresses)
            self.view.listed(TARGET_GROUP_BINDINGS, None, bindings)
        for ingress in ingresses:
            self.view.changed(INGRESSES, None, "MODIFIED", ingress)

    def run(self, seconds: float) -> None:
        """The job runs for a time."""
        for _ in range(int(seconds / JOB_S)):
            self.external.verify(self.applications)
            self.clock.advance(JOB_S)

    def ages(self) -> list[float]:
        """How old the verification of each application is, seconds; those that never had one are as old as the fleet."""
        seen = [self.external.of(app).verification for app in self.applications]
        return [self.clock.now() - (one.at if one is not None and one.verdict is Verdict.YES else NOW) for one in seen]


def test_every_one_of_sixty_applications_is_verified_again_and_again() -> None:
    """With the default budget. Fifty-six of them never were: those at the front of the list used every call."""
    fleet = Fleet(60, per_second=1.0)
    fleet.run(1800.0)
    assert max(fleet.ages()) <= AGE_S
    assert len(fleet.elb.calls) <= 1800 + 40 + 10
    assert fleet.external.load() is not None
    assert not fleet.external.load().too_much  # type: ignore[union-attr]


@pytest.mark.timeout(180)
def test_a_thousand_applications_within_the_budget_that_is_advised() -> None:
    """Each within ten minutes of the start, and at least every ten minutes."""
    size = 1000
    advised = expected_load(Fleet(1, per_second=1).applications * size, 1.0).needed_per_s
    fleet = Fleet(size, per_second=advised)
    fleet.run(AGE_S + JOB_S)
    assert max(fleet.ages()) <= AGE_S
    fleet.run(900.0)
    assert max(fleet.ages()) <= AGE_S + JOB_S
    assert len(fleet.elb.calls) <= 1500 * advised + 2 * JOB_S * advised + 10


class Polled:
    """A source of metrics that keeps which load balancers it was given."""

    def __init__(self) -> None:
        self.load_balancers: dict[str, str] = {}

    def poll(self, applications: Iterable[Application], load_balancers: Mapping[str, str]) -> None:
        """See `controller.signals.cloudwatch.CloudWatchMetrics.poll`."""
        self.load_balancers = {key: name for key, name in load_balancers.items() if name}


def test_the_metrics_of_all_load_balancers_are_read_before_each_was_verified() -> None:
    """Two that are searched for bring a list of all. The first round over a thousand applications takes nine minutes."""
    fleet, polled = Fleet(60, per_second=1.0), Polled()
    external = fleet.external
    row = Poll("cloudwatch", 60.0, lambda chosen: polled.poll(chosen, external.dimensions(chosen)), lambda _: cast("Any", None))
    external.polls["cloudwatch"] = row
    external.poll("cloudwatch", fleet.applications)
    assert polled.load_balancers == {}
    fleet.run(JOB_S)
    assert len(fleet.verifier.dimensions()) < len(fleet.applications) / 2
    external.poll("cloudwatch", fleet.applications)
    assert polled.load_balancers == {one.key: f"app/k8s-{one.route.name}/0" for one in fleet.applications}
    fleet.run(2 * AGE_S)
    assert polled.load_balancers == fleet.verifier.dimensions()


def test_a_mode_change_is_verified_although_the_others_wait() -> None:
    """The fleet is too large for the budget; what changed gets most of the calls, and the others still get a part."""
    fleet = Fleet(100, per_second=0.5)
    fleet.run(2400.0)
    changed = fleet.applications[75]
    fleet.write(changed, weight=7)
    name = f"k8s-{changed.route.name}"
    weights = {f"{changed.route.name}-{unit.backend.service}": unit.weight or 0 for unit in changed.units}
    weights[next(iter(weights))] = 7
    fleet.elb.rules[f"arn:aws:elasticloadbalancing:us-west-2:1:loadbalancer/app/{name}/0/listener"] = [rule(forward(weights)), DEFAULT]
    fleet.run(60.0)
    seen = fleet.external.of(changed).verification
    assert seen is not None
    assert seen.verdict is Verdict.YES
    assert seen.weights[changed.units[0].backend.service] == 7


def test_a_round_ends_where_calls_are_slower_than_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget never ends it then. A mode change would wait until all others are verified, and so would the end of the process."""
    fleet = Fleet(40, per_second=15.0)
    calls: list[str] = []

    def slow(operation: str) -> None:
        calls.append(operation)
        fleet.clock.advance(0.4)  # as four lanes that wait for AWS, or for each other

    monkeypatch.setattr(fleet.elb, "_called", slow)
    assert fleet.external.verify(fleet.applications, JOB_S), "more are due"
    verified = [app for app in fleet.applications if fleet.external.of(app).verification is not None]
    assert 0 < len(verified) < len(fleet.applications) / 2
    fleet.write(verified[0], weight=7)
    before = fleet.clock.now()
    fleet.external.verify(fleet.applications, JOB_S)
    seen = fleet.external.of(verified[0]).verification
    assert seen is not None
    assert seen.at >= before, "what changed is not behind those that were never verified"
    fleet.stop.set()
    calls.clear()
    assert not fleet.external.verify(fleet.applications, JOB_S)
    assert calls == []


def test_a_round_that_ends_before_the_last_one_says_that_more_are_due() -> None:
    """Else that one would wait for the next interval."""
    fleet = Fleet(1, per_second=15.0)
    assert fleet.external.verify(fleet.applications, 0.0)
    assert not fleet.external.verify(fleet.applications, JOB_S)


def test_changes_never_stop_the_others() -> None:
    """A quarter of the calls is theirs, however much changes; and each line goes in the order in which it became due."""
    turns, taken = Turns(), []
    waiting = [Waiting(f"changed-{n}", float(n), True) for n in range(100)] + [Waiting(f"audit-{n}", float(n), False) for n in range(100)]
    for one in turns.order(reversed(waiting)):
        taken.append(one.application)
        turns.spent(one, 8)
        if len(taken) == 40:
            break
    assert [name for name in taken if name.startswith("audit")] == [f"audit-{n}" for n in range(10)]
    assert [name for name in taken if name.startswith("changed")] == [f"changed-{n}" for n in range(30)]


def test_nobody_overtakes_where_the_budget_does_not_reach() -> None:
    """The next round begins with the same application, so that a check that needs many calls is made at last."""
    turns = Turns()
    taken = []
    for one in turns.order([Waiting("cheap", 2.0, False), Waiting("expensive", 1.0, False), Waiting("changed", 3.0, True)]):
        taken.append(one.application)
        if one.application == "expensive":
            turns.skip(one)
    assert taken == ["changed", "expensive"]


def test_requests_are_made_only_when_they_changed_and_bindings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a thousand requests every five seconds took longer than the five seconds."""
    made: list[str] = []
    fleet = Fleet(100, per_second=20.0)
    read: list[str] = []
    make, bindings = external_module.verification_request, fleet.view.workloads.bindings

    def making(app: Application, *rest: Any) -> Any:
        made.append(app.key)
        return make(app, *rest)

    def reading(namespace: str) -> Any:
        read.append(namespace)
        return bindings(namespace)

    monkeypatch.setattr(external_module, "verification_request", making)
    monkeypatch.setattr(fleet.view.workloads, "bindings", reading)
    fleet.external.verify(fleet.applications)
    fleet.run(600.0)
    assert sorted(made) == sorted(app.key for app in fleet.applications)
    assert len(read) <= 30  # once in each round that made requests, not once for each request
    fleet.write(fleet.applications[3], weight=1)
    fleet.run(10.0)
    assert len(made) == 101


def test_each_binding_is_parsed_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed for each application of a namespace, a round took time with the square of their number: 24 ms a request at a thousand."""
    parsed: list[object] = []
    read = request_module.stack_of

    def reading(binding: Any) -> tuple[str, str]:
        parsed.append(binding)
        return read(binding)

    monkeypatch.setattr(request_module, "stack_of", reading)
    fleet = Fleet(100, per_second=400.0)
    fleet.external.verify(fleet.applications)
    assert max(fleet.ages()) == 0.0
    assert len(parsed) == 100 * len(fleet.applications[0].units)


def test_a_permission_that_is_missing_costs_few_calls() -> None:
    """Each application made a denied call every five seconds, for ever."""
    fleet = Fleet(10, per_second=20.0)
    fleet.elb.errors["DescribeLoadBalancers"] = refusal("AccessDenied", 403)
    fleet.run(3600.0)
    assert len(fleet.elb.calls) <= LANES * (1 + 3600 / 120)  # each lane asks before it hears of another one's refusal
    seen = [fleet.external.of(app).verification for app in fleet.applications]
    assert all(one is not None and "IAM does not allow elasticloadbalancing:DescribeLoadBalancers" in one.problem for one in seen)
    fleet.elb.errors.clear()
    fleet.run(600.0)
    assert max(fleet.ages()) <= AGE_S


def test_one_strange_answer_ends_no_other_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the job ended it for all that came later."""
    fleet = Fleet(5, per_second=20.0)
    check = fleet.verifier.check

    def strange(request: Any) -> Any:
        if request.application.endswith("app-0001"):
            raise RecursionError
        return check(request)

    monkeypatch.setattr(fleet.verifier, "check", strange)
    fleet.run(30.0)
    assert [fleet.external.of(app).verification is not None for app in fleet.applications] == [True, False, True, True, True]


def test_a_change_that_the_budget_does_not_reach_asks_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asked again at once, and a check for which the budget then sufficed was of no application and counted nowhere."""
    fleet = Fleet(1, per_second=20.0)
    fleet.run(JOB_S)
    (app,) = fleet.applications
    made, asked = len(fleet.elb.calls), []
    take = fleet.budget.take

    def refusing_once(calls: float = 1, *, keep: float = 0) -> bool:
        asked.append(calls)
        return len(asked) > 1 and take(calls, keep=keep)

    monkeypatch.setattr(fleet.budget, "take", refusing_once)
    fleet.write(app, weight=7)
    fleet.external.verify([app])
    seen = fleet.external.of(app).verification
    assert (len(asked), len(fleet.elb.calls)) == (1, made)
    assert seen is not None
    assert seen.action != fleet.view.routing(app).action, "as for those behind it, which were not asked either"
    fleet.external.verify([app])
    seen = fleet.external.of(app).verification
    assert seen is not None
    assert (seen.verdict, seen.action) == (Verdict.NOT_YET, fleet.view.routing(app).action)


def test_where_all_change_at_once_each_is_asked_within_the_time_that_is_said() -> None:
    """Else a thousand failovers would raise a thousand alerts about load balancers that nobody has asked yet."""
    fleet = Fleet(50, per_second=1.0)
    fleet.run(1800.0)
    fleet.write(*fleet.applications, weight=7)
    said, since = fleet.external.of(fleet.applications[0]).asked_within_s, fleet.clock.now()
    load = fleet.external.load()
    assert load is not None
    assert load.cycle_s < load.change_s <= said < load.change_s + 60.0
    fleet.run(said - JOB_S)
    for app in fleet.applications:
        seen = fleet.external.of(app).verification
        assert seen is not None
        assert (seen.at >= since, seen.action) == (True, fleet.view.routing(app).action)


def test_a_budget_that_reaches_all_within_a_minute_delays_no_alert() -> None:
    """Before the first round nothing is known, and a fleet that the budget cannot serve delays it no longer than one that it can."""
    fleet = Fleet(100, per_second=20.0)
    assert fleet.external.of(fleet.applications[0]).asked_within_s == 0.0
    fleet.run(JOB_S)
    assert fleet.external.of(fleet.applications[0]).asked_within_s == 0.0
    assert Load(1000, 8.0, 0.1).change_s == Load(1, 1.0, 1 / AGE_S).change_s == 800.0


def test_before_each_was_verified_the_load_is_that_of_all() -> None:
    """A process that has just begun knows of the few that it has asked."""
    fleet = Fleet(100, per_second=2.0)
    fleet.run(JOB_S)
    assert fleet.verifier.load().applications < 100
    assert fleet.external.of(fleet.applications[0]).asked_within_s >= 100 * 8 / 2.0


def test_nothing_is_verified_before_the_bindings_can_be_known() -> None:
    """Just after the start neither API group has answered. To call them unreadable would raise an alert whose words are not true."""
    fleet = Fleet(1, per_second=20.0)
    app = fleet.applications[0]
    fleet.view.workloads = WorkloadView()
    fleet.external.verify([app])
    assert (fleet.external.of(app).verification, fleet.elb.calls) == (None, [])
    fleet.view.absent(AUTO_TARGET_GROUP_BINDINGS, None)
    fleet.external.verify([app])
    assert fleet.external.of(app).verification is None
    fleet.view.absent(TARGET_GROUP_BINDINGS, None)
    fleet.external.verify([app])
    seen = fleet.external.of(app).verification
    assert seen is not None
    assert (seen.verdict, seen.problem) == (Verdict.CANNOT_TELL, "the TargetGroupBindings cannot be read")


def test_refreshes_count_in_the_estimate() -> None:
    """The listeners of each load balancer are listed anew every five minutes, and itself every hour."""
    fleet = Fleet(1, per_second=20.0)
    fleet.run(10.0)
    request = external_module.verification_request(fleet.applications[0], fleet.view)
    assert request is not None
    known = fleet.verifier._estimate(request)
    fleet.clock.advance(301.0)
    assert fleet.verifier._estimate(request) == known + 1
    fleet.clock.advance(3600.0)
    assert fleet.verifier._estimate(request) == known + 2


def test_counts_of_targets_stay_valid_for_as_long_as_they_cannot_be_renewed() -> None:
    """A fleet that is verified every ten minutes must not change its weights whenever a count is 181 s old."""
    fleet = Fleet(60, per_second=1.0)
    fleet.run(1800.0)
    load = fleet.external.load()
    assert load is not None
    assert load.cycle_s > 180.0
    seen = max(filter(None, (fleet.external.of(app).verification for app in fleet.applications)), key=lambda one: one.at)
    taken = snapshot(now=seen.at + load.cycle_s)
    assert healthy_targets(replace(taken, routing=replace(taken.routing, verification=seen))) == seen.healthy
    late = replace(taken, now=seen.at + 4 * load.cycle_s, routing=replace(taken.routing, verification=seen))
    assert healthy_targets(late) == {}


def test_the_load_is_computed_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a sum over all applications: computed for each that is checked, a round took time with the square of their number."""
    fleet, computed = Fleet(20, per_second=40.0), []
    load = fleet.verifier.load

    def computing() -> Load:
        computed.append(load())
        return computed[-1]

    monkeypatch.setattr(fleet.verifier, "load", computing)
    fleet.external.verify(fleet.applications)
    assert max(fleet.ages()) == 0.0
    assert len(computed) == 1


def test_a_verification_concerns_its_own_application() -> None:
    """A pass of each of its hundred neighbours in the namespace would decide nothing new."""
    fleet = Fleet(100, per_second=1.0)
    fleet.view.dirty.take(fleet.applications)
    fleet.external.verify(fleet.applications)
    verified = [app for app in fleet.applications if fleet.external.of(app).verification]
    assert 0 < len(verified) < 20
    assert fleet.view.dirty.take(fleet.applications) == verified


def test_what_the_budget_cannot_serve_is_said_with_its_numbers() -> None:
    """And when it is enough again."""
    message = overloaded(NOW, Load(1000, 8.0, 1.0))
    assert message.why == (
        "1000 applications need about 8.0 ELBv2 calls each; polls.elbv2_calls_per_s allows 1 a second, which is enough for 75 every 10 "
        "min, so mode changes are verified late: set polls.elbv2_calls_per_s (FAILOVERCTL_POLLS__ELBV2_CALLS_PER_S) to 13.3 or more"
    )
    assert overloaded(NOW, Load(75, 8.0, 1.0)).kind is MessageKind.RESOLVED
