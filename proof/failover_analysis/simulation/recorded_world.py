"""A world from a recording: a user's own demand, prices and shortages, and what was served.

Only time in which the demand was known is a part of the world: a *stretch*. What lies between two stretches is left out, and nothing is
assumed about it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controller.errors import ConfigError
from controller.policy.account import demand_age_s, total_demand
from controller.policy.evidence import allowed_offerings
from controller.policy.model import Application, CapacityWeights, Snapshot
from controller.recording.lines import Recorded
from controller.routing.kinds import DEFAULT
from failover_analysis.simulation.figures import Figures, added
from failover_analysis.simulation.recorded_service import RecordedService
from failover_analysis.simulation.recorded_shortages import RecordedShortages, Span, outages
from failover_analysis.simulation.setup import ZONES, Algorithm, Setup

GAP_S: Final = 300.0
"""The longest time between two lines for which the demand counts as known, seconds: as a replay books it."""
SHORTEST_S: Final = 3600.0
"""The shortest stretch that is played, seconds: in less no replica has started, served and gone."""
MOST_DAYS: Final = 31
"""The longest recording that makes a world, days."""
INTERVAL_S: Final = 240.0
"""Longest time between two passes in the world, seconds; every change that a watch delivers starts a pass at once."""

_DAY_S: Final = 86_400.0
_KINDS: Final = ("spot", "on-demand")


@dataclass(frozen=True, slots=True)
class RecordedDemand:
    """Requests per metric period as a line through what was counted. A value, so that another process can get it.

    Attributes:
        times: Seconds from the start of the stretch, ascending.
        requests: The demand at each of them.
    """

    times: tuple[float, ...]
    requests: tuple[float, ...]

    def __call__(self, seconds: float) -> float:
        """The demand at a time, seconds from the start; before the first and after the last value it is that value."""
        place = bisect_right(self.times, seconds)
        if place in {0, len(self.times)}:
            return self.requests[max(0, place - 1)]
        since, until = self.times[place - 1], self.times[place]
        left, right = self.requests[place - 1], self.requests[place]
        return left + (right - left) * (seconds - since) / (until - since)


@dataclass(slots=True)
class Stretch:
    """A time in which the demand was known.

    Attributes:
        service: What was served in it.
        times: When the demand was counted, seconds since the Unix epoch.
        requests: Requests per metric period at each of them.
    """

    service: RecordedService
    times: list[float] = field(default_factory=list)
    requests: list[float] = field(default_factory=list)

    @property
    def start(self) -> float:
        """Its begin, seconds since the Unix epoch."""
        return self.times[0]

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.times[-1] - self.times[0]


@dataclass(frozen=True, slots=True)
class World:
    """What a recording is about.

    Attributes:
        application: The application as the last line has it, with the types that its NodePools allow.
        begin: The first line, seconds since the Unix epoch.
        end: The last line.
        stretches: The time that is played.
        spans: The outages of offerings.
        unplayed: How many refusals and interruptions no outage is made of, by the reason.
        zones: The zones of the region.
        zones_known: Whether the recording says which.
        acted: Whether the recorded controller changed anything: no dry run.
        changed: Whether an earlier line had the application otherwise.
        setups: What is played of each stretch.
    """

    application: Application
    begin: float
    end: float
    stretches: tuple[Stretch, ...]
    spans: tuple[Span, ...]
    unplayed: Mapping[str, int]
    zones: tuple[str, ...]
    zones_known: bool
    acted: bool
    changed: bool
    setups: tuple[Setup, ...]

    @property
    def seconds(self) -> float:
        """How long all that is played lasts."""
        return sum(one.seconds for one in self.stretches)

    @property
    def recorded(self) -> Figures:
        """What was served in the stretches and what it cost, as far as that is known."""
        return added(one.service.figures for one in self.stretches)

    @property
    def answers_known(self) -> bool:
        """Whether the recording says which requests failed or came late."""
        return all(one.service.answers_known for one in self.stretches)

    @property
    def dollars_known(self) -> bool:
        """Whether it says what replicas there were."""
        return all(one.service.dollars_known for one in self.stretches)


class RecordedWorld:
    """Collects a world from the lines of one application, in the order of time. What it keeps grows with the counted demand alone."""

    def __init__(self) -> None:
        self._stretches: list[Stretch] = []
        self._shortages = RecordedShortages()
        self._begin: float | None = None
        self._last: Snapshot | None = None
        self._acted = self._changed = False

    def add(self, recorded: Recorded) -> None:
        """Adds one line. What a standby recorded is left out: it decided nothing.

        Raises:
            ConfigError: The recording is longer than `MOST_DAYS`, or has too many shortages.
        """
        snapshot = recorded.snapshot
        if not snapshot.leader:
            return
        self._begin = snapshot.now if self._begin is None else self._begin
        if snapshot.now - self._begin > MOST_DAYS * _DAY_S:
            raise ConfigError(f"found a recording of more than {MOST_DAYS} days; allowed: {MOST_DAYS} (--from, --until)")
        self._acted |= any(one.applied for one in recorded.decided.requests)
        self._changed |= self._last is not None and self._last.application != snapshot.application
        self._shortages.add(snapshot)
        self._count(snapshot)
        self._last = snapshot

    def world(self) -> World:
        """What was collected.

        Raises:
            ConfigError: No stretch is long enough to be played, or there was no line.
        """
        last = self._last
        played = tuple(one for one in self._stretches if one.seconds >= SHORTEST_S)
        if last is None or self._begin is None or not played:
            longest = max((one.seconds for one in self._stretches), default=0.0)
            raise ConfigError(
                f"found {longest / 60:.0f} min with known demand and without a gap; allowed: at least {SHORTEST_S / 60:.0f} min."
                " Record longer, with CloudWatch's counters (spec.metrics)"
            )
        application, sold, kinds = _allowed(last)
        seen = {zone for zones in sold.values() for zone in zones} | (set() if any(sold.values()) else self._shortages.zones)
        zones = tuple(sorted(seen)) or ZONES
        spans = tuple(self._shortages.ended())
        aliases = {name: _aliases(of, zones) for name, of in sold.items() if of}
        scale_in_s = {name: one.scaler.scale_in_s for name, one in last.units.items() if one.scaler is not None}
        least_outstanding = application.policy.capacity_weights is CapacityWeights.READY_THROUGHPUT
        setups = tuple(
            Setup(
                name=application.name,
                application=application,
                start=one.start,
                seconds=one.seconds,
                demand=RecordedDemand(tuple(at - one.start for at in one.times), tuple(one.requests)),
                zones=zones,
                scale_in_s=scale_in_s,
                capacity_types=kinds,
                outages=outages(spans, one.start, one.start + one.seconds, aliases),
                interval_s=INTERVAL_S,
                algorithm=Algorithm.LEAST_OUTSTANDING if least_outstanding else Algorithm.ROUND_ROBIN,
            )
            for one in played
        )
        return World(
            application=application,
            begin=self._begin,
            end=last.now,
            stretches=played,
            spans=spans,
            unplayed=dict(self._shortages.unplayed),
            zones=zones,
            zones_known=bool(seen),
            acted=self._acted,
            changed=self._changed,
            setups=setups,
        )

    def _count(self, snapshot: Snapshot) -> None:
        """Adds the demand of a snapshot where it is known and no line before had it, and what was served since the last line."""
        demand = total_demand(snapshot)
        if demand is None:
            return
        at = snapshot.now - demand_age_s(snapshot) - snapshot.application.metric_period_s / 2  # the middle of its period
        last = self._stretches[-1] if self._stretches else None
        if last is None or at - last.times[-1] > max(GAP_S, 2 * snapshot.application.metric_period_s):
            last = Stretch(RecordedService())
            self._stretches.append(last)
        last.service.add(snapshot, GAP_S)
        if not last.times or at > last.times[-1]:
            last.times.append(at)
            last.requests.append(demand)


def _allowed(snapshot: Snapshot) -> tuple[Application, Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
    """The application with every type that its units may use, the zones by type, and the capacity types by NodePool.

    The simulation knows the default kind of routing object alone: weights and their effect are the same with each.
    """
    application, units = snapshot.application, []
    zones: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, tuple[str, ...]] = {}
    for unit in application.units:
        allowed = allowed_offerings(unit, snapshot.units[unit.name])
        units.append(replace(unit, instance_types=allowed.instance_types))
        for name in allowed.instance_types:
            zones[name] = tuple(dict.fromkeys((*zones.get(name, ()), *allowed.zones_of(name))))
        if bought := tuple(one for one in _KINDS if one in allowed.capacity_types):
            kinds[unit.node_pool] = tuple(dict.fromkeys((*kinds.get(unit.node_pool, ()), *bought)))
    return replace(application, units=tuple(units), route=replace(application.route, kind=DEFAULT.resource.kind)), zones, kinds


def _aliases(own: tuple[str, ...], region: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """The zones of the region that stand for each of a type's own: the simulation has every type in every zone.

    A zone in which the type is not sold does what one of its own zones does, so that the type is out where all of its own zones are.
    """
    found: dict[str, tuple[str, ...]] = {zone: (zone,) for zone in own}
    for number, zone in enumerate(one for one in region if one not in own):
        stands_for = own[number % len(own)]
        found[stands_for] = (*found[stands_for], zone)
    return found
