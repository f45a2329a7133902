"""Prometheus metrics. Every name is in `docs/metrics.md` (a test compares)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controller.clients.calls import CallMeter
from controller.notifiers.dispatcher import SinkHealth
from controller.policy.ledger import Ledger
from controller.policy.memory import changes_within_an_hour
from controller.policy.model import Decision, Memory, Mode, PlannedFleet, Snapshot, Verdict

_VERDICTS: Final = {Verdict.YES: 1.0, Verdict.NOT_YET: 0.0, Verdict.CANNOT_TELL: -1.0}


class Telemetry:
    """All metrics of one process, in a registry of their own.

    Args:
        meter: Counts API calls; None: nothing does.
        units: Whether there are series of each deployment unit. They are nearly half of the bytes. Without them, only units that are
            short have one.
        kept: The number of objects in memory by kind; None: there is no such series.
    """

    def __init__(self, meter: CallMeter | None = None, *, units: bool = True, kept: Callable[[], Mapping[str, int]] | None = None) -> None:
        self.registry = CollectorRegistry()
        if kept is not None:
            self.registry.register(_Kept(kept))
        app = ("application",)
        self._latest = _Latest(meter or CallMeter(), units=units)
        self.registry.register(self._latest)
        self.mode_changes = Counter("failoverctl_switches", "Mode changes made.", (*app, "to", "reason"), registry=self.registry)
        self.actions = Counter("failoverctl_actions", "Actions sent.", (*app, "kind", "result"), registry=self.registry)
        self.pass_errors = Counter("failoverctl_pass_errors", "Passes that ended in a bug.", app, registry=self.registry)
        self.pass_seconds = Histogram(
            "failoverctl_pass_seconds",
            "Real time of one pass over one application.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.queued = Gauge("failoverctl_queued_applications", "Applications that wait for a worker.", registry=self.registry)
        self.last_tick = Gauge("failoverctl_last_tick_timestamp_seconds", "When the loop ended its last round.", registry=self.registry)
        self.tick_interval = Gauge("failoverctl_tick_interval_seconds", "Longest time between two rounds.", registry=self.registry)
        self.unparsed = Gauge("failoverctl_unparsed_refusals", "Refusals whose text was not understood.", registry=self.registry)
        self.sink_ok = Gauge("failoverctl_notifier_up", "1 while a sink delivers.", ("sink",), registry=self.registry)
        self.sink_messages = Gauge(
            "failoverctl_notifier_messages", "Messages of a sink since the start.", ("sink", "result"), registry=self.registry
        )
        self.leader = Gauge("failoverctl_leader", "1 while this replica leads.", registry=self.registry)
        self.takeover = Gauge(
            "failoverctl_takeover_seconds", "From the Lease to the last application's first pass, last time.", registry=self.registry
        )
        self.recorded = Counter("failoverctl_recorded_decisions", "Decisions recorded.", registry=self.registry)
        self.unrecorded = Counter(
            "failoverctl_unrecorded_decisions", "Decisions that could not be recorded.", ("why",), registry=self.registry
        )
        self.verifiable = Gauge(
            "failoverctl_verifiable_applications",
            "Applications that the budget of ELBv2 calls can verify every ten minutes.",
            registry=self.registry,
        )
        self.verification_cycle = Gauge(
            "failoverctl_verification_cycle_seconds", "Time in which the budget verifies every application once.", registry=self.registry
        )
        self.config_ok = Gauge("failoverctl_config_ok", "0 while a changed application file is refused.", registry=self.registry)

    def decided(self, snapshot: Snapshot, decision: Decision, memory: Memory, ledger: Ledger) -> None:
        """Stores one decision, the memory after it, and the account up to it."""
        limit = snapshot.application.policy.flips_per_hour
        self._latest.put(_Decided(snapshot, decision, max(0, limit - len(changes_within_an_hour(memory, snapshot.now))), ledger))

    def forget(self, application: str) -> None:
        """Drops the series of an application that was removed."""
        self._latest.drop(application)

    def sinks(self, health: Iterable[SinkHealth]) -> None:
        """Sets the health of the notifiers."""
        for one in health:
            self.sink_ok.labels(one.name).set(one.ok)
            for result in ("sent", "failed", "dropped"):
                self.sink_messages.labels(one.name, result).set(getattr(one, result))


class _Kept(Collector):
    """How many objects of the cluster are in memory, counted at each scrape.

    Args:
        counted: The number by kind.
    """

    def __init__(self, counted: Callable[[], Mapping[str, int]]) -> None:
        self._counted = counted

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Makes the metric. Called from the thread that serves HTTP."""
        family = GaugeMetricFamily("failoverctl_kept_objects", "Objects of the cluster in memory.", labels=("kind",))
        for kind, count in self._counted().items():
            family.add_metric((kind,), count)
        yield family


@dataclass(frozen=True, slots=True)
class _Decided:
    """The last decision over an application.

    Attributes:
        snapshot: What it was made from.
        decision: What was decided.
        changes_left: Mode changes that the flip budget allows after it.
        ledger: The account up to it.
    """

    snapshot: Snapshot
    decision: Decision
    changes_left: int
    ledger: Ledger


class _Latest(Collector):
    """The gauges of each application, made from its last decision at each scrape.

    The decisions are kept anyway. As the library's metrics, the thirty values of an application would take 20 KiB, and every pass would
    write what is read once a minute.

    Args:
        meter: Counts API calls.
        units: Whether there are series of each deployment unit.
    """

    def __init__(self, meter: CallMeter, *, units: bool) -> None:
        self._lock, self._meter, self._units = threading.Lock(), meter, units
        self._decided: dict[str, _Decided] = {}

    def put(self, decided: _Decided) -> None:
        """Replaces the application's last decision."""
        with self._lock:
            self._decided[decided.snapshot.application.key] = decided

    def drop(self, application: str) -> None:
        """Forgets an application."""
        with self._lock:
            self._decided.pop(application, None)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Makes all metrics. Called from the thread that serves HTTP."""
        with self._lock:
            decided = list(self._decided.items())
        yield from _gauges(decided, units=self._units)
        yield from _planned(((key, one.decision.planned) for key, one in decided), units=self._units)
        yield from _accounts((key, one.ledger) for key, one in decided)
        calls = CounterMetricFamily("failoverctl_api_calls", "API calls of this process, retries included.", labels=("service",))
        for service, count in self._meter.totals().items():
            calls.add_metric((service,), count)
        yield calls


def _accounts(ledgers: Iterable[tuple[str, Ledger]]) -> Iterator[CounterMetricFamily]:
    """What the modes cost and saved since this replica began to lead."""
    app = ("application",)
    seconds = CounterMetricFamily("failoverctl_mode_seconds", "Time in a mode.", labels=(*app, "mode"))
    requests = CounterMetricFamily("failoverctl_mode_requests", "Measured requests in a mode.", labels=(*app, "mode"))
    spend = CounterMetricFamily("failoverctl_spend_dollars", "US dollars of the replicas that have a node.", labels=app)
    saved = CounterMetricFamily("failoverctl_saved_dollars", "US dollars that cost mode saved against capacity mode.", labels=app)
    premium = CounterMetricFamily("failoverctl_premium_dollars", "US dollars that capacity mode cost on top of cost mode.", labels=app)
    exposed = CounterMetricFamily("failoverctl_exposed_seconds", "Time in cost mode with a unit that is proven short.", labels=app)
    probing = CounterMetricFamily("failoverctl_probing_seconds", "Replica-seconds of pending probes.", labels=app)
    probes = CounterMetricFamily("failoverctl_probe_dollars", "US dollars of replicas that only a probe keeps.", labels=app)
    words = "US dollars while strategy planned had a fleet: spent, for the weights of the file, and the optimum with hindsight."
    compared = CounterMetricFamily("failoverctl_compared_dollars", words, labels=(*app, "of"))
    what = "API calls for an application; those that serve several are shared out."
    calls = CounterMetricFamily("failoverctl_application_api_calls", what, labels=(*app, "service"))
    for key, ledger in ledgers:
        for mode in Mode:
            seconds.add_metric((key, mode.value), ledger.seconds.get(mode, 0.0))
            requests.add_metric((key, mode.value), ledger.requests.get(mode, 0.0))
        for family, value in ((spend, ledger.spend), (saved, ledger.saved), (premium, ledger.premium)):
            family.add_metric((key,), value)
        exposed.add_metric((key,), ledger.exposed_s)
        probing.add_metric((key,), ledger.probing_s)
        probes.add_metric((key,), ledger.probe_dollars)
        bills = (("spent", ledger.compared_spend), ("weights", ledger.weights_spend), ("optimum", ledger.least_spend))
        for of, dollars in bills if ledger.compared_s else ():
            compared.add_metric((key, of), dollars)
        for service, count in sorted(ledger.calls.items()):
            calls.add_metric((key, service), count)
    yield from (seconds, requests, spend, saved, premium, exposed, probing, probes, compared, calls)


def _gauges(decided: Iterable[tuple[str, _Decided]], *, units: bool) -> Iterator[GaugeMetricFamily]:
    """The values of the last decisions. Without `units`, of the deployment units only those that are short: an alert goes by them."""
    app = ("application",)
    mode = GaugeMetricFamily("failoverctl_mode", "1 for the mode the application is in.", labels=(*app, "mode"))
    unknown = GaugeMetricFamily("failoverctl_mode_unknown", "1 while the routing is not understood.", labels=app)
    short = GaugeMetricFamily("failoverctl_unit_short", "1 while a unit's shortage is proven.", labels=(*app, "unit"))
    ready = GaugeMetricFamily("failoverctl_unit_ready_replicas", "Ready replicas of a unit.", labels=(*app, "unit"))
    waiting = GaugeMetricFamily("failoverctl_unit_waiting_pods", "Unschedulable pods of a unit.", labels=(*app, "unit"))
    price = GaugeMetricFamily("failoverctl_unit_price_dollars_per_hour", "Price of a unit's replica.", labels=(*app, "unit", "source"))
    read = GaugeMetricFamily("failoverctl_unit_price_age_seconds", "Age of a price that a source gave.", labels=(*app, "unit", "source"))
    shown = "1: the load balancer shows the action, 0: not yet, -1: cannot tell."
    verified = GaugeMetricFamily("failoverctl_routing_verified", shown, labels=app)
    age = GaugeMetricFamily("failoverctl_signal_age_seconds", "Age of a source's last answer.", labels=(*app, "source"))
    degraded = GaugeMetricFamily("failoverctl_degraded", "Sources that are absent or stale.", labels=app)
    alerts = GaugeMetricFamily("failoverctl_alerts", "Alerts that are on.", labels=app)
    left = GaugeMetricFamily("failoverctl_flip_budget_left", "Mode changes that the flip budget still allows.", labels=app)
    for key, last in decided:
        snapshot, decision = last.snapshot, last.decision
        left.add_metric((key,), last.changes_left)
        for one in Mode:
            mode.add_metric((key, one.value), decision.mode is one)
        unknown.add_metric((key,), decision.mode is None)
        for unit, judged in decision.evidence.items():
            if units or judged.short:
                short.add_metric((key, unit), judged.short)
            if units:
                ready.add_metric((key, unit), judged.ready)
                waiting.add_metric((key, unit), judged.demand)
        for unit, cost in ((name, seen.price) for name, seen in snapshot.units.items() if units and seen.price is not None):
            price.add_metric((key, unit, cost.source), cost.dollars)
            if cost.at is not None:
                read.add_metric((key, unit, cost.source), max(0.0, snapshot.now - cost.at))
        seen = snapshot.routing.verification
        verified.add_metric((key,), _VERDICTS[seen.verdict if seen else Verdict.CANNOT_TELL])
        for source in snapshot.sources:
            age.add_metric((key, source.name), -1.0 if source.last_ok is None else max(0.0, snapshot.now - source.last_ok))
        degraded.add_metric((key,), len(decision.degraded))
        alerts.add_metric((key,), len(decision.alerts))
    yield from (mode, unknown, short, ready, waiting, price, read, verified, age, degraded, alerts, left)


def _planned(decided: Iterable[tuple[str, PlannedFleet | None]], *, units: bool) -> Iterator[GaugeMetricFamily]:
    """What strategy `planned` would run, of the applications that have it."""
    app = ("application",)
    planned = GaugeMetricFamily("failoverctl_planned_replicas", "Replicas that strategy planned would run.", labels=(*app, "unit"))
    price = GaugeMetricFamily("failoverctl_planned_dollars_per_hour", "Price of what strategy planned would run.", labels=app)
    expected = GaugeMetricFamily("failoverctl_expected_requests", "Requests per metric period that strategy planned expects.", labels=app)
    what = "What lately nine of ten forecasts of a like demand fell short by at most, as a share of them."
    shortfall = GaugeMetricFamily("failoverctl_forecast_shortfall", what, labels=app)
    what = "Share of the expected demand that what strategy planned would run carries without a family."
    resilience = GaugeMetricFamily("failoverctl_planned_share_without", what, labels=(*app, "family"))
    for key, one in decided:
        if one is None:
            continue
        fleet, demand = one.fleet, one.expected
        price.add_metric((key,), fleet.price)
        expected.add_metric((key,), demand)
        if one.shortfall is not None:
            shortfall.add_metric((key,), one.shortfall)
        for unit, count in fleet.replicas.items() if units else ():
            planned.add_metric((key, unit), count)
        for family, left in fleet.left.items() if demand else ():
            resilience.add_metric((key, family), left / demand)
    yield from (planned, price, expected, shortfall, resilience)
