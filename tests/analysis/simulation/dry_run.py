"""Recordings of dry runs in simulated worlds: what the production observation and decision see while nobody acts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from controller.policy.model import Memory, Snapshot
from controller.recording.files import RecordingFiles
from controller.recording.lines import Recorded, decided, definition, encode
from controller.routing.conclusion import conclude
from failover_analysis.simulation.recording import Result
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.setup import Installed, Setup
from failover_analysis.simulation.simulated_view import SimulatedView

LINE_S = 60.0
"""From one line to the next, seconds: the heartbeat of a recorder."""


def record(folder: Path, setup: Setup, seed: int = 1, change: Callable[[Snapshot], Snapshot] = lambda one: one) -> Result:
    """Records a dry run of a world in which nothing is installed.

    Args:
        folder: Where the recording goes.
        setup: The world.
        seed: Its seed.
        change: What each line has in place of the snapshot.

    Returns:
        What came of it in truth.
    """
    simulation = Simulation(replace(setup, installed=Installed.NOTHING), seed, measured=True)
    engine = simulation.engine
    view = SimulatedView(engine.world, engine.application, engine.clock)
    view.woken = lambda: None
    files = RecordingFiles(folder, engine.clock)
    memory, made = Memory(), definition(engine.application, setup.start)

    def line() -> None:
        nonlocal memory, made
        snapshot = change(view.snapshot(engine.application, leader=True, epoch=1))
        conclusion = conclude(memory, snapshot)
        if snapshot.application != engine.application:
            made = definition(snapshot.application, snapshot.now)
        files.write(made, encode(Recorded(memory, snapshot, decided(conclusion.plan), snapshot.now), made.ref))
        memory = conclusion.memory

    engine.event_queue.every(LINE_S, line)
    result = simulation.run()
    files.close()
    return result
