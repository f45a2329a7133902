"""What strategy `planned` decides from, remembers and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.policy.names import MOMENT


@dataclass(frozen=True, slots=True)
class Needs:
    """What a fleet must carry.

    Attributes:
        demand: Requests per metric period with headroom, all units together.
        without_any: Requests per metric period that remain carried without any one family.
    """

    demand: float
    without_any: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas of all units.

    Attributes:
        replicas: By unit, in the order of the offers.
        price: US dollars per hour, without what is paid already.
        cost: The same with the price of starts and stops, which the search makes as low as possible.
        least_cost: The certificate: no fleet that meets the needs has a lower cost. Equal to `cost` where the search was complete.
        carried: Requests per metric period that it carries.
        left: Requests per metric period that it carries without a family, by family; without a spot pool, too, by pool, where that must be
            survived and the loss of its family is made good.
        short: Whether the needs exceed what may be had. The fleet then carries as much of each as there is.
        made_good: By family whose loss is made good in time by replicas that start then: what may be had without it.
    """

    replicas: Mapping[str, int]
    price: float
    cost: float
    least_cost: float
    carried: float
    left: Mapping[str, float]
    short: bool
    made_good: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedFleet:
    """What strategy `planned` runs, or would run, beside what is there.

    Attributes:
        expected: The demand that it is planned for, requests per metric period.
        shortfall: What lately nine of ten forecasts of a like demand fell short by at most, as a share of them; it is part of `expected`.
            Below 0 where nine of ten were too high; None while too few can be judged.
        forecast: How it is forecast, in words; "" while too few outcomes can be judged.
        loss: What that forecast lately lost on average, requests per metric period: nine tenths of what was too little, and one of what was
            too much.
        needs: What the fleet must carry.
        fleet: The cheapest replicas that do.
        present: Price of the replicas that have a node now, US dollars per hour. None here counts what a reservation pays.
        weighted: Price of the whole replicas that the weights of the application file need at the present demand, US dollars per hour.
        least: Price of the cheapest whole replicas for the present demand, without headroom, forecast, a loss that is planned for and
            starts to pay, US dollars per hour: the optimum with hindsight.
        live: Whether the floors of cost mode follow it.
        missed: Units that are short and of which the fleet would have more replicas.
        held: Why the floors do not follow it now, in words; "" where they do, or are not meant to.
    """

    expected: float
    shortfall: float | None
    needs: Needs
    fleet: Fleet
    present: float
    weighted: float = 0.0
    least: float = 0.0
    live: bool = False
    missed: frozenset[str] = frozenset()
    held: str = ""
    forecast: str = ""
    loss: float = 0.0

    @property
    def followed(self) -> bool:
        """Whether floors and weights follow it now."""
        return self.live and not self.held

    @property
    def exposed(self) -> Mapping[str, float]:
        """The families and spot pools without which less than the wanted share is carried in time, and the share at once, 0 to 1."""
        lost = {name: left for name, left in self.fleet.left.items() if name not in self.fleet.made_good}
        return {name: left / self.expected for name, left in lost.items() if left < self.needs.without_any * (1 - 1e-9)}


@dataclass(frozen=True, slots=True)
class NotedDemand:
    """A demand as it was seen, and what was then expected of the time a slot later, requests per metric period."""

    at: float = field(metadata=MOMENT)
    demand: float
    forecast: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A forecast of a slot ahead, above zero, and the demand that came, requests per metric period."""

    forecast: float
    demand: float


@dataclass(frozen=True, slots=True)
class Damping:
    """How much of a trend lasts: sums over the past slots, the older the less, of shares of the demand."""

    lasted: float = 0.0  # of each trend, times the next slot's
    squares: float = 0.0  # of each trend, squared


@dataclass(frozen=True, slots=True)
class Candidates:
    """How good the candidates for a forecast were lately, in the order of `controller.policy.fleet.expected.CANDIDATES`."""

    losses: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # on average, the older the less, requests per metric period
    bounds: tuple[float, float, float, float] | None = None  # what each said of the next slot; None while too few outcomes are known


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """The demands that forecasts follow from, see `controller.policy.fleet.expected`. Of bounded size."""

    recent: tuple[NotedDemand, ...] = ()  # the newest last
    outcomes: tuple[Outcome, ...] = ()  # the newest last
    season: tuple[float | None, ...] = ()  # the usual demand of each slot of the day; None where none was seen yet
    damping: Damping = Damping()
    candidates: Candidates = Candidates()
