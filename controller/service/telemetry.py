"""Prometheus metrics. Every name is in `docs/metrics.md` (a test compares)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.clients.calls import CallMeter
from controller.notifiers.dispatcher import SinkHealth
from controller.policy.account import Ledger
from controller.policy.memory import changes_within_an_hour, standing_mode
from controller.policy.model import Decision, Memory, Mode, PlannedFleet, Snapshot, UnitEvidence, Verdict
from controller.service.application_counter import ApplicationCounter
from controller.service.metric_families import Values, counter, gauge

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
        self._latest = _Latest(meter or CallMeter(), units=units)
        self.registry.register(self._latest)
        self.mode_changes = ApplicationCounter("switches", "Mode changes made.", "to", "reason")
        self.actions = ApplicationCounter("actions", "Actions sent.", "kind", "result")
        self.pass_errors = ApplicationCounter("pass_errors", "Passes that ended in a bug.")
        self._counters = (self.mode_changes, self.actions, self.pass_errors)
        for one in self._counters:
            self.registry.register(one)
        self.pass_seconds = Histogram(
            "failoverctl_pass_seconds",
            "Real time of one pass over one application.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.queued = Gauge("failoverctl_queued_applications", "Applications that wait for a worker.", registry=self.registry)
        self.last_tick = Gauge("failoverctl_last_tick_timestamp_seconds", "When the loop ended its last round.", registry=self.registry)
        self.tick_interval = Gauge("failoverctl_tick_interval_seconds", "Longest time between two rounds.", registry=self.registry)
        self.unparsed = Gauge("failoverctl_unparsed_refusals", "Refusals and records that were not understood.", registry=self.registry)
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
        self.config_ok = Gauge("failoverctl_config_ok", "0 while an application is refused.", registry=self.registry)

    def decided(self, snapshot: Snapshot, decision: Decision, memory: Memory, ledger: Ledger) -> None:
        """Stores one decision, the memory after it, and the account up to it."""
        limit = snapshot.application.policy.flips_per_hour
        left = max(0, limit - len(changes_within_an_hour(memory, snapshot.now)))
        self._latest.put(_Decided(snapshot, decision, standing_mode(memory, decision), left, ledger))

    def forget(self, application: str) -> None:
        """Drops the series of an application's last decision: it has other units now."""
        self._latest.drop(application)

    def retain(self, applications: Container[str]) -> None:
        """Drops the series of all other applications."""
        self._latest.retain(applications)
        for one in self._counters:
            one.retain(applications)

    def sinks(self, health: Iterable[SinkHealth]) -> None:
        """Sets the health of the notifiers."""
        for one in health:
            self.sink_ok.labels(one.name).set(one.ok)
            for result in ("sent", "failed", "dropped"):
                self.sink_messages.labels(one.name, result).set(getattr(one, result))


def exposition(registry: CollectorRegistry) -> bytes:
    """All metrics in Prometheus' text format.

    Each metric is written by the library and dropped before the next one is made. With all at once the process kept 11 MiB more from its
    first scrape on, at a thousand applications.

    Args:
        registry: Of the metrics.
    """
    return b"".join(generate_latest(_Only(metric)) for metric in registry.collect())


class _Only(CollectorRegistry):
    """A registry with one metric.

    Args:
        metric: The metric.
    """

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """Only this one."""
        yield self._metric


class _Kept(Collector):
    """How many objects of the cluster are in memory, counted at each scrape.

    Args:
        counted: The number by kind.
    """

    def __init__(self, counted: Callable[[], Mapping[str, int]]) -> None:
        self._counted = counted

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Makes the metric. Called from the thread that serves HTTP."""
        counts = (((kind,), count) for kind, count in self._counted().items())
        yield gauge("kept_objects", "Objects of the cluster in memory.", ("kind",), counts)


@dataclass(frozen=True, slots=True)
class _Decided:
    """The last decision over an application.

    Attributes:
        snapshot: What it was made from.
        decision: What was decided.
        mode: The mode that stands after it; None where it is not known.
        changes_left: Mode changes that the flip budget allows after it.
        ledger: The account up to it.
    """

    snapshot: Snapshot
    decision: Decision
    mode: Mode | None
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

    def retain(self, applications: Container[str]) -> None:
        """Forgets all other applications."""
        with self._lock:
            self._decided = {key: one for key, one in self._decided.items() if key in applications}

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Makes one metric after the other, so that `exposition` can write and drop each: a thousand applications have 35,000 values.

        Called from the thread that serves HTTP.
        """
        with self._lock:
            decided = list(self._decided.values())
        yield from _metrics(decided, units=self._units)
        calls = (((service,), count) for service, count in self._meter.totals().items())
        yield counter("api_calls", "API calls of this process, retries included.", ("service",), calls)


_Values = Callable[[_Decided], Values]


class _Row(NamedTuple):
    """A metric of each application.

    Attributes:
        make: Makes it.
        name: Its name, as `controller.service.metric_families` takes it.
        what: What it is.
        labels: Those besides ``application``.
        values: The values of the labels, each with that of the metric, of one application.
        brief: The same where deployment units have no series, for a metric of units.
    """

    make: Callable[[str, str, Sequence[str], Values], GaugeMetricFamily | CounterMetricFamily]
    name: str
    what: str
    labels: tuple[str, ...]
    values: _Values
    brief: _Values = lambda _: ()


def _of_units(value: Callable[[UnitEvidence], float]) -> _Values:
    return lambda one: [((name,), value(unit)) for name, unit in one.decision.evidence.items()]


def _of_account(value: Callable[[Ledger], float]) -> _Values:
    return lambda one: [((), value(one.ledger))]


def _of_fleet(value: Callable[[PlannedFleet], float]) -> _Values:
    return lambda one: [((), value(one.decision.planned))] if one.decision.planned is not None else []


_ROWS: Final = (
    _Row(
        gauge,
        "mode",
        "1 for the mode the application is in.",
        ("mode",),
        lambda one: [((mode.value,), one.mode is mode) for mode in Mode],
    ),
    _Row(gauge, "mode_unknown", "1 while the routing is not understood.", (), lambda one: [((), one.mode is None)]),
    _Row(
        gauge,
        "unit_short",
        "1 while a unit's shortage is proven.",
        ("unit",),
        _of_units(lambda unit: unit.short),
        brief=lambda one: [((name,), True) for name, unit in one.decision.evidence.items() if unit.short],  # an alert goes by it
    ),
    _Row(gauge, "unit_ready_replicas", "Ready replicas of a unit.", ("unit",), _of_units(lambda unit: unit.ready)),
    _Row(gauge, "unit_waiting_pods", "Unschedulable pods of a unit.", ("unit",), _of_units(lambda unit: unit.demand)),
    _Row(
        gauge,
        "unit_price_dollars_per_hour",
        "Price of a unit's replica.",
        ("unit", "source"),
        lambda one: [((name, of.price.source), of.price.dollars) for name, of in one.snapshot.units.items() if of.price is not None],
    ),
    _Row(
        gauge,
        "routing_verified",
        "1: the load balancer shows the action, 0: not yet, -1: cannot tell.",
        (),
        lambda one: [((), _VERDICTS[seen.verdict if (seen := one.snapshot.routing.present_verification) else Verdict.CANNOT_TELL])],
    ),
    _Row(
        gauge,
        "signal_age_seconds",
        "Age of a source's last answer.",
        ("source",),
        lambda one: [((source.name,), _age(one.snapshot, source.last_ok)) for source in one.snapshot.sources],
    ),
    _Row(
        gauge,
        "degraded",
        "Sources that are absent or stale, without those that the settings disable.",
        (),
        lambda one: [((), sum(not source.disabled and source.degraded(one.snapshot.now) for source in one.snapshot.sources))],
    ),
    _Row(gauge, "alerts", "Alerts that are on.", (), lambda one: [((), len(one.decision.alerts))]),
    _Row(gauge, "flip_budget_left", "Mode changes that the flip budget still allows.", (), lambda one: [((), one.changes_left)]),
    _Row(
        gauge,
        "planned_replicas",
        "Replicas that strategy planned would run.",
        ("unit",),
        lambda one: [((unit,), count) for unit, count in one.decision.planned.fleet.replicas.items()] if one.decision.planned else [],
    ),
    _Row(gauge, "planned_dollars_per_hour", "Price of what strategy planned would run.", (), _of_fleet(lambda one: one.fleet.price)),
    _Row(gauge, "expected_requests", "Requests per metric period that strategy planned expects.", (), _of_fleet(lambda one: one.expected)),
    # What the modes cost and saved since this replica began to lead.
    _Row(
        counter,
        "mode_seconds",
        "Time in a mode.",
        ("mode",),
        lambda one: [((mode.value,), one.ledger.seconds.get(mode, 0.0)) for mode in Mode],
    ),
    _Row(
        counter,
        "mode_requests",
        "Measured requests in a mode.",
        ("mode",),
        lambda one: [((mode.value,), one.ledger.requests.get(mode, 0.0)) for mode in Mode],
    ),
    _Row(counter, "spend_dollars", "US dollars of the replicas that have a node.", (), _of_account(lambda one: one.spend)),
    _Row(counter, "saved_dollars", "US dollars that cost mode saved against capacity mode.", (), _of_account(lambda one: one.saved)),
    _Row(counter, "premium_dollars", "US dollars that capacity mode cost on top of cost mode.", (), _of_account(lambda one: one.premium)),
    _Row(counter, "exposed_seconds", "Time in cost mode with a unit that is proven short.", (), _of_account(lambda one: one.exposed_s)),
    _Row(counter, "probing_seconds", "Replica-seconds of pending probes.", (), _of_account(lambda one: one.probing_s)),
    _Row(counter, "probe_dollars", "US dollars of replicas that only a probe keeps.", (), _of_account(lambda one: one.probe_dollars)),
    _Row(
        counter,
        "compared_dollars",
        "US dollars while strategy planned had a fleet: spent, for the weights of the file, and the optimum with hindsight.",
        ("of",),
        lambda one: _bills(one.ledger) if one.ledger.compared_s else (),
    ),
    _Row(
        counter,
        "application_api_calls",
        "API calls for an application; those that serve several are shared out.",
        ("service",),
        lambda one: [((service,), count) for service, count in sorted(one.ledger.calls.items())],
    ),
)


def _metrics(decided: Sequence[_Decided], *, units: bool) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    """The metrics of the last decisions; each is made when its turn comes, see `_Latest.collect`."""
    for row in _ROWS:
        values = row.values if units or "unit" not in row.labels else row.brief
        found = (((one.snapshot.application.key, *labels), value) for one in decided for labels, value in values(one))
        yield row.make(row.name, row.what, ("application", *row.labels), found)


def _bills(ledger: Ledger) -> Values:
    return (("spent",), ledger.compared_spend), (("weights",), ledger.weights_spend), (("optimum",), ledger.least_spend)


def _age(snapshot: Snapshot, last_ok: float | None) -> float:
    return -1.0 if last_ok is None else max(0.0, snapshot.now - last_ok)
