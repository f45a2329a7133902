"""The symptoms of a running service that lacks something, named as in docs/permissions.md."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any, Final

from controller.service.wiring import Service
from tests.support.cluster import Collector
from tools.permissions import ALERT, DEGRADED, LOG, METRIC, NOTIFIER, READINESS, REASON, Permission

CRASHES: Final = frozenset({"pass.failed", "job.failed", "watch.failed", "election.failed"})
"""Log events that indicate bugs."""


class Observed:
    """Collects symptoms over several observations.

    Args:
        service: The service.
        logs: The log entries since its start.
    """

    def __init__(self, service: Service, logs: MutableSequence[Any]) -> None:
        self._service, self._logs = service, logs
        self.seen: set[tuple[str, str]] = set()
        self.texts: set[str] = set()

    def observe(self) -> set[tuple[str, str]]:
        """Observes the service; returns all symptoms so far."""
        for view in self._service.controller.views():
            decision = view.decision
            self.texts |= {*decision.degraded, *(alert.text for alert in decision.alerts)}
            self.seen |= {(DEGRADED, text.partition(":")[0]) for text in decision.degraded}
            self.seen |= {(ALERT, alert.key) for alert in decision.alerts}
            self.seen.add((REASON, str(decision.reason)))
        for sink in self._service.status()["notifiers"]:
            if not sink["ok"]:
                self.seen.add((NOTIFIER, sink["name"]))
                self.texts.add(sink["lastError"])
        if unready := self._service._ready():
            self.seen.add((READINESS, unready.partition(":")[0]))
        for entry in list(self._logs):
            self.seen.add((LOG, entry["event"]))
            self.texts.add(str(entry.get("error", "")))
        self._metrics()
        return self.seen

    def _metrics(self) -> None:
        for metric in self._service._telemetry.actions.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total") and sample.value > 0:
                    kind, result = sample.labels["kind"], sample.labels["result"]
                    self.seen.add((METRIC, f'{sample.name}{{kind="{kind}",result="{result}"}}'))

    def names(self, missing: Permission) -> bool:
        """Whether a text names the missing permission in the API server's words."""
        return any(f'cannot {missing.verb} resource "{missing.resource}"' in text for text in self.texts)

    @staticmethod
    def overrides(collector: Collector) -> int:
        """How often people were notified that an override changed."""
        return sum(message.reason == "Override" for message in collector.messages)
