"""The external sources: the load balancer's rules, CloudWatch and EC2. Separate threads poll them, never a pass."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import structlog

from controller.clients.calls import on_behalf_of
from controller.policy.model import Application, Offerings, RoutingObservation, Source, Target, Unit, Verdict, Verification
from controller.policy.routing import HEALTH_FRESH_S, with_known_health
from controller.signals.cluster import ClusterView
from controller.signals.load_balancer.request import BoundGroups, ServicePort, VerificationRequest
from controller.signals.load_balancer.turns import Load, Turns, Waiting, expected_load
from controller.signals.load_balancer.verifier import AUDIT_S, Verifier
from controller.signals.reservation_probe import ReservationProbe, probed
from controller.signals.snapshots import ExternalSignals

LANES: Final = 4
"""Applications that are verified at the same time. A call takes about 0.2 s: one after the other could not make more than 5 a second."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Poll:
    """A row of the table of what is polled. What is watched has a table in `controller.signals.cluster`.

    Attributes:
        name: Of the job.
        every_s: Seconds from one call of `poll` to the next.
        poll: Asks for what is due for these applications; never raises.
        source: How fresh the values of an application are; None of one that needs none.
    """

    name: str
    every_s: float
    poll: Callable[[Sequence[Application]], None]
    source: Callable[[Application], Source | None]

    @staticmethod
    def of_units(name: str, every_s: float, poller: UnitsPoller) -> Poll:
        """The row of what is asked of deployment units."""
        return Poll(name, every_s, lambda chosen: poller.poll([unit for one in chosen for unit in one.units]), lambda _: poller.source())


class UnitsPoller(Protocol):
    """A poller of what is known of the units of all applications together."""

    def poll(self, units: Iterable[Unit]) -> None:
        """Polls what is due; never raises."""

    def source(self) -> Source:
        """How fresh the values are."""


Bindings = dict[str, BoundGroups | None]
"""What the target group bindings of a namespace bind, each read once; None where they are not known."""


def verification_request(application: Application, view: ClusterView, bindings: Bindings | None = None) -> VerificationRequest | None:
    """Asks whether the load balancer shows the routing action; None if there is none, or if nobody knows the target groups yet.

    Args:
        application: Whose.
        view: The view of the cluster.
        bindings: The bindings that were read already, which this adds to; None: none were.
    """
    bindings = {} if bindings is None else bindings
    routing, asked = view.routing(application), view.asked(application)
    if not routing.targets:
        return None
    with view.lock:
        workloads = view.workloads
        if workloads.bindings_known is None:
            return None  # the watches have just begun: to say that the bindings cannot be read would raise an alert
        if application.namespace not in bindings:
            known = workloads.bindings(application.namespace) if workloads.bindings_known else None
            bindings[application.namespace] = BoundGroups(known) if known is not None else None
    bound = bindings[application.namespace]
    return VerificationRequest(
        application=application.key,
        hostnames=asked.hostnames,
        action=routing.action,
        targets=routing.targets,
        stickiness_s=routing.stickiness_s,
        rules=asked.rules,
        target_groups=bound.of(application.namespace, asked.stacks, asked.group) if bound is not None else None,
        ready=_ready(application, _services(application, routing.targets), view),
        standby=_standby(application, routing.targets),
        ports=asked.ports,
    )


def _services(application: Application, targets: Iterable[Target]) -> tuple[str, ...]:
    """The Services that have or may get traffic."""
    return tuple(dict.fromkeys((*application.services, *(one.service for one in targets))))


def _ready(application: Application, names: Iterable[str], view: ClusterView) -> dict[str, int]:
    """The ready endpoints of some Services, as far as known."""
    with view.lock:
        counts = {name: view.workloads.endpoints_ready(application.namespace, name) for name in names}
    return {service: count for service, count in counts.items() if count is not None}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it was made last, and of what: it is made again only if one of these is another object now."""

    application: Application
    routing: RoutingObservation
    bindings: tuple[bool | None, int]
    request: VerificationRequest | None
    services: tuple[str, ...]  # that have or may get traffic


def _standby(application: Application, targets: Iterable[Target]) -> tuple[ServicePort, ...]:
    """The Services of the application without traffic now."""
    serving = {(target.service, target.port) for target in targets if target.weight > 0}
    everything = [application.capacity, *(unit.backend for unit in application.units)]
    return tuple((one.service, one.port) for one in everything if (one.service, one.port) not in serving)


_MINUTE_S: Final = 60.0
_PROBES_S: Final = 5.0  # how late a round of probes may begin


def _asked_within_s(load: Load) -> float:
    """See `RoutingObservation`, in whole minutes: with each check the load is another by some seconds."""
    return math.ceil(load.change_s / _MINUTE_S) * _MINUTE_S if load.change_s > _MINUTE_S else 0.0


def _healthy_for_s(load: Load) -> float | None:
    """How long counts of healthy targets stay valid, seconds: for as many checks as with the usual interval; None: as long as usual."""
    return HEALTH_FRESH_S * load.cycle_s / AUDIT_S if load.cycle_s > AUDIT_S else None


_NOT_ASKED: Final = Verification(Verdict.CANNOT_TELL, 0.0, "aws.apis leaves elbv2 out")


def _decides(seen: Verification) -> tuple[object, ...]:
    """What of a verification may change a decision."""
    return seen.verdict, seen.action, seen.healthy


class ExternalSources:
    """Polls the external sources and keeps their last answers.

    Args:
        view: The view of the cluster, for what must be verified.
        verifier: Checks the load balancer; None: no checks.
        signals: What the pollers hold; the verification of an application is added.
        polls: The pollers, a row each.
        stop: Ends a round of checks early when set.
        before: Called before each check of a load balancer; may wait for a bounded time.
    """

    def __init__(
        self,
        view: ClusterView,
        *,
        verifier: Verifier | None,
        signals: ExternalSignals | None = None,
        polls: Iterable[Poll] = (),
        stop: threading.Event | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._stop, self._before = stop or threading.Event(), before
        self._view, self._verifier, self._signals = view, verifier, signals or ExternalSignals()
        self.polls = {one.name: one for one in (*polls, *self._probes())}
        self._lock = threading.Lock()
        self._verifications: dict[str, Verification] = {}
        self._asked: dict[str, _Asked] = {}
        self._changed_at: dict[str, float] = {}  # when a routing that is not verified yet was noticed, monotonic
        self._asked_within_s = 0.0
        self._turns, self._turn = Turns(), threading.Lock()

    def _probes(self) -> Iterator[Poll]:
        """The row of the probes of return."""
        probe = self._signals.probe
        if probe is not None:
            yield Poll(
                "probes", _PROBES_S, partial(self._probe, probe), lambda one: probe.source() if any(map(probed, one.units)) else None
            )

    def verify(self, applications: Iterable[Application], within_s: float = math.inf) -> bool:
        """Checks the load balancers of these applications as far as the call budget allows, the one that is due for longest first.

        Args:
            applications: All of them.
            within_s: After that time no further check begins, seconds. What changes meanwhile gets its turn in the next round: without an
                end, the first one over a thousand applications takes ten minutes where the calls are slower than the budget.

        Returns:
            Whether that time ended the round: more are due.
        """
        known = {one.key: one for one in applications}
        if self._verifier is None:
            return False
        self._verifier.retain(known)
        with self._lock:
            self._verifications = {key: seen for key, seen in self._verifications.items() if key in known}
        self._asked = {key: asked for key, asked in self._asked.items() if key in known}
        self._changed_at = {key: at for key, at in self._changed_at.items() if key in known}
        bindings: Bindings = {}
        waiting = list(self._waiting(self._verifier, known.values()))
        order = self._turns.order(waiting)
        lanes = min(LANES, len(waiting))
        load = self._verifier.load()
        self._asked_within_s = _asked_within_s(load if load.applications >= len(known) else expected_load(known.values(), load.per_second))
        verify = partial(self._verify, self._verifier, bindings, _healthy_for_s(load))
        clock = self._verifier.now
        end = clock() + within_s
        timely = iter(lambda: next(order, None) if clock() < end and not self._stop.is_set() else None, None)
        if lanes <= 1:
            self._lane(timely, known, verify)
        else:
            with ThreadPoolExecutor(lanes, thread_name_prefix="verification") as pool:
                list(pool.map(lambda _: self._lane(timely, known, verify), range(lanes)))
        return clock() >= end and next(order, None) is not None

    def _lane(self, order: Iterator[Waiting], known: Mapping[str, Application], verify: Callable[[Application], float | None]) -> None:
        """Checks one application after the other, until the budget is spent or all are checked."""
        while True:
            with self._turn:
                self._before()
                one = next(order, None)
            if one is None:
                return
            calls: float | None = 0.0
            try:
                calls = verify(known[one.application])
            except Exception:  # one application's strange answer must not end the checks of all others
                log.exception("verification.failed", application=one.application)
            with self._turn:
                if calls is None:
                    self._turns.skip(one)
                else:
                    self._turns.spent(one, calls)

    def _waiting(self, verifier: Verifier, applications: Iterable[Application]) -> Iterator[Waiting]:
        """Those whose check is due. What changed is due since the change was noticed."""
        now = verifier.now()
        for application in applications:
            key, routing = application.key, self._view.routing(application)
            asked = self._current(application, routing)
            services = asked.services if asked is not None else _services(application, routing.targets)
            due = verifier.due(key, _ready(application, services, self._view))
            before = self._verifications.get(key)
            changed = before is not None and before.action != routing.action
            if not changed:
                self._changed_at.pop(key, None)
            elif key not in self._changed_at:
                self._changed_at[key] = now
            if due <= now or changed or asked is None:
                awaited = changed or (before is not None and before.verdict is Verdict.NOT_YET)
                yield Waiting(key, min(due, self._changed_at.get(key, now)), awaited)

    def _verify(self, verifier: Verifier, bindings: Bindings, healthy_for_s: float | None, application: Application) -> float | None:
        """Checks one application, unless its routing cannot be verified.

        Args:
            verifier: Checks the load balancer.
            bindings: See `verification_request`.
            healthy_for_s: See `Verification`.
            application: Which.

        Returns:
            The calls that it took; None if the call budget did not reach it.
        """
        request = self._request(application, bindings)
        if request is None:
            return 0.0
        with on_behalf_of(application.key):
            checked = verifier.check(request)
        with self._lock:
            before = self._verifications.get(application.key)
        if checked is None:
            return None  # as if nobody had asked: those behind it in the line are not asked either
        result = replace(with_known_health(replace(checked, action=request.action), before), healthy_for_s=healthy_for_s)
        with self._lock:
            self._verifications[application.key] = result
        if before is None or _decides(before) != _decides(result):
            self._view.verified(application)
        return verifier.cost(application.key) if before is None or checked.at > before.at else 0.0

    def _current(self, application: Application, routing: RoutingObservation) -> _Asked | None:
        """The last request, if it was made of what is there now, apart from the counts of ready endpoints."""
        asked, version = self._asked.get(application.key), self._view.workloads.bindings_version(application.namespace)
        current = asked is not None and asked.application is application and asked.routing is routing and asked.bindings == version
        return asked if current else None

    def _request(self, application: Application, bindings: Bindings) -> VerificationRequest | None:
        """What to ask ELBv2. Only the counts of ready endpoints are read anew each time."""
        routing = self._view.routing(application)
        asked = self._current(application, routing)
        if asked is not None:
            if asked.request is None:
                return None
            return replace(asked.request, ready=_ready(application, asked.services, self._view))
        version = self._view.workloads.bindings_version(application.namespace)
        request = verification_request(application, self._view, bindings)
        self._asked[application.key] = _Asked(application, routing, version, request, _services(application, routing.targets))
        return request

    def load(self) -> Load | None:
        """How the calls that verifications need compare with the budget; None where nothing is verified."""
        return self._verifier.load() if self._verifier is not None else None

    def poll(self, name: str, applications: Iterable[Application]) -> None:
        """Asks one source for what is due."""
        applications = list(applications)
        with on_behalf_of(*(one.key for one in applications)):
            self.polls[name].poll(applications)

    def dimensions(self, applications: Iterable[Application]) -> Mapping[str, str]:
        """CloudWatch's ``LoadBalancer`` dimension of each application, as far as known."""
        if self._verifier is None:
            return {}
        known = self._verifier.dimensions()
        return {one.key: known.get(one.key) or self._verifier.dimension_of(self._hostnames(one)) for one in applications}

    def _hostnames(self, application: Application) -> tuple[str, ...]:
        return self._view.asked(application).hostnames

    def ask(self, application: str, probes: Mapping[str, Offerings]) -> None:
        """See `controller.signals.reservation_probe.ReservationProbe.ask`."""
        if probes and self._signals.probe is not None:
            self._signals.probe.ask(application, probes)

    def _probe(self, probe: ReservationProbe, applications: Sequence[Application]) -> None:
        """Asks EC2 what the decisions want to know, and wakes the applications that have an answer."""
        answered = probe.poll(unit for one in applications for unit in one.units)
        for one in applications:
            if one.key in answered:
                self._view.verified(one)

    def of(self, application: Application) -> ExternalSignals:
        """The last values for one application."""
        with self._lock:
            verification = self._verifications.get(application.key) if self._verifier is not None else _NOT_ASKED
        return replace(self._signals, verification=verification, asked_within_s=self._asked_within_s)

    def sources(self, application: Application) -> tuple[Source, ...]:
        """How fresh each source is for one application."""
        return tuple(source for one in self.polls.values() if (source := one.source(application)) is not None)
