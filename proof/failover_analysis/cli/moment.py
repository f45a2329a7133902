"""One moment of a simulation in full: the last decision as `plan` shows it, and the true state of the world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.cli.observe import judge
from controller.cli.plan import plan_document, plan_lines
from controller.cli.words import Line, terminal_width
from controller.clock import format_rfc3339
from controller.policy import text
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import Installed


def moment_lines(simulation: Simulation) -> Iterator[Line]:
    """The moment as text for people."""
    world = _world(simulation)
    yield "title", f"{simulation.setup.name}, seed {simulation.seed}, {world['at']}"
    yield "plain", f"  live weights   {text.listing(f'{service} {weight}' for service, weight in world['liveWeights'].items())}"
    ready = (f"{name} {one['ready']}/{one['desired']}" for name, one in world["units"].items())
    yield "plain", f"  ready          {text.listing(ready)}"
    yield "plain", f"  cannot grow    {text.listing(world['cannotGrow'])}"
    yield "plain", f"  faults         {text.listing(world['faults'])}"
    yield "plain", ""
    last = simulation.recorder.last
    if last is None:
        ours = simulation.setup.installed is Installed.CONTROLLER
        yield "warn", "There was no decision yet." if ours else "The controller is not installed: nothing decides."
        return
    yield "dim", "The last decision by then:"
    yield from plan_lines(judge(*last), terminal_width(), exact=True)


def moment_document(simulation: Simulation) -> dict[str, Any]:
    """The moment as a JSON document."""
    last = simulation.recorder.last
    return {"world": _world(simulation), "plan": None if last is None else plan_document(judge(*last))}


def _world(simulation: Simulation) -> dict[str, Any]:
    engine = simulation.engine
    return {
        "at": format_rfc3339(engine.event_queue.now),
        "liveWeights": {target.service: target.weight for target in engine.balancer.live.targets},
        "units": {name: {"ready": pods.ready, "desired": pods.desired} for name, pods in engine.workloads.units.items()},
        "cannotGrow": list(simulation.truth.stuck_types()),
        "faults": [plan.name for plan in engine.active.values()],
    }
