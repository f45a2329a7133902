"""Whether the load balancer does what the Ingress asks for.

The annotation on the Ingress is an intent. Between it and the traffic stand the AWS Load Balancer Controller, which can lag by minutes,
be blocked by somebody else's Ingress, or replace the rule by a fixed 503 and report success, and the health checks of the target groups.
Nothing in Kubernetes proves that a switch was applied, so ELBv2 is asked, **per rule**: the rule of our Ingress is found on every listener
by its conditions (priorities move when other Ingresses of the group change, and a target group stands in the standby rules too), its
forward action is compared, and every target group that gets traffic is asked for its healthy targets.

`Verifier.verify` may be called on every tick: it paces itself, shares one budget over all applications and never raises. What is to be done
about a rule that does not follow (nudge, roll back) is decided elsewhere, from the verdict and its age.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Protocol

from controller.clients.aws import ATTEMPTS, AwsClients, translated
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError, Unavailable
from controller.policy.model import CRITICAL, Target, Verdict, Verification

ServicePort = tuple[str, int | str]
"""A Service and its port as an action names it: 80 and "http" make two different target groups."""

TargetGroups = Mapping[ServicePort, tuple[str, ...]]
"""The ARNs of the target groups that are bound to a Service and port."""

Condition = tuple[str, frozenset[str]]
"""One condition of a rule: its field (with the header's name where it is one) and the values of which one must match."""

_SERVICE: Final = "elbv2"
_IAM_SERVICE: Final = "elasticloadbalancing"
_PAGES: Final = 20  # of one listing; 400 entries each
_PAGE_SIZE: Final = 400
_KEPT_LOAD_BALANCERS: Final = 512
_KEPT_APPLICATIONS: Final = 2048
_LOAD_BALANCER_TTL_S: Final = 3600.0
_MISSING_TTL_S: Final = 60.0  # the search for a load balancer that is not there pages through the whole account
_LISTENER_TTL_S: Final = 300.0  # a new listener must be seen: it carries traffic too
_WAITING_S: Final = 15.0  # the load-balancer controller's default health check interval: by then the first check has been made
_BACKOFF_MIN_S: Final = 5.0
_BACKOFF_MAX_S: Final = 120.0
_PROBLEMS_SHOWN: Final = 3
_MAX_TEXT: Final = 200
_MAX_DEPTH: Final = 8  # of a condition's JSON; the annotation is anybody's
_PORT_DIGITS: Final = 5
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_CONFIG_KEYS: Final = {
    "host-header": "hostheaderconfig",
    "path-pattern": "pathpatternconfig",
    "http-header": "httpheaderconfig",
    "query-string": "querystringconfig",
    "http-request-method": "httprequestmethodconfig",
    "source-ip": "sourceipconfig",
}


class Budget(Protocol):
    """How many ELBv2 calls may be made, over all applications; `controller.signals.budget.CallBudget` is one."""

    @property
    def per_second(self) -> float:
        """The long-run rate, calls a second."""

    def take(self, n: float = 1, *, keep: float = 0) -> bool:
        """Takes `n` calls if they are there and `keep` more are left; never blocks."""

    def charge(self, n: float) -> None:
        """Books calls that were made without asking; negative gives back."""


# --- what is asked ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveRule:
    """A rule that carries the application's traffic, as the load balancer should have it.

    Attributes:
        conditions: What a request must match; equal sets mean the same rule.
        label: For people, e.g. ``a.example /*``.
    """

    conditions: frozenset[Condition]
    label: str


@dataclass(frozen=True, slots=True)
class VerificationRequest:
    """One question: does the load balancer route as this action says?

    Attributes:
        application: ``namespace/ingress``.
        hostnames: ``status.loadBalancer.ingress[].hostname`` of the Ingress.
        action: The annotation's value, byte for byte; the verification counts only for it.
        targets: The action's Services and weights.
        stickiness_s: The action's target group stickiness, seconds; 0 = disabled.
        rules: The rules that use the action, see `live_rules`.
        target_groups: See `target_groups`; None: the TargetGroupBindings could not be read.
        ready: Ready endpoints by Service, as far as known; used for ``ip`` targets only, where a target is a pod.
        min_healthy: Fewest healthy targets of a target group that gets traffic; at least 1 is always needed.
        healthy_share: Share of the ready endpoints that must be healthy targets, 0 to 1. The default leaves room for pods that have just
            become ready and wait for their first health check.
        standby: Services that get no traffic now and would after a switch: their healthy targets are counted too, and decide nothing here.
        ports: Listeners that must have the rules; empty = every listener that has any of them, and at least one.
    """

    application: str
    hostnames: tuple[str, ...]
    action: str
    targets: tuple[Target, ...]
    stickiness_s: int
    rules: tuple[LiveRule, ...]
    target_groups: TargetGroups | None
    ready: Mapping[str, int] = field(default_factory=dict)
    min_healthy: int = 1
    healthy_share: float = 0.5
    standby: tuple[ServicePort, ...] = ()
    ports: frozenset[int] = frozenset()


def live_rules(ingress: Mapping[str, Any], action: str, *, prefix: str = "alb.ingress.kubernetes.io") -> tuple[LiveRule, ...]:
    """The rules that the load-balancer controller makes for one action of an Ingress.

    Paths become patterns as there: ``Prefix /a`` is ``/a`` and ``/a/*``, ``Prefix /`` is ``/*``, other types are taken as they are. Hosts
    under ``.invalid`` are standby rules, which no request can reach.

    Args:
        ingress: The Ingress as a plain object.
        action: The action's name, which stands in the place of a Service's.
        prefix: The annotations' prefix.

    Returns:
        One for each host and path that uses the action, without duplicates.
    """
    annotations = _dict(_dict(ingress.get("metadata")).get("annotations"))
    extra = _annotated_conditions(annotations.get(f"{prefix}/conditions.{action}"))
    regex = str(annotations.get(f"{prefix}/use-regex-path-match", "")).lower() == "true"
    found: dict[frozenset[Condition], LiveRule] = {}
    for rule in _dicts(_dict(ingress.get("spec")).get("rules")):
        host = _text(rule.get("host")).lower()
        if host.endswith(".invalid"):
            continue
        for path in _dicts(_dict(rule.get("http")).get("paths")):
            backend = _dict(_dict(path.get("backend")).get("service"))
            if backend.get("name") != action or _dict(backend.get("port")).get("name") != "use-annotation":
                continue
            patterns = _patterns(_text(path.get("path")), _text(path.get("pathType")), regex=regex)
            conditions = _merged([*extra, ("host-header", frozenset({host} if host else ())), ("path-pattern", patterns)])
            conditions = conditions or frozenset({("path-pattern", frozenset({"/*"}))})
            found[conditions] = LiveRule(conditions, " ".join(filter(None, (host, *sorted(patterns)))) or "/*")
    return tuple(found.values())


def listener_ports(ingress: Mapping[str, Any], *, prefix: str = "alb.ingress.kubernetes.io") -> frozenset[int]:
    """The listeners that must have the rules of an Ingress, as far as the Ingress itself says so.

    Returns:
        The ports of ``listen-ports``, without the plain HTTP ones where ``ssl-redirect`` turns those into mere redirects; empty where the
        annotation is absent or unreadable (the IngressClass or the certificates decide then).
    """
    annotations = _dict(_dict(ingress.get("metadata")).get("annotations"))
    redirect = bool(_text(annotations.get(f"{prefix}/ssl-redirect")))
    ports: set[int] = set()
    for entry in _dicts(_json(annotations.get(f"{prefix}/listen-ports"))):
        for protocol, port in entry.items():
            if (number := _number(port)) is not None and (protocol == "HTTPS" or (protocol == "HTTP" and not redirect)):
                ports.add(number)
    return frozenset(ports)


def target_groups(
    bindings: Iterable[Mapping[str, Any]], namespace: str, ingress: str, *, label_prefix: str = "ingress.k8s.aws"
) -> dict[ServicePort, tuple[str, ...]]:
    """Reads from TargetGroupBindings which target groups stand for which Service of an Ingress.

    Counted are the bindings of the Ingress's own stack and those of an explicit IngressGroup. In a group two Ingresses may each have a
    target group for the same Service and port; both are returned, because our rule (which is found by its conditions, on our load balancer)
    is right with either: the traffic reaches the same pods. Left out are bindings of another Ingress's stack, those that no Ingress
    made, and those that are being deleted.

    Args:
        bindings: TargetGroupBindings as plain objects.
        namespace: Of the Ingress.
        ingress: Its name.
        label_prefix: Prefix of the stack labels; ``ingress.eks.amazonaws.com`` in EKS Auto Mode.

    Returns:
        The ARNs, sorted, by Service and port.
    """
    found: dict[ServicePort, set[str]] = {}
    for binding in bindings:
        metadata, spec = _dict(binding.get("metadata")), _dict(binding.get("spec"))
        labels, reference = _dict(metadata.get("labels")), _dict(spec.get("serviceRef"))
        own = (labels.get(f"{label_prefix}/stack-namespace"), labels.get(f"{label_prefix}/stack-name")) == (namespace, ingress)
        grouped = bool(labels.get(f"{label_prefix}/stack"))
        port = _port(reference.get("port"))
        service, arn = _text(reference.get("name")), _text(spec.get("targetGroupARN"))
        if metadata.get("namespace") != namespace or metadata.get("deletionTimestamp") or not (own or grouped):
            continue
        if service and port is not None and arn:
            found.setdefault((service, port), set()).add(arn)
    return {key: tuple(sorted(arns)) for key, arns in found.items()}


def load_balancer_dimension(arn: str) -> str:
    """The value of CloudWatch's ``LoadBalancer`` dimension, ``app/<name>/<id>``, or "" where `arn` is not a load balancer's."""
    _, mark, rest = arn.partition(":loadbalancer/")
    return rest if mark else ""


def load_balancer_name(hostname: str) -> str:
    """The load balancer's name in its DNS name: the first label without ``internal-`` and the number that AWS appends.

    Its case may be lost: the load-balancer controller writes the host name in lower case since v3.2.0.
    """
    label = hostname.strip().removeprefix("dualstack.").split(".", 1)[0]
    return re.sub(r"-\d+$", "", label.removeprefix("internal-"))


# --- what is known of the load balancer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listener:
    arn: str
    port: int
    label: str


@dataclass(frozen=True, slots=True)
class _LoadBalancer:
    arn: str
    until: float


@dataclass(slots=True)
class _Record:
    """What is remembered of one application. `subject` is what was asked, without what changes with every pod."""

    subject: VerificationRequest
    last: Verification | None = None
    due: float = 0.0
    dimension: str = ""


@dataclass(slots=True)
class _Findings:
    """What one check has seen so far; kept when a later call fails."""

    weights: dict[str, int] = field(default_factory=dict)
    healthy: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    serving: dict[str, str] = field(default_factory=dict)  # target group ARN -> Service, those that get traffic
    applied: bool = False  # every rule is as asked for


class _CannotTellError(Exception):
    """The answer cannot be had, and the message says why."""


class _Calls:
    """Makes ELBv2 calls and counts them."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self.made = 0
        self.operation = "DescribeLoadBalancers"

    def call(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """Makes one call.

        Raises:
            RemoteError: It failed.
            _CannotTellError: The answer is not an object.
        """
        self.operation = operation
        self.made += 1
        with translated(_SERVICE, operation):
            client = self._clients.client(_SERVICE)
            answer = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(**arguments)
        if not isinstance(answer, dict):
            raise _CannotTellError(f"the answer of {operation} cannot be read")
        # botocore's own retries are calls too, as AWS counts them.
        retries = _dict(answer.get("ResponseMetadata")).get("RetryAttempts")
        self.made += retries if isinstance(retries, int) and 0 < retries < ATTEMPTS else 0
        return answer

    def listing(self, operation: str, key: str, **arguments: object) -> list[dict[str, Any]]:
        """Reads all pages of one listing.

        Raises:
            RemoteError: A call failed.
            _CannotTellError: There are more pages than a load balancer can have, or a page cannot be read.
        """
        entries: list[dict[str, Any]] = []
        marker = ""
        for _ in range(_PAGES):
            answer = self.call(operation, PageSize=_PAGE_SIZE, **arguments, **({"Marker": marker} if marker else {}))
            if not isinstance(answer.get(key), list):
                raise _CannotTellError(f"the answer of {operation} cannot be read: no {key}")
            entries.extend(_dicts(answer[key]))
            following = _text(answer.get("NextMarker"))
            if not following:
                return entries
            if following == marker:
                raise _CannotTellError(f"the pages of {operation} go round in a circle")
            marker = following
        raise _CannotTellError(f"{operation} has more than {_PAGES} pages")


class Verifier:
    """Compares the load balancers' rules with what the Ingresses ask for. Safe to share between threads.

    Args:
        clients: The AWS client factory.
        clock: Time.
        budget: ELBv2 calls over all applications.
        retry_s: How soon a routing that is not verified is looked at again, seconds; later where the budget is short for all that wait.
        audit_s: How soon a verified routing is looked at again, seconds; later where the budget is short for all applications.
        reserve: Calls that audits leave in the budget for changes.
    """

    def __init__(
        self, clients: AwsClients, clock: Clock, budget: Budget, *, retry_s: float = 5.0, audit_s: float = 60.0, reserve: float = 8.0
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._budget = budget
        self._retry_s = retry_s
        self._audit_s = audit_s
        self._reserve = reserve
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}
        self._load_balancers: dict[str, _LoadBalancer] = {}  # by lower-case host name; an empty ARN: looked for in vain
        self._listeners: dict[str, tuple[float, tuple[_Listener, ...]]] = {}
        self._backoff_s = 0.0
        self._blocked_until = 0.0

    # --- public -------------------------------------------------------------------------------------------------------------------------

    def verify(self, request: VerificationRequest) -> Verification:
        """Answers from the load balancer, or from the last look at it if that was for the same routing and another is not due.

        Args:
            request: What to compare.

        Returns:
            YES, NOT_YET with what differs, or CANNOT_TELL with why. `Verification.at` is when the load balancer was looked at.
        """
        now = self._clock.monotonic()
        with self._lock:
            record = self._record(request)
            if record.last is not None and now < record.due:
                return record.last
            if now < self._blocked_until:
                left = self._blocked_until - now
                return self._answer(request, Verdict.CANNOT_TELL, f"ELBv2 did not answer; trying again in {left:.0f} s")
            estimate = self._estimate(request)
            settled = record.last is not None and record.last.verdict is Verdict.YES
            if not self._budget.take(estimate, keep=self._reserve if settled else 0):
                return record.last or self._answer(request, Verdict.CANNOT_TELL, "call budget is spent; trying again soon")
        calls, findings = _Calls(self._clients), _Findings()
        verdict, problem = self._look(request, calls, findings)
        self._budget.charge(calls.made - estimate)
        answer = self._answer(request, verdict, problem)
        result = replace(answer, weights=findings.weights, healthy=findings.healthy, applied=findings.applied)
        with self._lock:
            record.last = result
            interval = self._interval(verdict, estimate)
            record.due = self._clock.monotonic() + (min(interval, _WAITING_S) if _waits(request, findings) else interval)
        return result

    def dimension(self, application: str) -> str | None:
        """CloudWatch's ``LoadBalancer`` dimension of an application's load balancer, None while it is not known."""
        with self._lock:
            record = self._records.get(application)
            return (record.dimension or None) if record else None

    def dimensions(self) -> dict[str, str]:
        """`dimension` of every application for which it is known."""
        with self._lock:
            return {key: record.dimension for key, record in self._records.items() if record.dimension}

    def retain(self, applications: Iterable[str]) -> None:
        """Forgets every application that is not among these."""
        keep = set(applications)
        with self._lock:
            for key in [key for key in self._records if key not in keep]:
                del self._records[key]

    # --- pacing -------------------------------------------------------------------------------------------------------------------------

    def _record(self, request: VerificationRequest) -> _Record:
        """The application's record. Whatever else is asked than before starts anew: an old YES says nothing of it."""
        subject = replace(request, ready={})
        record = self._records.pop(request.application, None)
        if record is None or record.subject != subject:
            record = _Record(subject, dimension=record.dimension if record else "")
        self._records[request.application] = record  # last in order: least recently asked goes first
        _shrink(self._records, _KEPT_APPLICATIONS)
        return record

    def _estimate(self, request: VerificationRequest) -> int:
        """Calls that the check will need."""
        estimate = sum(1 for target in request.targets if target.weight > 0) + len(request.standby)
        for hostname in request.hostnames:
            known = self._load_balancers.get(_host(hostname))
            listeners = self._listeners.get(known.arn) if known else None
            estimate += (0 if known else 1) + (len(listeners[1]) if listeners else 2)
        return estimate

    def _interval(self, verdict: Verdict, estimate: int) -> float:
        """Seconds until the next look: long enough that all who wait alike get their turn within the budget."""
        settled = verdict is Verdict.YES
        alike = sum(1 for record in self._records.values() if record.last and (record.last.verdict is Verdict.YES) is settled)
        least = self._audit_s if settled else self._retry_s
        return max(least, (alike - 1) * max(1, estimate) / self._budget.per_second)

    def _answer(self, request: VerificationRequest, verdict: Verdict, problem: str = "") -> Verification:
        return Verification(verdict=verdict, at=self._clock.now(), problem=problem, action=request.action)

    # --- looking ------------------------------------------------------------------------------------------------------------------------

    def _look(self, request: VerificationRequest, calls: _Calls, findings: _Findings) -> tuple[Verdict, str]:
        try:
            self._check(request, calls, findings)
        except _CannotTellError as error:
            return Verdict.CANNOT_TELL, str(error)
        except RemoteError as error:
            return self._failed(error, request, calls)
        with self._lock:
            self._backoff_s = 0.0
        if not findings.problems:
            return Verdict.YES, ""
        # A rule that answers itself comes first: it is the one that drops requests.
        ordered = sorted(dict.fromkeys(findings.problems), key=lambda text: not text.startswith(CRITICAL))
        more = len(ordered) - _PROBLEMS_SHOWN
        return Verdict.NOT_YET, "; ".join(ordered[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")

    def _failed(self, error: RemoteError, request: VerificationRequest, calls: _Calls) -> tuple[Verdict, str]:
        """What a failed call means for the verdict."""
        if isinstance(error, Forbidden):
            if error.code in _DENIED:
                return Verdict.CANNOT_TELL, f"IAM does not allow {_IAM_SERVICE}:{calls.operation}"
            return Verdict.CANNOT_TELL, f"AWS does not accept our credentials ({error.code})"
        if isinstance(error, NotFound):
            self._forget(request)
            if error.code == "TargetGroupNotFound":
                return Verdict.NOT_YET, "a target group of the rule no longer exists"
            return Verdict.CANNOT_TELL, f"the load balancer changed while it was looked at ({error.code}); trying again"
        if isinstance(error, Unavailable):
            with self._lock:
                calls.made += ATTEMPTS - 1  # botocore had retried before it gave up
                self._backoff_s = min(_BACKOFF_MAX_S, max(_BACKOFF_MIN_S, 2 * self._backoff_s))
                # All applications wait: more calls would prolong the throttling, and each dead call costs a tick seconds.
                self._blocked_until = self._clock.monotonic() + self._backoff_s
            code = error.code or "time-out"
            return Verdict.CANNOT_TELL, f"no answer to {calls.operation} ({code}); trying again in {self._backoff_s:.0f} s"
        return Verdict.CANNOT_TELL, f"{calls.operation} was refused: {str(error)[:_MAX_TEXT]}"

    def _forget(self, request: VerificationRequest) -> None:
        with self._lock:
            for hostname in request.hostnames:
                known = self._load_balancers.pop(_host(hostname), None)
                if known:
                    self._listeners.pop(known.arn, None)

    def _check(self, request: VerificationRequest, calls: _Calls, findings: _Findings) -> None:
        """Compares everything, into `findings`.

        Raises:
            RemoteError: A call failed.
            _CannotTellError: The question cannot be answered.
        """
        if not request.hostnames:
            findings.problems.append("the Ingress has no load balancer yet")
            return
        arns = self._find(request, calls)
        owners = _owners(request, findings)
        if owners is None:
            return
        for arn in arns:
            self._check_rules(arn, request, owners, calls, findings)
        findings.applied = not findings.problems
        if not findings.applied:
            return  # the targets of a routing that is not there yet are not worth their calls
        for group, service in findings.serving.items():
            described = _dicts(calls.call("DescribeTargetHealth", TargetGroupArn=group).get("TargetHealthDescriptions"))
            healthy, problem = _health(described, service, request)
            findings.healthy[service] = min(healthy, findings.healthy.get(service, healthy))
            if problem:
                findings.problems.append(problem)
        self._count_standby(request, calls, findings)

    def _count_standby(self, request: VerificationRequest, calls: _Calls, findings: _Findings) -> None:
        """Counts the healthy targets of what stands by. What cannot be counted stays unknown: the verdict does not need it."""
        for key in request.standby:
            counts = []
            for group in (request.target_groups or {}).get(key, ()):
                with suppress(RemoteError):
                    described = _dicts(calls.call("DescribeTargetHealth", TargetGroupArn=group).get("TargetHealthDescriptions"))
                    counts.append(_health(described, key[0], request)[0])
            if counts and key[0] not in findings.healthy:
                findings.healthy[key[0]] = max(counts)

    def _find(self, request: VerificationRequest, calls: _Calls) -> list[str]:
        """ARNs of the application load balancers behind the host names.

        Raises:
            RemoteError: A call failed.
            _CannotTellError: There is none.
        """
        arns = [arn for hostname in request.hostnames if (arn := self._load_balancer(hostname, calls))]
        if not arns:
            raise _CannotTellError(f"no application load balancer with DNS name {request.hostnames[0]} in this account and region")
        with self._lock:
            record = self._records.get(request.application)
            if record:
                record.dimension = load_balancer_dimension(arns[0])
        return list(dict.fromkeys(arns))

    def _load_balancer(self, hostname: str, calls: _Calls) -> str:
        """The ARN of the application load balancer with that DNS name, "" where there is none."""
        now, key = self._clock.monotonic(), _host(hostname)
        with self._lock:
            known = self._load_balancers.get(key)
        if known and now < known.until:
            return known.arn
        arn = None
        with suppress(NotFound):  # the host name has lost the name's case, or is a Network Load Balancer's: look at all of them
            arn = _named(calls.listing("DescribeLoadBalancers", "LoadBalancers", Names=[load_balancer_name(hostname)]), key)
        if arn is None:
            arn = _named(calls.listing("DescribeLoadBalancers", "LoadBalancers"), key)
        until = now + (_MISSING_TTL_S if arn is None else _LOAD_BALANCER_TTL_S)
        with self._lock:
            self._load_balancers[key] = _LoadBalancer(arn or "", until)
            _shrink(self._load_balancers, _KEPT_LOAD_BALANCERS)
        return arn or ""

    def _listeners_of(self, load_balancer: str, calls: _Calls) -> tuple[_Listener, ...]:
        now = self._clock.monotonic()
        with self._lock:
            until, known = self._listeners.get(load_balancer, (0.0, ()))
        if known and now < until:
            return known
        found = []
        for entry in calls.listing("DescribeListeners", "Listeners", LoadBalancerArn=load_balancer):
            arn, port, protocol = _text(entry.get("ListenerArn")), entry.get("Port"), _text(entry.get("Protocol"))
            if arn and isinstance(port, int) and protocol in {"HTTP", "HTTPS"}:
                found.append(_Listener(arn, port, f"{protocol}:{port}"))
        listeners = tuple(found)
        with self._lock:
            self._listeners[load_balancer] = (now + _LISTENER_TTL_S, listeners)
            _shrink(self._listeners, _KEPT_LOAD_BALANCERS)
        return listeners

    def _check_rules(
        self, load_balancer: str, request: VerificationRequest, owners: Mapping[str, ServicePort], calls: _Calls, findings: _Findings
    ) -> None:
        listeners = self._listeners_of(load_balancer, calls)
        seen: set[LiveRule] = set()
        for listener in listeners:
            rules = _rules(calls.listing("DescribeRules", "Rules", ListenerArn=listener.arn))
            here = [rule for rule in request.rules if rule.conditions in rules]
            seen.update(here)
            for rule in request.rules:
                where = f"{listener.label} {rule.label}"
                # Equal conditions twice on one listener: all must be right, whichever of them wins.
                for live in rules.get(rule.conditions, ()):
                    _compare(live, where, request, owners, findings)
                # A listener that has none of our rules is another Ingress's of the group, or only redirects; unless we know better.
                if rule not in here and (here or listener.port in request.ports):
                    findings.problems.append(f"{where}: no such rule yet")
        missing_ports = request.ports - {listener.port for listener in listeners}
        findings.problems.extend(f"there is no listener on port {port} yet" for port in sorted(missing_ports))
        findings.problems.extend(f"no listener has a rule for {rule.label} yet" for rule in request.rules if rule not in seen)


# --- comparing: pure --------------------------------------------------------------------------------------------------------------------


def _owners(request: VerificationRequest, findings: _Findings) -> dict[str, ServicePort] | None:
    """Service and port by target group ARN; None where a target of the action has no target group yet.

    The target groups of other Services are known too, so that what the rule still does can be told by name.

    Raises:
        _CannotTellError: The question is not answerable.
    """
    if not request.rules:
        raise _CannotTellError("no rule of the Ingress uses the action")
    if not request.targets or all(target.weight <= 0 for target in request.targets):
        raise _CannotTellError("the action sends no traffic to any Service")
    if request.target_groups is None:
        raise _CannotTellError("the TargetGroupBindings cannot be read")
    owners: dict[str, ServicePort] = {}
    for target in request.targets:
        key = (target.service, _port(target.port) or 0)
        arns = request.target_groups.get(key, ())
        if not arns:
            findings.problems.append(f"Service {target.service}:{target.port} has no target group yet")
        for arn in arns:
            if owners.setdefault(arn, key) != key:
                raise _CannotTellError(f"{owners[arn][0]} and {target.service} share a target group")
    for key, arns in request.target_groups.items():
        for arn in arns:
            owners.setdefault(arn, key)
    return None if findings.problems else owners


def _rules(entries: Sequence[Mapping[str, Any]]) -> dict[frozenset[Condition], list[Mapping[str, Any]]]:
    """Rules by their conditions, without the listener's default."""
    found: dict[frozenset[Condition], list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry.get("IsDefault") or entry.get("Priority") == "default":
            continue
        conditions = _merged(filter(None, (_condition(_lower_keys(condition)) for condition in _dicts(entry.get("Conditions")))))
        found.setdefault(conditions, []).append(entry)
    return found


def _compare(
    rule: Mapping[str, Any], where: str, request: VerificationRequest, owners: Mapping[str, ServicePort], findings: _Findings
) -> None:
    """Compares one live rule with the action, into `findings`."""
    actions = sorted(_dicts(rule.get("Actions")), key=lambda action: _number(action.get("Order")) or 0)
    action = actions[-1] if actions else {}  # before it stand authentication actions
    kind = _text(action.get("Type"))
    if kind == "fixed-response":
        fixed = _dict(action.get("FixedResponseConfig"))
        said = f" ({_text(fixed.get('MessageBody'))[:_MAX_TEXT]})" if fixed.get("MessageBody") else ""
        findings.problems.append(f"{CRITICAL}{where} answers every request with a fixed {fixed.get('StatusCode', '5xx')}{said}")
        return
    if kind != "forward":
        findings.problems.append(f"{where} does not forward ({kind[:_MAX_TEXT] or 'no action'})")
        return
    config = _dict(action.get("ForwardConfig"))
    tuples = _dicts(config.get("TargetGroups"))
    if not tuples and _text(action.get("TargetGroupArn")):
        tuples = [{"TargetGroupArn": action["TargetGroupArn"]}]  # AWS shows both forms for a single target group; emulators only one
    live: dict[ServicePort, int] = {}
    strangers: list[str] = []
    for entry in tuples:
        arn = _text(entry.get("TargetGroupArn"))
        weight = _number(entry.get("Weight", 1))
        if arn not in owners or weight is None or owners[arn] in live:
            strangers.append(_text(arn).rpartition("targetgroup/")[2] or "?")
            continue
        live[owners[arn]] = weight
    wanted = {(target.service, _port(target.port) or 0): target.weight for target in request.targets}
    same = live.keys() == wanted.keys() if len(wanted) == 1 else live == wanted  # a single target group gets all, whatever its weight
    stickiness = _stickiness(config)
    if not same or strangers:
        shown = _shown(live) + "".join(f", unknown target group {name[:_MAX_TEXT]}" for name in strangers)
        findings.problems.append(f"{where} forwards to {shown.removeprefix(', ') or 'nothing'}, asked for {_shown(wanted)}")
    if stickiness != request.stickiness_s:
        findings.problems.append(f"{where} has stickiness {_seconds(stickiness)}, asked for {_seconds(request.stickiness_s)}")
    findings.serving.update({arn: key[0] for arn in _arns(tuples) if (key := owners.get(arn)) and wanted.get(key, 0) > 0})
    weights: dict[str, int] = {}
    for (service, _), weight in live.items():
        weights[service] = weights.get(service, 0) + weight
    if not same or strangers or not findings.weights:
        findings.weights = weights  # of several rules the one that differs is shown


def _health(described: Sequence[Mapping[str, Any]], service: str, request: VerificationRequest) -> tuple[int, str]:
    """Healthy targets of one target group, and what is wrong with that.

    "Registered" is not enough: a target group of which no target is healthy fails open, and one that is empty answers 503.
    """
    states: dict[str, int] = {}
    instances = False
    for entry in described:
        state = _text(_dict(entry.get("TargetHealth")).get("State"))[:_MAX_TEXT] or "unknown"
        states[state] = states.get(state, 0) + 1
        instances = instances or _text(_dict(entry.get("Target")).get("Id")).startswith("i-")
    healthy = states.get("healthy", 0)
    ready = 0 if instances else request.ready.get(service, 0)  # an instance target is a node: it does not count pods
    share = min(1.0, max(0.0, request.healthy_share))
    needed = max(1, request.min_healthy, math.ceil(share * ready))
    if healthy >= needed:
        # Healthy nodes do not count pods: what is ready behind them is the best that is known.
        return (max(healthy, request.ready.get(service, 0)) if instances else healthy), ""
    others = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state != "healthy") or "no others"
    return healthy, f"{service} has {healthy} healthy target(s) of the {needed} needed ({others})"


def _waits(request: VerificationRequest, findings: _Findings) -> bool:
    """Whether something that stands by has ready endpoints and no healthy target yet: a switch to it is refused on the word of this."""
    return any(request.ready.get(service, 0) > 0 and findings.healthy.get(service) == 0 for service, _ in request.standby)


def _stickiness(config: Mapping[str, Any]) -> int:
    """Seconds of target group stickiness; 0 = disabled, -1 = enabled for an unknown time."""
    stickiness = _dict(config.get("TargetGroupStickinessConfig"))
    if stickiness.get("Enabled") is not True:
        return 0
    seconds = _number(stickiness.get("DurationSeconds"))
    return seconds or -1


def _named(entries: Sequence[Mapping[str, Any]], hostname: str) -> str | None:
    """The ARN of the load balancer with that DNS name, "" where it is not an application's, None where there is none.

    AWS keeps the case of the name, the Ingress's status does not.
    """
    for entry in entries:
        if _host(_text(entry.get("DNSName"))) == hostname:
            return _text(entry.get("LoadBalancerArn")) if entry.get("Type") == "application" else ""
    return None


def _condition(condition: Mapping[str, Any]) -> Condition | None:
    """One condition in either spelling, the annotation's or ELBv2's, with its keys in lower case; None where it cannot be read."""
    name = _text(condition.get("field")).lower()
    config = _dict(condition.get(_CONFIG_KEYS.get(name, "")))
    values: set[str] = set()
    for value in _list(config.get("values")) or _list(condition.get("values")):
        if isinstance(value, dict):
            value = f"{value.get('key', '')}={value.get('value', '')}"  # noqa: PLW2901 - a query string's pair
        values.add(str(value).lower() if name == "host-header" else str(value))
    values.update(f"regex:{value}" for value in _list(config.get("regexvalues")) or _list(condition.get("regexvalues")))
    if name == "http-header":
        name = f"{name}:{_text(config.get('httpheadername')).lower()}"
    return (name, frozenset(values)) if name and values else None


def _merged(conditions: Iterable[Condition]) -> frozenset[Condition]:
    """Conditions as a set; host and path values are put together, as the load-balancer controller does."""
    together: dict[str, frozenset[str]] = {}
    single: set[Condition] = set()
    for name, values in conditions:
        if name in {"host-header", "path-pattern"}:
            together[name] = together.get(name, frozenset()) | values
        else:
            single.add((name, values))
    return frozenset(single | {(name, values) for name, values in together.items() if values})


def _annotated_conditions(text: object) -> list[Condition]:
    """The conditions of a ``conditions.<action>`` annotation; none where there is no such annotation or it cannot be read."""
    return [found for entry in _dicts(_json(text)) if (found := _condition(_lower_keys(entry)))]


def _patterns(path: str, kind: str, *, regex: bool) -> frozenset[str]:
    if not path:
        return frozenset()
    if kind == "Prefix":
        base = path.removesuffix("/")
        return frozenset({base, f"{base}/*"}) if base else frozenset({"/*"})
    if kind != "Exact" and regex:
        return frozenset({f"regex:{path[1:]}"})  # the controller strips the leading slash that Kubernetes insists on
    return frozenset({path})


# --- reading what others wrote ----------------------------------------------------------------------------------------------------------


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else MappingProxyType({})


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in _list(value) if isinstance(entry, dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _port(value: object) -> int | str | None:
    """A Service port; numbers in strings are numbers, as for the load-balancer controller."""
    if isinstance(value, str) and value:
        return int(value) if value.isascii() and value.isdigit() and len(value) <= _PORT_DIGITS else value
    return _number(value)


def _json(text: object) -> object:
    try:
        return json.loads(_text(text))
    except (ValueError, RecursionError):
        return None


def _lower_keys(value: object) -> dict[str, Any]:
    """A copy with all keys in lower case, at every depth: Go reads them so."""
    lowered = _lowered(value, _MAX_DEPTH)
    return lowered if isinstance(lowered, dict) else {}


def _lowered(value: object, depth: int) -> object:
    if depth <= 0:
        return None
    if isinstance(value, dict):
        return {str(key).lower(): _lowered(entry, depth - 1) for key, entry in value.items()}
    return [_lowered(entry, depth - 1) for entry in value] if isinstance(value, list) else value


def _host(hostname: str) -> str:
    """A DNS name as it is compared: lower case, no trailing dot, no Route 53 prefix."""
    return hostname.strip().lower().rstrip(".").removeprefix("dualstack.")


def _arns(tuples: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_text(entry.get("TargetGroupArn")) for entry in tuples]


def _shown(weights: Mapping[ServicePort, int]) -> str:
    return ", ".join(f"{service} {weight}" for (service, _), weight in sorted(weights.items(), key=lambda item: str(item[0])))


def _seconds(stickiness: int) -> str:
    return "off" if stickiness == 0 else "on" if stickiness < 0 else f"{stickiness} s"


def _shrink(entries: dict[str, Any], limit: int) -> None:
    """Drops the oldest entries beyond `limit`."""
    while len(entries) > limit:
        del entries[next(iter(entries))]
