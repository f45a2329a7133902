"""The plan of a run: applications, conditions, rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from failover_testbed.lbc.faults import Faults

SINGLE: Final = "single-service"
IN_PLACE: Final = "in-place"


@dataclass(frozen=True, slots=True)
class Lane:
    """Applications with the same treatment, in their own namespace.

    Attributes:
        name: Name of the lane and its namespace.
        style: Routing style.
        count: How many applications.
        rate: Requests per second to each.
        driver: What changes the mode: ``pins``, an operator's pins, which the controller carries out; ``late-rules``, the same on an
            Ingress without standby rules, which are added while the mode change waits for them; ``patch``, one patch of the Ingress by the
            benchmark, as in the AWS sample, without standby rules and controller; "" for none.
        budget: The controller and its site; controllers differ in their rate of ELBv2 calls.
        pause_s: From a verified mode change to the next, seconds; uniform between the two.
        faults: Faults of the load-balancer controller.
        lose: Whether the ModifyRule of each mode change is lost.
        policy: Differences from the default policy.
        clients: Number of clients that keep their cookies; 0 for none.
        units: Number of deployment units of each.
        churn: Whether pods come and go.
        crashes: Whether pods also crash.
    """

    name: str
    style: str
    count: int = 1
    rate: float = 20.0
    driver: str = "pins"
    budget: str = "shipped"
    pause_s: tuple[float, float] = (0.5, 2.0)
    faults: Faults = field(default_factory=Faults)
    lose: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)
    clients: int = 0
    units: int = 3
    churn: bool = True
    crashes: bool = False

    @property
    def ours(self) -> bool:
        """Whether the controller changes the mode."""
        return self.driver in {"pins", "late-rules"}

    @property
    def keys(self) -> list[str]:
        """``namespace/ingress`` of its applications."""
        return [f"{self.name}/{self.name}-{number}" for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        lanes: All applications.
        seconds: How long requests are sent, seconds.
        naive_s: Time between two naive mode changes, seconds.
        first_check_s: Longest random wait before the first health check of a new target, seconds.
        goal: Required number of mode changes by the controller; 0 for any number.
    """

    lanes: tuple[Lane, ...]
    seconds: float
    naive_s: float
    first_check_s: float
    goal: int = 0


COLD_START_S: Final = 4.0
REPLICAS: Final = 2

_SETTLED: Final = (150.0, 151.0)  # long enough for the drain of 120 s and what follows it
_STICKY: Final = {"stickinessCostSeconds": 200, "stickinessCapacitySeconds": 200}

FULL: Final = Plan(
    (
        Lane("single", SINGLE, 5, 40, budget="single"),
        Lane("in-place", IN_PLACE, 5, 40, budget="in-place"),
        Lane("still", SINGLE, 1, 20, driver="", budget="single"),
        Lane("naive", SINGLE, 1, 30, driver="patch", units=5),
        Lane("late-rules", SINGLE, 1, 20, driver="late-rules", pause_s=(5.0, 6.0), budget="single"),
        Lane("crash", SINGLE, 1, 20, budget="single", crashes=True),
        Lane("crash-still", SINGLE, 1, 20, driver="", budget="single", crashes=True),
        Lane("lag-0", SINGLE, 1, 15, pause_s=(20.0, 21.0), faults=Faults(lag_s=0.0), units=5),
        Lane("lag-30", SINGLE, 1, 15, pause_s=_SETTLED, faults=Faults(lag_s=30.0)),
        Lane("lag-420", SINGLE, 1, 15, pause_s=_SETTLED, faults=Faults(lag_s=420.0)),
        Lane("lost", SINGLE, 1, 15, pause_s=_SETTLED, lose=True),
        Lane("sticky", IN_PLACE, 1, 15, pause_s=(230.0, 231.0), policy=_STICKY, clients=30),
    ),
    seconds=630.0,
    naive_s=50.0,
    first_check_s=15.0,
    goal=1000,
)
QUICK: Final = Plan(
    (
        Lane("single", SINGLE, 2, 40, budget="single"),
        Lane("in-place", IN_PLACE, 2, 40, budget="in-place"),
        Lane("still", SINGLE, 1, 20, driver="", budget="single"),
        Lane("naive", SINGLE, 1, 30, driver="patch", units=5),
        Lane("late-rules", SINGLE, 1, 20, driver="late-rules", pause_s=(1.0, 2.0), budget="single"),
        Lane("lag-0", SINGLE, 1, 15, pause_s=(1.0, 2.0), faults=Faults(lag_s=0.0), units=5),
    ),
    seconds=40.0,
    naive_s=12.0,
    first_check_s=2.0,
)
