"""Checks whether the load balancer routes as the routing object asks.

What is written there is an intent. Before it affects traffic, the AWS Load Balancer Controller may lag by minutes, be blocked by
another team's objects, or replace the rule by a fixed 503 and report success; and health checks must pass. Nothing in Kubernetes proves
that a mode change was applied, so the verifier asks ELBv2, **per rule**: it finds our rule on every listener by its
conditions (priorities move when others on the load balancer change, and standby rules have the same target groups), compares its forward
action, and counts the healthy targets of every target group with traffic.

`Verifier.verify` may be called at any time: it paces itself, keeps to one budget over all applications and never raises. `turns` has the
order in which they are checked. Other code decides by the verdict and its age what to do about a rule that does not follow (nudge, roll
back).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from controller.clients.aws import ATTEMPTS, AwsClients, why_forbidden
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError, Unavailable
from controller.foreign import shown
from controller.policy.model import CRITICAL, Verdict, Verification
from controller.routing.port import LiveRule
from controller.signals.load_balancer.calls import Calls
from controller.signals.load_balancer.directory import Directory, drop_oldest, load_balancer_dimension, load_balancer_name
from controller.signals.load_balancer.request import CannotTellError, ServicePort, VerificationRequest
from controller.signals.load_balancer.rules import (
    Findings,
    compare,
    count_healthy,
    ill,
    only_redirects,
    owners_of,
    redirects,
    rules_by_conditions,
    that_count,
)
from controller.signals.load_balancer.turns import Load

AUDIT_S: Final = 60.0
"""Time until a verified routing is checked again, seconds, where the budget suffices."""

_IAM_SERVICE: Final = "elasticloadbalancing"
_BUDGET_SPENT: Final = "call budget is spent; trying again soon"
_KEPT_APPLICATIONS: Final = 2048
_WARMING_UP_S: Final = 15.0  # the load-balancer controller's default health check interval, within which the first check runs
_BACKOFF_MIN_S: Final = 5.0
_BACKOFF_MAX_S: Final = 120.0
_PROBLEMS_SHOWN: Final = 3


class Budget(Protocol):
    """The budget of ELBv2 calls over all applications; see `controller.signals.budget.CallBudget`."""

    @property
    def per_second(self) -> float:
        """The long-run rate, calls a second."""

    def take(self, n: float = 1, *, keep: float = 0) -> bool:
        """Takes `n` calls if they and `keep` more are available; never blocks."""

    def charge(self, n: float) -> None:
        """Accounts for calls that were made without asking; a negative number returns calls."""


@dataclass(slots=True)
class _Record:
    """What is kept of one application.

    Attributes:
        subject: The request without what changes with every pod.
        ready: The ready endpoints at the last check.
        last: What the last check found.
        checked: When it was, by the monotonic clock.
        due: When the next one is.
    """

    subject: VerificationRequest
    ready: Mapping[str, int] = field(default_factory=dict)
    last: Verification | None = None
    checked: float = 0.0
    due: float = 0.0
    dimension: str = ""
    cost: float = 0.0  # calls of its last check


class Verifier:
    """Compares the load balancers' rules with what the routing objects ask for. Threads may share it.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        budget: ELBv2 calls over all applications.
        retry_s: Time until the check of an unverified routing is due again, seconds.
        audit_s: Time until the check of a verified routing is due again, seconds. Whose turn it is then, `turns` says.
        reserve: Calls that audits leave in the budget for changes.
    """

    def __init__(
        self, clients: AwsClients, clock: Clock, budget: Budget, *, retry_s: float = 5.0, audit_s: float = AUDIT_S, reserve: float = 8.0
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._budget = budget
        self._retry_s = retry_s
        self._audit_s = audit_s
        self._reserve = reserve
        self._directory = Directory(clock)
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._backoff_s = 0.0
        self._blocked_at, self._blocked_until, self._blocked_why = -math.inf, 0.0, ""

    # --- public -------------------------------------------------------------------------------------------------------------------------

    def verify(self, request: VerificationRequest) -> Verification:
        """Checks the load balancer, or repeats the last check's answer if that was for the same routing and no other check is due.

        Args:
            request: The request.

        Returns:
            YES, NOT_YET with what differs, or CANNOT_TELL with the reason. `Verification.at` is when the load balancer was checked.
        """
        return self.check(request) or self.unchecked(request)

    def unchecked(self, request: VerificationRequest) -> Verification:
        """The answer without a call: what the last check of the same routing found, else that the budget did not reach."""
        with self._lock:
            return self._record(request).last or self._answer(request, Verdict.CANNOT_TELL, _BUDGET_SPENT)

    def check(self, request: VerificationRequest) -> Verification | None:
        """As `verify`, but None if the budget does not reach: the request should come again before any other."""
        now = self._clock.monotonic()
        with self._lock:
            record = self._record(request)
            if record.last is not None and now < self._due(record, request.ready):
                return record.last
            if now < self._blocked_until:
                left = self._blocked_until - now
                return self._answer(request, Verdict.CANNOT_TELL, f"{self._blocked_why}; trying again in {left:.0f} s")
            estimate = self._estimate(request)
            settled = record.last is not None and record.last.verdict is Verdict.YES
            if not self._budget.take(estimate, keep=self._reserve if settled else 0):
                return None
        calls, findings = Calls(self._clients), Findings()
        verdict, problem = self._judge(request, calls, findings)
        self._budget.charge(calls.made - estimate)
        answer = self._answer(request, verdict, problem)
        sick = ill(request, findings)
        result = replace(
            answer,
            weights=findings.weights,
            healthy=findings.healthy,
            applied=findings.applied,
            groups=request.groups(),
            ill_since=dict.fromkeys(sick, answer.at),
        )
        with self._lock:
            record.last, record.ready, record.checked, record.cost = result, request.ready, self._clock.monotonic(), calls.made
            interval = self._audit_s if verdict is Verdict.YES else self._retry_s
            record.due = record.checked + (min(interval, _WARMING_UP_S) if sick else interval)
        return result

    def due(self, application: str, ready: Mapping[str, int]) -> float:
        """When the next check of an application is due, monotonic; minus infinity if it was never checked.

        Args:
            application: Which.
            ready: The ready endpoints of its Services now.
        """
        with self._lock:
            record = self._records.get(application)
            return -math.inf if record is None or record.last is None else self._due(record, ready)

    def cost(self, application: str) -> float:
        """Calls of an application's last check; 0 before the first."""
        with self._lock:
            record = self._records.get(application)
            return record.cost if record else 0.0

    def now(self) -> float:
        """The time by which `due` counts, monotonic seconds."""
        return self._clock.monotonic()

    def load(self) -> Load:
        """How the calls that the applications need compare with the budget. One that was never checked counts as the mean of the others."""
        with self._lock:
            costs = [record.cost for record in self._records.values() if record.cost]
            each = sum(costs) / len(costs) if costs else 0.0
            return Load(len(self._records), each, self._budget.per_second)

    def dimensions(self) -> dict[str, str]:
        """CloudWatch's ``LoadBalancer`` dimension of every application whose load balancer a check found."""
        with self._lock:
            return {key: record.dimension for key, record in self._records.items() if record.dimension}

    def dimension_of(self, hostnames: Iterable[str]) -> str:
        """The dimension of the load balancer with one of these DNS names; "" while it is not known.

        That may be long before an application's first check: a list that another one needed has all load balancers of the account.
        """
        return next((load_balancer_dimension(arn) for one in hostnames if (arn := self._directory.known(one))), "")

    def retain(self, applications: Iterable[str]) -> None:
        """Drops every application that is not among these."""
        keep = set(applications)
        with self._lock:
            for key in [key for key in self._records if key not in keep]:
                del self._records[key]

    # --- pacing -------------------------------------------------------------------------------------------------------------------------

    def _record(self, request: VerificationRequest) -> _Record:
        """The application's record. A request that differs from the last one starts a new record, because an old YES does not apply."""
        subject = replace(request, ready={})
        record = self._records.pop(request.application, None)
        if record is None or record.subject != subject:
            record = _Record(subject, dimension=record.dimension if record else "")
        self._records[request.application] = record  # last in order: the least recently requested is dropped first
        drop_oldest(self._records, _KEPT_APPLICATIONS)
        return record

    def _due(self, record: _Record, ready: Mapping[str, int]) -> float:
        """When the next check is due, by the monotonic clock: sooner if more pods are ready than were when the targets were counted."""
        more = any(count > record.ready.get(service, 0) for service, count in ready.items())
        return min(record.due, record.checked + self._retry_s) if more else record.due

    def _estimate(self, request: VerificationRequest) -> int:
        """Number of calls that the check will need."""
        groups = sum(1 for target in request.targets if target.weight > 0) + len(request.standby)
        return groups + self._directory.calls_needed(request.hostnames)

    def _answer(self, request: VerificationRequest, verdict: Verdict, problem: str = "") -> Verification:
        return Verification(verdict=verdict, at=self._clock.now(), problem=problem, action=request.action)

    # --- one check ----------------------------------------------------------------------------------------------------------------------

    def _judge(self, request: VerificationRequest, calls: Calls, findings: Findings) -> tuple[Verdict, str]:
        """Runs a check and turns its findings, or its failure, into a verdict with a text."""
        began = self._clock.monotonic()
        try:
            self._check(request, calls, findings)
        except CannotTellError as error:
            return Verdict.CANNOT_TELL, str(error)
        except RemoteError as error:
            return self._failed(error, request, calls, began)
        with self._lock:
            if began > self._blocked_at:  # otherwise it says nothing of what came after it began
                self._backoff_s = 0.0
        if not findings.problems:
            return Verdict.YES, ""
        # A rule with a fixed response comes first, because it drops requests.
        ordered = sorted(dict.fromkeys(findings.problems), key=lambda text: not text.startswith(CRITICAL))
        more = len(ordered) - _PROBLEMS_SHOWN
        return Verdict.NOT_YET, "; ".join(ordered[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def _failed(self, error: RemoteError, request: VerificationRequest, calls: Calls, began: float) -> tuple[Verdict, str]:
        """The verdict after a failed call of a check that began then, monotonic."""
        if isinstance(error, Forbidden):
            why = why_forbidden(error, f"{_IAM_SERVICE}:{calls.operation}")
            self._block(why, began)
            return Verdict.CANNOT_TELL, why
        if isinstance(error, NotFound):
            self._directory.forget(request.hostnames)
            return Verdict.CANNOT_TELL, f"the load balancer changed while it was checked ({error.code}); trying again"
        if isinstance(error, Unavailable):
            calls.made += ATTEMPTS - 1  # botocore had retried before it gave up
            left = self._block("ELBv2 did not answer", began)
            code = error.code or "time-out"
            return Verdict.CANNOT_TELL, f"no answer to {calls.operation} ({code}); trying again in {left:.0f} s"
        return Verdict.CANNOT_TELL, f"{calls.operation} was refused: {shown(str(error))}"

    def _block(self, why: str, began: float) -> float:
        """Lets all wait: more calls would prolong a throttling, each that times out costs seconds, and IAM refuses all alike.

        Checks that ran side by side fail of one cause, and it is one step of the back-off: those that began before the present wait change
        nothing.

        Args:
            why: What failed, in words.
            began: When the failed check began, monotonic.

        Returns:
            Seconds until the wait is over.
        """
        with self._lock:
            now = self._clock.monotonic()
            if began > self._blocked_at:
                self._backoff_s = min(_BACKOFF_MAX_S, max(_BACKOFF_MIN_S, 2 * self._backoff_s))
                self._blocked_at, self._blocked_until, self._blocked_why = now, now + self._backoff_s, why
            return max(0.0, self._blocked_until - now)

    def _check(self, request: VerificationRequest, calls: Calls, findings: Findings) -> None:
        """Compares everything and adds to `findings`.

        Raises:
            RemoteError: A call failed.
            CannotTellError: The request cannot be answered.
        """
        if not request.hostnames:
            findings.problems.append("there is no load balancer yet")
            return
        found = self._find(request, calls)
        if not found:
            findings.problems.append(f"{CRITICAL}the load balancer {request.hostnames[0]} no longer exists")
            return
        lost = {name for rule in request.rules for name, _ in rule.at} - found.keys()
        findings.problems.extend(f"{CRITICAL}there is no load balancer {name}" for name in sorted(lost))
        owners = owners_of(request, findings)
        for arn in dict.fromkeys(found.values()):
            self._check_rules(arn, {name for name in found if found[name] == arn}, request, owners, calls, findings)
        findings.applied = not findings.problems
        if not (findings.applied or findings.broken):
            return  # the targets of a routing that is on its way are counted once it is there; those of a broken one show where to go
        for group, service in findings.serving.items():
            healthy, problem = self._count(group, service, request, calls, findings)
            findings.healthy[service] = min(healthy, findings.healthy.get(service, healthy))
            if problem:
                findings.problems.append(problem)
        self._count_standby(request, calls, findings)

    def _find(self, request: VerificationRequest, calls: Calls) -> dict[str, str]:
        """ARNs of the Application Load Balancers by DNS name; none where those that an earlier check found are gone.

        Raises:
            RemoteError: A call failed.
            CannotTellError: There is none, and there was none before.
        """
        found = {hostname: arn for hostname in request.hostnames if (arn := self._directory.load_balancer(hostname, calls))}
        with self._lock:
            record = self._records.get(request.application)
            if (
                not found
                and record
                and any(f"/{load_balancer_name(one)}/".lower() in record.dimension.lower() for one in request.hostnames)
            ):
                return {}  # it was here
            if not found:
                raise CannotTellError(f"no application load balancer with DNS name {request.hostnames[0]} in this account and region")
            if record:
                record.dimension = load_balancer_dimension(next(iter(found.values())))
        return found

    def _check_rules(
        self,
        load_balancer: str,
        hostnames: Collection[str],
        request: VerificationRequest,
        owners: Mapping[str, ServicePort],
        calls: Calls,
        findings: Findings,
    ) -> None:
        listeners = self._directory.listeners(load_balancer, calls)
        asked = {rule: frozenset(port for name, port in rule.at if name in hostnames) for rule in request.rules}
        ports = request.ports.union(*asked.values())
        mine = [rule for rule in request.rules if asked[rule] or not rule.at]
        seen: set[LiveRule] = set()
        for listener in listeners:
            if ports and listener.port not in ports:
                continue  # its listeners are named: a rule elsewhere with the same conditions is another's
            described = calls.listing("DescribeRules", "Rules", ListenerArn=listener.arn)
            if listener.plain and only_redirects(described):
                continue
            rules = rules_by_conditions(described)
            # Where a redirect to HTTPS comes first, the load-balancer controller leaves out what it would send on.
            there = [rule for rule in mine if not asked[rule] or listener.port in asked[rule]]
            expected = [rule for rule in there if not (listener.plain and any(map(redirects, rules.get(rule.conditions, [])[:1])))]
            here = [rule for rule in expected if rule.conditions in rules]
            seen.update(here)
            for rule in expected:
                where = f"{listener.label} {rule.label}"
                for live in that_count(rules.get(rule.conditions, []), owners):
                    compare(live, where, request, owners, findings)
                # A listener without our rules belongs to another or only redirects, unless `ports` names it.
                if rule not in here and (here or listener.port in ports):
                    findings.problems.append(f"{where}: no such rule yet")
        missing_ports = ports - {listener.port for listener in listeners}
        findings.problems.extend(f"there is no listener on port {port} yet" for port in sorted(missing_ports))
        findings.problems.extend(f"no listener has a rule for {rule.label} yet" for rule in mine if rule not in seen)

    def _count(self, group: str, service: str, request: VerificationRequest, calls: Calls, findings: Findings) -> tuple[int, str]:
        """The healthy targets of a target group, and what is wrong with them. Without the group, its rule is gone too."""
        try:
            return count_healthy(calls.target_health(group), service, request)
        except NotFound as error:
            if error.code != "TargetGroupNotFound":
                raise
        findings.applied = False
        problem = f"the target group of Service {service} no longer exists"
        findings.problems.append(problem)
        return 0, problem

    def _count_standby(self, request: VerificationRequest, calls: Calls, findings: Findings) -> None:
        """Counts the healthy targets of the standby Services. A failed count stays unknown, because the verdict does not need it."""
        for key in request.standby:
            counts = []
            for group in (request.target_groups or {}).get(key, ()):
                with suppress(RemoteError, CannotTellError):
                    counts.append(self._count(group, key[0], request, calls, findings)[0])
            if counts and key[0] not in findings.healthy:
                findings.healthy[key[0]] = max(counts)
