"""A world in which all nodes of one unit run in a Capacity Block that ends, on top of the simulation's own nodes, pods and traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.policy.model import Held, Reservation, Snapshot
from controller.policy.routing.reservations import DRAINED_S, RECLAIMED_S
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import Setup
from failover_analysis.simulation.traffic import Flow
from tests.analysis.simulation.support import HOUR, INF2, START, setup

_ID: Final = "cr-0123456789abcdef0"


@dataclass(frozen=True, slots=True)
class Ended:
    """What happened.

    Attributes:
        result: The run.
        drained_at: When Karpenter drained the block's nodes, seconds since the Unix epoch.
        last_at: When the unit answered its last request before that, None where it still did.
        demand: All requests.
        lost: Those that failed.
    """

    result: Result
    drained_at: float
    last_at: float | None
    demand: float
    lost: float

    @property
    def ahead_s(self) -> float:
        """How long before the nodes went the traffic had left them, seconds; 0 where it had not."""
        return 0.0 if self.last_at is None else self.drained_at - self.last_at


class _Block:
    """The block under inf2, whose NodePool launches nothing else."""

    def __init__(self, simulation: Simulation, ends_at: float) -> None:
        self._engine, self._ends_at = simulation.engine, ends_at
        self._pool = self._engine.karpenter.pools[self._engine.application.unit(INF2).node_pool]
        self.drained_at = ends_at - RECLAIMED_S - DRAINED_S
        self._pool.limit = len(self._pool.alive)  # the block has no free instance
        self._engine.event_queue.at(self.drained_at, self._drain)

    def show(self) -> None:
        """Lets the controller observe what the labels of the NodeClaims and EC2 say."""
        view = self._engine.replica._view
        view.snapshot = self._shown(view.snapshot)  # type: ignore[method-assign]

    def _shown(self, plain: Callable[..., Snapshot]) -> Callable[..., Snapshot]:
        def snapshot(*arguments: Any, **named: Any) -> Snapshot:
            made = plain(*arguments, **named)
            seen, instance_type = made.units[INF2], self._pool.types[0]
            total = len(self._pool.alive)
            block = Reservation(_ID, instance_type, "us-west-2a", 0, total, block=True, targeted=True, ends_at=self._ends_at)
            held = (Held(instance_type, _ID, total, block=True),) if total else ()
            pool = replace(seen.pool, held=held, capacity_types=("reserved",), at_limit="")
            shown = replace(seen, pool=pool, blocks=(block,), reservations=(block,) if made.now < self._ends_at else ())
            return replace(made, units={**made.units, INF2: shown})

        return snapshot

    def _drain(self) -> None:
        """Karpenter deletes the NodeClaims; the Deployment makes new pods, for which there is no node."""
        pool, workloads = self._pool, self._engine.workloads
        for claim in list(pool.alive):
            claim.gone = True
        pool.alive.clear()
        pool.nodes.clear()
        pool.limit = 0
        desired = workloads.units[INF2].desired
        workloads.scale(INF2, 0)
        workloads.scale(INF2, desired)


def play_block(seed: int = 1, *, known: bool = True, ends_h: float = 3.0, **changes: Any) -> Ended:
    """One run in which the block ends.

    Args:
        seed: Of every random stream.
        known: Whether the controller observes block and end.
        ends_h: When the block ends, hours from the start.
        changes: Of the setup.
    """
    world: Setup = setup(**{"demand": lambda _: 1_200.0, "seconds": 4 * HOUR, **changes})
    simulation = Simulation(world, seed)
    block = _Block(simulation, START + ends_h * HOUR)
    if known:
        block.show()
    served: list[float] = []

    def traffic(flow: Flow, _: float) -> None:
        if INF2 in flow.units and flow.units[INF2].requests > 0:
            served.append(simulation.engine.event_queue.now)

    simulation.engine.traffic.listeners.append(traffic)
    result = simulation.run()
    before = [at for at in served if at <= block.drained_at]
    flow = result.totals.flow
    last = max(before) if before else START
    return Ended(result, block.drained_at, last if last < block.drained_at else None, flow.demand, flow.lost)
