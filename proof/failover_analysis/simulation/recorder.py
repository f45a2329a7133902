"""Keeps the books of a run: told of every pass, action and stretch of traffic, and asks the invariants about each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.errors import RemoteError
from controller.policy.ledger import Ledger, booked, counted
from controller.policy.model import Action, ActionKind, Decision, Memory, Plan, Snapshot
from controller.policy.routing import parse_action
from failover_analysis.simulation.measures import Measures
from failover_analysis.simulation.recording import MOST_ROWS, Digest, Result, Row, Switch, Totals
from failover_analysis.simulation.traffic import Flow

if TYPE_CHECKING:
    from failover_analysis.simulation.engine import Simulation
    from failover_analysis.simulation.replica import Replica

_HOUR_S: Final = 3600.0


class Recorder:
    """The observer of a run.

    Args:
        simulation: The run.
        measured: Whether it is measured for a report, too.
    """

    def __init__(self, simulation: Simulation, *, measured: bool = False) -> None:
        self._simulation = simulation
        self._measures = Measures(simulation) if measured else None
        self.last: tuple[Snapshot, Memory] | None = None
        """What the last decision was made from."""
        self._prices = {unit.instance_type: unit.price_per_hour for unit in simulation.application.units}
        self.totals, self.digest, self.ledger = Totals(), Digest(), Ledger()
        self.switches: list[Switch] = []
        self.rows: list[Row] = []
        self._row_flow, self._row_seconds = Flow(), 0.0
        self._booked: tuple[float, Snapshot, Decision] | None = None
        simulation.traffic.listeners.append(self._flowed)
        step = simulation.setup.row_s
        if step > 0:
            simulation.event_queue.every(max(step, simulation.setup.seconds / MOST_ROWS), self._row)

    # --- what the controller does -------------------------------------------------------------------------------------------------------

    def decided(self, replica: Replica, snapshot: Snapshot, decision: Decision, made: Plan) -> None:
        """See `failover_analysis.simulation.replica.Observer.decided`."""
        now = self._simulation.event_queue.now
        self.totals.passes += 1
        if self._booked is not None:
            since, before, then = self._booked
            self.ledger = booked(self.ledger, before, then, now - since)
        self._booked = (now, snapshot, decision)
        self.last = (snapshot, replica.memory)
        if self._measures is not None:
            self._measures.decided(snapshot, decision)
        self.digest.add(now, replica.number, decision.verb.value, decision.reason.value, decision.sentence, len(made.actions))
        self._simulation.invariants.decided(replica, snapshot, decision, made)

    def acted(self, replica: Replica, snapshot: Snapshot, decision: Decision, action: Action, error: RemoteError | None) -> None:
        """See `failover_analysis.simulation.replica.Observer.acted`."""
        kind = action.kind.value
        self.digest.add(self._simulation.event_queue.now, kind, action.body, type(error).__name__)
        if error is None:
            self.totals.writes[kind] = self.totals.writes.get(kind, 0) + 1
            if self._measures is not None:
                self._measures.acted(decision, action)
        else:
            self.totals.refused += 1
        self._simulation.invariants.acted(replica, snapshot, decision, action, error)
        if error is None and action.kind is ActionKind.ROUTE and decision.verb.switches and decision.mode is not None:
            needless = self._room_for(decision)
            self.switches.append(
                Switch(
                    self._simulation.event_queue.now, decision.mode, decision.verb.value, decision.reason.value, decision.sentence, needless
                )
            )
            self.ledger = counted(self.ledger, switches=1)

    def passed(self, replica: Replica, snapshot: Snapshot, decision: Decision, memory: Memory | None) -> None:
        """See `failover_analysis.simulation.replica.Observer.passed`."""
        del replica
        self._simulation.invariants.passed(snapshot, decision, memory)

    def _room_for(self, decision: Decision) -> bool:
        short = [name for name, judged in decision.evidence.items() if judged.short]
        return bool(short) and not any(self._simulation.invariants.exhausted(name) for name in short)

    # --- what flows ---------------------------------------------------------------------------------------------------------------------

    def _flowed(self, flow: Flow, seconds: float) -> None:
        simulation, totals = self._simulation, self.totals
        totals.flow.add(flow)
        mode = simulation.invariants.mode().value
        totals.seconds[mode] = totals.seconds.get(mode, 0.0) + seconds
        totals.dollars += self._dollars_per_hour() * seconds / _HOUR_S
        if simulation.invariants.exposed():
            totals.exposed_s += seconds
        if simulation.setup.row_s > 0:
            self._row_flow.add(flow)
            self._row_seconds += seconds
        simulation.invariants.flowed(flow, seconds)

    def _dollars_per_hour(self) -> float:
        return sum(self._prices.get(name, 0.0) * count for name, count in self._simulation.karpenter.nodes().items())

    def _row(self) -> None:
        simulation = self._simulation
        simulation.traffic.advance()
        flow, seconds = self._row_flow, self._row_seconds
        self._row_flow, self._row_seconds = Flow(), 0.0
        part = simulation.application.metric_period_s / seconds if seconds > 0 else 0.0
        units = simulation.workloads.units
        flows = {name: flow.units.get(name) for name in units}
        wanted = parse_action(simulation.api.ingress.annotations.get(simulation.api.action_key, ""))[0]
        row = Row(
            at=simulation.event_queue.now,
            mode=simulation.invariants.mode().value,
            demand=flow.demand * part,
            failed=flow.lost,
            served={name: one.requests * part if one else 0.0 for name, one in flows.items()},
            latency_s={name: one.latency / one.requests if one and one.requests > 0 else 0.0 for name, one in flows.items()},
            ready={name: pods.ready for name, pods in units.items()},
            desired={name: pods.desired for name, pods in units.items()},
            pending={name: len(pods.pending()) for name, pods in units.items()},
            wanted={target.service: target.weight for target in wanted},
            live={target.service: target.weight for target in simulation.balancer.live.targets},
            dollars_per_hour=self._dollars_per_hour(),
            out=self.stuck_types(),
            faults=tuple(plan.name for plan in simulation.active.values()),
        )
        self.rows.append(row)
        self.digest.add(row)

    def stuck_types(self) -> tuple[str, ...]:
        """Instance types that cannot grow: EC2 has no room in any zone, or the NodePool is at its limit."""
        simulation = self._simulation
        units = [
            unit
            for unit in simulation.application.units
            if simulation.karpenter.pools[unit.node_pool].full() or simulation.invariants.exhausted(unit.name)
        ]
        return tuple(sorted({unit.instance_type for unit in units}))

    def _calls(self) -> dict[str, float]:
        """API calls by service; Events about the Ingress, which nobody here is told by, are not among them."""
        simulation = self._simulation
        return {"kubernetes": simulation.api.calls + simulation.store.calls, **dict(sorted(simulation.world.calls.items()))}

    def result(self, injected: dict[str, int]) -> Result:
        """What came of it."""
        simulation = self._simulation
        self.totals.harm = simulation.invariants.harm
        self.digest.add(self.totals, self.switches, simulation.invariants.violations)
        return Result(
            name=simulation.setup.name,
            seed=simulation.seed,
            seconds=simulation.elapsed(),
            totals=self.totals,
            switches=tuple(self.switches),
            rows=tuple(self.rows),
            faults=dict(sorted(injected.items())),
            violations=tuple(simulation.invariants.violations),
            ledger=counted(self.ledger, calls=self._calls()),
            digest=self.digest.hexdigest(),
            measured=self._measures.measured() if self._measures is not None else None,
        )
