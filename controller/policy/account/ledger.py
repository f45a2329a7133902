"""What the modes cost and saved: one account an application, kept from the snapshots that decisions are made from.

The service, the simulation and the report keep it with this code. It is an estimate of the bill, because it counts what snapshots show:
each replica counts as one instance from the moment it has a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.account.demand import scaler_replicas
from controller.policy.account.figures import Figures
from controller.policy.account.probed import canary, probing
from controller.policy.model import Decision, Mode, PlannedFleet, Snapshot, UnitObservation
from controller.policy.routing import blended_cost, price_ratio

_HOUR_S: Final = 3600.0

LONGEST_S: Final = 300.0
"""The longest time that one snapshot stands for, seconds. Where the next one comes later, the rest was not observed and is not counted."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """An account.

    Attributes:
        seconds: Observed time by mode.
        requests: Measured requests by mode.
        spend: US dollars of the replicas that have a node.
        saved: US dollars that cost mode saved against capacity mode, by the price of a request in each.
        premium: US dollars that capacity mode cost on top of cost mode, by the same prices.
        exposed_s: Time in cost mode in which a unit that carries weight was proven short, seconds.
        probing_s: Time in which a canary waited for a node, to see whether capacity had returned, replica-seconds.
        probe_dollars: US dollars of the replicas that only a canary keeps: those of a unit whose return is to be proven, beyond what its
            scaler would ask for. The waiting canary itself has no node and costs nothing.
        mode_changes: Mode changes that were made.
        calls: API calls by service (``kubernetes``, ``elbv2``, ``cloudwatch``, ``ec2``), as far as they were reported. A call for several
            applications is divided among them.
        compared_s: Observed time in which strategy `planned` had a fleet, because the demand was known, all of it, seconds.
        compared_spend: US dollars of the replicas that had a node in that time. This and the next two are without what a capacity
            reservation pays whether it is used or not.
        weights_spend: US dollars that the whole replicas for the weights of the application file would have cost in that time.
        least_spend: US dollars that the cheapest whole replicas for the demand of each moment would have cost in that time: the optimum
            with hindsight, which pays neither headroom nor starts nor for the loss of a family.
    """

    seconds: Mapping[Mode, float] = field(default_factory=dict)
    requests: Mapping[Mode, float] = field(default_factory=dict)
    spend: float = 0.0
    saved: float = 0.0
    premium: float = 0.0
    exposed_s: float = 0.0
    probing_s: float = 0.0
    probe_dollars: float = 0.0
    mode_changes: int = 0
    calls: Mapping[str, float] = field(default_factory=dict)
    compared_s: float = 0.0
    compared_spend: float = 0.0
    weights_spend: float = 0.0
    least_spend: float = 0.0

    @property
    def exposed_minutes(self) -> float:
        """`exposed_s` in minutes."""
        return self.exposed_s / 60


def booked(ledger: Ledger, snapshot: Snapshot, decision: Decision, mode: Mode | None, seconds: float) -> Ledger:
    """The account after a stretch of time.

    Args:
        ledger: Before it.
        snapshot: What was observed at its start.
        decision: What was decided then.
        mode: The mode that stood after it: some of the decision may not have been carried out. None where it was not known.
        seconds: How long it lasted; more than `LONGEST_S` counts as that.

    Returns:
        The same account where the time is not positive or the mode is unknown: then nothing is booked.
    """
    lasted = min(seconds, LONGEST_S)
    if mode is None or not lasted > 0:
        return ledger
    application = snapshot.application
    spend = sum(unit.price_per_hour * placed(snapshot.units[unit.name]) for unit in application.units)
    figures = Figures.of(snapshot, decision.evidence)
    served = (figures.demand or 0.0) * lasted / application.metric_period_s
    gain = _gain(snapshot, figures.intended) * served * application.metric_period_s / _HOUR_S
    exposed = any(judged.short and figures.intended.get(name, 0) > 0 for name, judged in decision.evidence.items())
    return replace(
        _compared(ledger, None if figures.whole_demand is None else decision.planned, lasted),
        seconds={**ledger.seconds, mode: ledger.seconds.get(mode, 0.0) + lasted},
        requests={**ledger.requests, mode: ledger.requests.get(mode, 0.0) + served},
        spend=ledger.spend + spend * lasted / _HOUR_S,
        saved=ledger.saved + (gain if mode is Mode.COST else 0.0),
        premium=ledger.premium + (gain if mode is Mode.CAPACITY else 0.0),
        exposed_s=ledger.exposed_s + (lasted if mode is Mode.COST and exposed else 0.0),
        probing_s=ledger.probing_s + lasted * len(_waiting_probes(snapshot, decision, mode)),
        probe_dollars=ledger.probe_dollars + _kept_by_probes(snapshot, decision, mode, figures.demand) * lasted / _HOUR_S,
    )


def _compared(ledger: Ledger, shown: PlannedFleet | None, lasted: float) -> Ledger:
    """The account with what the replicas cost beside other fleets; the same one where there is nothing to compare with."""
    if shown is None:
        return ledger
    hours = lasted / _HOUR_S
    return replace(
        ledger,
        compared_s=ledger.compared_s + lasted,
        compared_spend=ledger.compared_spend + shown.present * hours,
        weights_spend=ledger.weights_spend + shown.weighted * hours,
        least_spend=ledger.least_spend + shown.least * hours,
    )


def counted(ledger: Ledger, *, mode_changes: int = 0, calls: Mapping[str, float] | None = None) -> Ledger:
    """The account with further mode changes, and API calls by service."""
    if not mode_changes and not calls:
        return ledger
    known = {**ledger.calls, **{name: ledger.calls.get(name, 0) + count for name, count in (calls or {}).items() if count}}
    return replace(ledger, mode_changes=ledger.mode_changes + mode_changes, calls=known)


def placed(observed: UnitObservation) -> int:
    """Replicas of a unit that have a node: the desired ones less those that wait for a node. They cost money, ready or not."""
    ready = observed.ready or 0
    return max(ready, (observed.desired or ready) - observed.unplaced)


def _gain(snapshot: Snapshot, weights: Mapping[str, int]) -> float:
    """What a request costs more in capacity mode than in cost mode, US dollars per hour for each request per metric period.

    The prices of Table 1 of the AWS sample, blended by the weights of cost mode, and by the shares of capacity mode.
    """
    if not any(weights.values()):
        return 0.0
    application = snapshot.application
    return blended_cost(weights, application.units) * (price_ratio(application, weights) - 1)


def _probed(snapshot: Snapshot, decision: Decision, mode: Mode) -> list[str]:
    """Units that have a canary: in capacity mode, those whose return is not proven and that EC2 refuses no reservation."""
    if mode is not Mode.CAPACITY:
        return []
    probed = (unit for unit in snapshot.application.units if canary(unit, snapshot.units[unit.name], snapshot.now))
    return [unit.name for unit in probed if probing(decision.evidence[unit.name])]


def _waiting_probes(snapshot: Snapshot, decision: Decision, mode: Mode) -> list[str]:
    """Units whose canary waits for a node."""
    return [name for name in _probed(snapshot, decision, mode) if snapshot.units[name].pending]


def _kept_by_probes(snapshot: Snapshot, decision: Decision, mode: Mode, demand: float | None) -> float:
    """US dollars per hour of the replicas that only a canary keeps.

    A floor above the ready replicas keeps the scaler from removing any of them. What the scaler would ask for follows from the unit's own
    requests and its target; where the demand is not known, nothing is booked.
    """
    if demand is None:
        return 0.0
    dollars = 0.0
    for name in _probed(snapshot, decision, mode):
        unit, observed = snapshot.application.unit(name), snapshot.units[name]
        if observed.scaler is None or not observed.scaler.floor_ours:
            continue
        asked = max(unit.min_replicas, scaler_replicas(snapshot, unit))
        dollars += unit.price_per_hour * max(0, min(placed(observed), observed.scaler.min_replicas) - asked)
    return dollars
