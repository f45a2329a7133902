"""Records a run: every pass, action and stretch of traffic."""

from __future__ import annotations

from typing import Final

from controller.errors import RemoteError
from controller.policy.account import Ledger, booked, counted
from controller.policy.decision import Conclusion
from controller.policy.memory import standing_mode
from controller.policy.model import Action, ActionKind, Decision, Memory, Mode, Snapshot, Verb
from controller.service.application_pass import Acted
from failover_analysis.simulation.api import took_effect
from failover_analysis.simulation.cluster import types_of
from failover_analysis.simulation.engine import Engine
from failover_analysis.simulation.measures import Measures
from failover_analysis.simulation.recording import MOST_ROWS, Digest, Result, Row, SimulatedChange, Totals, Violation
from failover_analysis.simulation.replica import Replica
from failover_analysis.simulation.traffic import Flow
from failover_analysis.simulation.truth import Truth

_HOUR_S: Final = 3600.0


class Recorder:
    """Observes a run and adds it up.

    Args:
        engine: The world and the processes in it.
        truth: The true state of the world.
        measured: Whether to measure the run for a report as well.
    """

    def __init__(self, engine: Engine, truth: Truth, *, measured: bool = False) -> None:
        self._engine, self._truth = engine, truth
        self._measures = Measures(engine, truth) if measured else None
        self.last: tuple[Snapshot, Memory] | None = None
        """The snapshot of the last decision."""
        others = {name: unit.price_per_hour for unit in engine.application.units for name in types_of(unit)}
        self._prices = others | {unit.instance_type: unit.price_per_hour for unit in engine.application.units}
        self.totals, self.digest, self.ledger = Totals(), Digest(), Ledger()
        self.mode_changes: list[SimulatedChange] = []
        self.rows: list[Row] = []
        self._row_flow, self._row_seconds = Flow(), 0.0
        self._booked: tuple[float, Conclusion, Memory] | None = None
        engine.observers.append(self)
        engine.mode_changed.append(self._changed_by_the_sample)
        engine.traffic.listeners.append(self._flowed)
        step = engine.setup.row_s
        if step > 0:
            engine.event_queue.every(max(step, engine.setup.seconds / MOST_ROWS), self._row)

    # --- what the controller does -------------------------------------------------------------------------------------------------------

    def decided(self, replica: Replica, conclusion: Conclusion) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.decided`."""
        now, snapshot, decision = self._engine.event_queue.now, conclusion.snapshot, conclusion.decision
        self.totals.passes += 1
        if self._booked is not None:
            since, then, memory = self._booked
            self.ledger = booked(self.ledger, then.snapshot, then.decision, standing_mode(memory, then.decision), now - since)
        self._booked = (now, conclusion, conclusion.memory)
        self.last = (snapshot, conclusion.before)
        if self._measures is not None:
            self._measures.decided(snapshot, decision)
        self.digest.add(now, replica.number, decision.verb.value, decision.reason.value, decision.sentence, len(conclusion.plan.actions))

    def acted(self, replica: Replica, conclusion: Conclusion, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.acted`."""
        del replica
        kind, decision = action.kind.value, conclusion.decision
        self.digest.add(self._engine.event_queue.now, kind, action.body, type(error).__name__)
        if error is None:
            self.totals.writes[kind] = self.totals.writes.get(kind, 0) + 1
            if self._measures is not None:
                self._measures.acted(decision, action)
        else:
            self.totals.refused += 1
        if took_effect(error) and action.kind is ActionKind.ROUTE and decision.verb.changes_mode and decision.mode is not None:
            needless = self._room_for(decision)
            self.mode_changes.append(
                SimulatedChange(
                    self._engine.event_queue.now, decision.mode, decision.verb.value, decision.reason.value, decision.sentence, needless
                )
            )

    def passed(self, replica: Replica, conclusion: Conclusion, acted: Acted) -> None:
        """See `failover_analysis.simulation.replica.ReplicaObserver.passed`."""
        del replica
        if self._booked is not None and self._booked[1] is conclusion:  # another process may have decided meanwhile
            self._booked = (self._booked[0], conclusion, acted.memory)
        self.ledger = counted(self.ledger, mode_changes=sum(one.verb.changes_mode for one in acted.written))

    def _changed_by_the_sample(self, mode: Mode, sentence: str) -> None:
        failover = mode is Mode.CAPACITY
        needless = failover and not any(self._truth.exhausted(unit.name) for unit in self._engine.application.units)
        verb = Verb.FAILOVER if failover else Verb.FALLBACK
        self.mode_changes.append(SimulatedChange(self._engine.event_queue.now, mode, verb.value, "AwsSample", sentence, needless))
        if failover and self._measures is not None:
            self._measures.failed_over()

    def _room_for(self, decision: Decision) -> bool:
        short = [name for name, judged in decision.evidence.items() if judged.short]
        return bool(short) and not any(self._truth.exhausted(name) for name in short)

    # --- what flows ---------------------------------------------------------------------------------------------------------------------

    def _flowed(self, flow: Flow, seconds: float) -> None:
        engine, totals = self._engine, self.totals
        totals.flow.add(flow)
        mode = self._truth.mode().value
        totals.seconds[mode] = totals.seconds.get(mode, 0.0) + seconds
        totals.dollars += self._dollars_per_hour() * seconds / _HOUR_S
        if self._truth.exposed():
            totals.exposed_s += seconds
        if engine.setup.row_s > 0:
            self._row_flow.add(flow)
            self._row_seconds += seconds

    def _dollars_per_hour(self) -> float:
        return sum(self._prices.get(name, 0.0) * count for name, count in self._engine.karpenter.nodes().items())

    def _row(self) -> None:
        engine = self._engine
        engine.traffic.advance()
        flow, seconds = self._row_flow, self._row_seconds
        self._row_flow, self._row_seconds = Flow(), 0.0
        part = engine.application.metric_period_s / seconds if seconds > 0 else 0.0
        units = engine.workloads.units
        flows = {name: flow.units.get(name) for name in units}
        row = Row(
            at=engine.event_queue.now,
            mode=self._truth.mode().value,
            demand=flow.demand * part,
            failed=flow.lost,
            served={name: one.requests * part if one else 0.0 for name, one in flows.items()},
            latency_s={name: one.latency / one.requests if one and one.requests > 0 else 0.0 for name, one in flows.items()},
            ready={name: pods.ready for name, pods in units.items()},
            desired={name: pods.desired for name, pods in units.items()},
            pending={name: len(pods.pending()) for name, pods in units.items()},
            wanted={target.service: target.weight for target in engine.api.routing.observed.targets},
            live={target.service: target.weight for target in engine.balancer.live.targets},
            dollars_per_hour=self._dollars_per_hour(),
            out=self._truth.stuck_types(),
            faults=tuple(plan.name for plan in engine.active.values()),
        )
        self.rows.append(row)
        self.digest.add(row)

    def _calls(self) -> dict[str, float]:
        """API calls by service, without Events about the routing object, which the simulation does not write."""
        engine = self._engine
        return {"kubernetes": engine.api.calls + engine.store.calls, **dict(sorted(engine.world.calls.items()))}

    def result(self, violations: list[Violation], harm: float) -> Result:
        """The result of the run.

        Args:
            violations: Violations of invariants.
            harm: See `failover_analysis.simulation.recording.Totals`.
        """
        engine = self._engine
        self.totals.harm = harm
        self.digest.add(self.totals, self.mode_changes, violations)
        return Result(
            name=engine.setup.name,
            seed=engine.seed,
            seconds=engine.elapsed(),
            totals=self.totals,
            mode_changes=tuple(self.mode_changes),
            rows=tuple(self.rows),
            faults=dict(sorted(engine.injected.items())),
            violations=tuple(violations),
            ledger=counted(self.ledger, calls=self._calls()),
            digest=self.digest.hexdigest(),
            measured=self._measures.measured() if self._measures is not None else None,
        )
