"""What a run of the switch benchmark consists of: applications, worlds, rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from failover_testbed.lbc.faults import Faults

SINGLE: Final = "single-service"
IN_PLACE: Final = "in-place"


@dataclass(frozen=True, slots=True)
class Lane:
    """Applications that are treated alike, in a namespace of their own.

    Attributes:
        name: Of the lane and its namespace.
        style: Routing style.
        count: How many applications.
        rate: Requests a second to each.
        driver: Who switches: ``pins`` an operator's pins, which the controller carries out; ``patch`` the benchmark itself, in one patch of
            the Ingress as the source does, without standby rules and without the controller; "" nobody.
        budget: Which of the controllers has it, on a site of its own: they differ in how often they may ask ELBv2.
        pause_s: From one switch, verified, to the next, seconds; uniform between the two.
        faults: How the load-balancer controller behaves.
        lose: Whether the ModifyRule of every switch is lost.
        policy: What differs from the default policy.
        clients: Clients that keep their cookies; 0: none does.
        units: How many deployment units each has.
        churn: Whether pods come and go.
        crashes: Whether pods also vanish without notice.
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
    def keys(self) -> list[str]:
        """``namespace/ingress`` of its applications."""
        return [f"{self.name}/{self.name}-{number}" for number in range(self.count)]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

    Attributes:
        lanes: All applications.
        seconds: How long requests are sent.
        naive_s: Between two of the naive switches, seconds.
        first_check_s: Longest random wait before the first health check of a new target, seconds.
        goal: Fewest switches by our controller, 0: any number will do.
    """

    lanes: tuple[Lane, ...]
    seconds: float
    naive_s: float
    first_check_s: float
    goal: int = 0


COLD_START_S: Final = 4.0
REPLICAS: Final = 2

_SETTLED: Final = (150.0, 151.0)  # long enough for the drain of 120 s to end, and what waits for it to be done
_STICKY: Final = {"stickinessCostSeconds": 200, "stickinessCapacitySeconds": 200}

FULL: Final = Plan(
    (
        Lane("single", SINGLE, 5, 40, budget="single"),
        Lane("in-place", IN_PLACE, 5, 40, budget="in-place"),
        Lane("still", SINGLE, 1, 20, driver="", budget="single"),
        Lane("naive", SINGLE, 1, 30, driver="patch", units=5),
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
        Lane("lag-0", SINGLE, 1, 15, pause_s=(1.0, 2.0), faults=Faults(lag_s=0.0), units=5),
    ),
    seconds=40.0,
    naive_s=12.0,
    first_check_s=2.0,
)
