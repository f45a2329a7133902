"""Prometheus metrics. Every name is in `docs/metrics.md` (a test compares)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from controller.notifiers.dispatcher import SinkHealth
from controller.policy.model import Decision, Mode, Snapshot, Verdict

_VERDICTS: Final = {Verdict.YES: 1.0, Verdict.NOT_YET: 0.0, Verdict.CANNOT_TELL: -1.0}


class Telemetry:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        app = ("application",)
        self.mode = Gauge("failoverctl_mode", "1 for the mode the application is in.", (*app, "mode"), registry=self.registry)
        self.unknown = Gauge("failoverctl_mode_unknown", "1 while the routing is not understood.", app, registry=self.registry)
        self.short = Gauge("failoverctl_unit_short", "1 while a unit's shortage is proven.", (*app, "unit"), registry=self.registry)
        self.ready = Gauge("failoverctl_unit_ready_replicas", "Ready replicas of a unit.", (*app, "unit"), registry=self.registry)
        self.waiting = Gauge("failoverctl_unit_waiting_pods", "Unschedulable pods of a unit.", (*app, "unit"), registry=self.registry)
        self.verified = Gauge(
            "failoverctl_routing_verified",
            "1: the load balancer shows the action, 0: not yet, -1: cannot tell.",
            app,
            registry=self.registry,
        )
        self.signal_age = Gauge("failoverctl_signal_age_seconds", "Age of a source's last word.", (*app, "source"), registry=self.registry)
        self.degraded = Gauge("failoverctl_degraded", "Sources that are absent or stale.", app, registry=self.registry)
        self.alerts = Gauge("failoverctl_alerts", "Alerts that are on.", app, registry=self.registry)
        self.switches = Counter("failoverctl_switches", "Mode changes made.", (*app, "to", "reason"), registry=self.registry)
        self.actions = Counter("failoverctl_actions", "Actions sent.", (*app, "kind", "result"), registry=self.registry)
        self.pass_errors = Counter("failoverctl_pass_errors", "Passes that ended in a bug.", app, registry=self.registry)
        self.tick_seconds = Histogram(
            "failoverctl_tick_seconds",
            "Real time of one pass over the applications that changed.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.last_tick = Gauge("failoverctl_last_tick_timestamp_seconds", "When the last pass ended.", registry=self.registry)
        self.unparsed = Gauge("failoverctl_unparsed_refusals", "Refusals whose text was not understood.", registry=self.registry)
        self.sink_ok = Gauge("failoverctl_notifier_up", "1 while a sink delivers.", ("sink",), registry=self.registry)
        self.sink_messages = Gauge(
            "failoverctl_notifier_messages", "Messages of a sink since the start.", ("sink", "result"), registry=self.registry
        )
        self.leader = Gauge("failoverctl_leader", "1 while this replica leads.", registry=self.registry)
        self.recorded = Counter("failoverctl_recorded_decisions", "Decisions recorded.", registry=self.registry)
        self.unrecorded = Counter(
            "failoverctl_unrecorded_decisions", "Decisions that could not be recorded.", ("why",), registry=self.registry
        )
        self.config_ok = Gauge("failoverctl_config_ok", "0 while a changed application file is refused.", registry=self.registry)

    def decided(self, snapshot: Snapshot, decision: Decision) -> None:
        """Shows one decision."""
        key = snapshot.application.key
        for mode in Mode:
            self.mode.labels(key, mode.value).set(decision.mode is mode)
        self.unknown.labels(key).set(decision.mode is None)
        for name, judged in decision.evidence.items():
            self.short.labels(key, name).set(judged.short)
            self.ready.labels(key, name).set(judged.ready)
            self.waiting.labels(key, name).set(judged.demand)
        seen = snapshot.routing.verification
        self.verified.labels(key).set(_VERDICTS[seen.verdict if seen else Verdict.CANNOT_TELL])
        for source in snapshot.sources:
            age = -1.0 if source.last_ok is None else max(0.0, snapshot.now - source.last_ok)
            self.signal_age.labels(key, source.name).set(age)
        self.degraded.labels(key).set(len(decision.degraded))
        self.alerts.labels(key).set(len(decision.alerts))

    def forget(self, application: str) -> None:
        """Drops the series of an application that is gone."""
        for gauge in (self.unknown, self.verified, self.degraded, self.alerts):
            gauge.remove_by_labels({"application": application})
        for gauge in (self.mode, self.short, self.ready, self.waiting, self.signal_age):
            gauge.remove_by_labels({"application": application})

    def sinks(self, health: Iterable[SinkHealth]) -> None:
        """Shows how the notifiers are doing."""
        for one in health:
            self.sink_ok.labels(one.name).set(one.ok)
            for result in ("sent", "failed", "dropped"):
                self.sink_messages.labels(one.name, result).set(getattr(one, result))
