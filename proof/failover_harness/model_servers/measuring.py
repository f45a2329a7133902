"""Measurements of the breaking point without a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.clock import Clock
from failover_harness.model_servers.queue_server import Spec, VirtualLoad
from failover_setup.breaking_point.model import Bounds, Limit, Limits, Outcome, Step
from failover_setup.breaking_point.run import Load, Measurement, Settings, Unknown
from failover_setup.breaking_point.search import Try
from failover_testbed.clocks import ManualClock


@dataclass
class Quiet:
    """Records a measurement's progress."""

    tries: list[Try] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    base_s: float | None = None
    recovered: int = 0

    def base(self, latency_s: float) -> None:
        self.base_s = latency_s

    def begins(self, number: int, to_try: Try, seconds: float) -> None:
        self.tries.append(to_try)

    def goes_on(self, seconds: float) -> None:
        pass

    def ended(self, number: int, step: Step) -> None:
        self.steps.append(step)

    def recovering(self) -> None:
        self.recovered += 1


def measure(load: Load, clock: Clock, settings: Settings, watcher: Quiet | None = None) -> Outcome:
    """Runs one measurement without knowing the accelerator."""
    return Measurement(load, Unknown(), settings, clock, watcher or Quiet()).run()


def measure_virtually(spec: Spec, latency_limit_s: float = 0.9, **changes: float) -> Outcome:
    """Measures a queue in virtual time."""
    clock = ManualClock(0.0)
    settings = Settings(Limits(latency_s=latency_limit_s), Bounds(), **changes)
    return measure(VirtualLoad(spec, clock), clock, settings)


def step(rate: float, *exceeded: Limit, long: bool = False, throughput: float | None = None) -> Step:
    """A step that held, or that exceeded limits."""
    served = rate if throughput is None else throughput
    return Step(rate, 12.0, int(12 * rate), served, 0.1, 0.2, 0.3, 0.0, {}, None, exceeded, long=long)
