"""The external sources: the load balancer's rules, CloudWatch and EC2. Separate threads poll them, never a pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from controller.clients.calls import on_behalf_of
from controller.policy.availability import with_known_health
from controller.policy.model import Application, Source, Target, Unit, Verdict, Verification
from controller.signals.cluster import ClusterView
from controller.signals.ingress import hostnames, observe_ingress
from controller.signals.load_balancer.request import ServicePort, VerificationRequest, listener_ports, live_rules, target_groups
from controller.signals.load_balancer.verifier import BUDGET_SPENT, Verifier
from controller.signals.snapshots import Capacity, ExternalSignals, Metrics, Offerings


class MetricsPoller(Metrics, Protocol):
    """A poller of demand, latency and errors."""

    def poll(self, applications: Iterable[Application], load_balancers: Mapping[str, str]) -> None:
        """Polls what is due; never raises."""

    def source(self) -> Source:
        """How fresh the values are."""


class CapacityPoller(Capacity, Protocol):
    """A poller of what EC2 reports on capacity."""

    def poll(self, units: Iterable[Unit]) -> None:
        """Polls what is due; never raises."""

    def source(self) -> Source:
        """How fresh the values are."""


class OfferingsPoller(Offerings, Protocol):
    """A poller of what Karpenter holds for unavailable."""

    def poll(self) -> None:
        """Polls once; never raises."""

    def source(self) -> Source:
        """How fresh the values are."""


def verification_request(application: Application, view: ClusterView) -> VerificationRequest | None:
    """Asks whether the load balancer shows the present routing action; None if there is no action to verify."""
    ingress = view.ingress(application.namespace, application.ingress)
    if ingress is None:
        return None
    routing = observe_ingress(application, ingress)
    if not routing.targets:
        return None
    with view.lock:
        workloads = view.workloads
        bindings = workloads.bindings(application.namespace) if workloads.bindings_known else None
        names = [application.capacity.service, *(unit.backend.service for unit in application.units), *(t.service for t in routing.targets)]
        counts = {name: workloads.endpoints_ready(application.namespace, name) for name in names}
    return VerificationRequest(
        application=application.key,
        hostnames=hostnames(ingress),
        action=routing.action,
        targets=routing.targets,
        stickiness_s=routing.stickiness_s,
        rules=live_rules(ingress, application.action),
        target_groups=target_groups(bindings, application.namespace, application.ingress) if bindings is not None else None,
        ready={service: count for service, count in counts.items() if count is not None},
        healthy_share=application.policy.healthy_share,
        standby=_standby(application, routing.targets),
        ports=listener_ports(ingress),
    )


def _standby(application: Application, targets: Iterable[Target]) -> tuple[ServicePort, ...]:
    """The Services of the application without traffic now."""
    serving = {(target.service, target.port) for target in targets if target.weight > 0}
    everything = [application.capacity, *(unit.backend for unit in application.units)]
    return tuple((one.service, one.port) for one in everything if (one.service, one.port) not in serving)


_NOT_ASKED: Final = Verification(Verdict.CANNOT_TELL, 0.0, "aws.elbv2_enabled is off")


def _decides(seen: Verification) -> tuple[object, ...]:
    """What of a verification may change a decision."""
    return seen.verdict, seen.action, seen.healthy


class ExternalSources:
    """Polls the external sources and keeps their last answers.

    Args:
        view: The view of the cluster, for what must be verified.
        verifier: Checks the load balancer; None: no checks.
        metrics: Polls CloudWatch; None: no polls.
        capacity: Polls EC2; None: no polls.
        offerings: Polls Karpenter's metrics; None: no polls.
        changed: Called with the namespace of an application whose verification changed.
    """

    def __init__(
        self,
        view: ClusterView,
        *,
        verifier: Verifier | None,
        metrics: MetricsPoller | None,
        capacity: CapacityPoller | None,
        offerings: OfferingsPoller | None = None,
        changed: Callable[[str], None],
    ) -> None:
        self._view, self._verifier, self._metrics, self._capacity, self._changed = view, verifier, metrics, capacity, changed
        self._offerings = offerings
        self._lock = threading.Lock()
        self._verifications: dict[str, Verification] = {}

    def verify(self, applications: Iterable[Application]) -> None:
        """Checks the load balancers of these applications, as far as the call budget allows."""
        applications = list(applications)
        if self._verifier is None:
            return
        self._verifier.retain(one.key for one in applications)
        for application in applications:
            request = verification_request(application, self._view)
            if request is None:
                continue
            with on_behalf_of(application.key):
                result = replace(self._verifier.verify(request), action=request.action)
            with self._lock:
                before = self._verifications.get(application.key)
                if before is None and result.problem == BUDGET_SPENT:
                    continue  # as if nobody had asked
                result = with_known_health(result, before)
                self._verifications[application.key] = result
            if before is None or _decides(before) != _decides(result):
                self._changed(application.namespace)
        with self._lock:
            keys = {one.key for one in applications}
            self._verifications = {key: seen for key, seen in self._verifications.items() if key in keys}

    def poll_metrics(self, applications: Iterable[Application]) -> None:
        """Polls CloudWatch for what is due."""
        applications = list(applications)
        if self._metrics is not None:
            with on_behalf_of(*(one.key for one in applications)):
                self._metrics.poll(applications, self._verifier.dimensions() if self._verifier else {})

    def poll_capacity(self, applications: Iterable[Application]) -> None:
        """Polls EC2 for what is due."""
        applications = list(applications)
        if self._capacity is not None:
            with on_behalf_of(*(one.key for one in applications)):
                self._capacity.poll([unit for application in applications for unit in application.units])

    def poll_offerings(self) -> None:
        """Polls Karpenter's metrics."""
        if self._offerings is not None:
            self._offerings.poll()

    def of(self, application: Application) -> ExternalSignals:
        """The last values for one application."""
        with self._lock:
            verification = self._verifications.get(application.key) if self._verifier is not None else _NOT_ASKED
        return ExternalSignals(self._metrics, self._capacity, verification, self._offerings)

    def sources(self) -> tuple[Source, ...]:
        """How fresh each source is."""
        return tuple(one.source() for one in (self._metrics, self._capacity, self._offerings) if one is not None)
