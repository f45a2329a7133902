"""What the modes cost and saved: one account an application, kept from the same snapshots that are decided upon.

The service, the simulation and the report keep it with this code. It counts what snapshots show, so it is an estimate of the bill: a
replica is taken to pay for one instance from the moment it has a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from controller.policy.demand import probing, scaler_replicas
from controller.policy.figures import Figures
from controller.policy.model import Decision, Mode, Snapshot, UnitObservation
from controller.policy.weights import blended_cost, price_ratio

_HOUR_S: Final = 3600.0

LONGEST_S: Final = 300.0
"""Longest time that one snapshot stands for, seconds. What lies between two that are further apart was not observed and is not counted."""


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
        probing_s: Time in which a replica was asked for only to see whether capacity had returned, replica-seconds.
        probe_dollars: US dollars of the replicas that only such a probe keeps: those of a unit whose return is to be proven, beyond what
            its scaler would ask for. The waiting replica itself has no node and costs nothing.
        switches: Mode changes.
        calls: API calls by service (``kubernetes``, ``elbv2``, ``cloudwatch``, ``ec2``), as far as they were told; one that serves several
            applications counts with each one's part.
    """

    seconds: Mapping[Mode, float] = field(default_factory=dict)
    requests: Mapping[Mode, float] = field(default_factory=dict)
    spend: float = 0.0
    saved: float = 0.0
    premium: float = 0.0
    exposed_s: float = 0.0
    probing_s: float = 0.0
    probe_dollars: float = 0.0
    switches: int = 0
    calls: Mapping[str, float] = field(default_factory=dict)

    @property
    def exposed_minutes(self) -> float:
        """`exposed_s` in minutes."""
        return self.exposed_s / 60


def booked(ledger: Ledger, snapshot: Snapshot, decision: Decision, seconds: float) -> Ledger:
    """The account after a stretch of time.

    Args:
        ledger: Before it.
        snapshot: What was observed at its start.
        decision: What was decided then.
        seconds: How long it lasted; more than `LONGEST_S` counts as that.

    Returns:
        The same account where the time is not positive or the mode is unknown: what cannot be told is not booked.
    """
    mode, lasted = decision.mode, min(seconds, LONGEST_S)
    if mode is None or not lasted > 0:
        return ledger
    application = snapshot.application
    spend = sum(unit.price_per_hour * placed(snapshot.units[unit.name]) for unit in application.units)
    figures = Figures.of(snapshot, decision.evidence)
    served = (figures.demand or 0.0) * lasted / application.metric_period_s
    gain = _gain(snapshot, figures.intended) * served * application.metric_period_s / _HOUR_S
    exposed = any(judged.short and figures.intended.get(name, 0) > 0 for name, judged in decision.evidence.items())
    return replace(
        ledger,
        seconds={**ledger.seconds, mode: ledger.seconds.get(mode, 0.0) + lasted},
        requests={**ledger.requests, mode: ledger.requests.get(mode, 0.0) + served},
        spend=ledger.spend + spend * lasted / _HOUR_S,
        saved=ledger.saved + (gain if mode is Mode.COST else 0.0),
        premium=ledger.premium + (gain if mode is Mode.CAPACITY else 0.0),
        exposed_s=ledger.exposed_s + (lasted if mode is Mode.COST and exposed else 0.0),
        probing_s=ledger.probing_s + lasted * len(_waiting_probes(snapshot, decision)),
        probe_dollars=ledger.probe_dollars + _kept_by_probes(snapshot, decision, figures.demand) * lasted / _HOUR_S,
    )


def counted(ledger: Ledger, *, switches: int = 0, calls: Mapping[str, float] | None = None) -> Ledger:
    """The account with further mode changes, and API calls by service."""
    if not switches and not calls:
        return ledger
    known = {**ledger.calls, **{name: ledger.calls.get(name, 0) + count for name, count in (calls or {}).items() if count}}
    return replace(ledger, switches=ledger.switches + switches, calls=known)


def placed(observed: UnitObservation) -> int:
    """Replicas of a unit that have a node: those that are asked for less those that wait for one. They are paid for, ready or not."""
    ready = observed.ready or 0
    return max(ready, (observed.desired or ready) - len(observed.pending))


def _gain(snapshot: Snapshot, weights: Mapping[str, int]) -> float:
    """What a request costs more in capacity mode than in cost mode, US dollars per hour for each request per metric period.

    The prices of the source's Table 1, blended by the weights of cost mode, and by equal shares for round robin over all pods.
    """
    if not any(weights.values()):
        return 0.0
    units = snapshot.application.units
    return blended_cost(weights, units) * (price_ratio(units, weights) - 1)


def _probed(snapshot: Snapshot, decision: Decision) -> list[str]:
    """Units that are asked for only to see whether their capacity has returned: in capacity mode, those whose return is not proven."""
    if decision.mode is not Mode.CAPACITY or not snapshot.application.policy.canary:
        return []
    return [name for name, judged in decision.evidence.items() if probing(judged)]


def _waiting_probes(snapshot: Snapshot, decision: Decision) -> list[str]:
    """Those of which a replica waits for a node."""
    return [name for name in _probed(snapshot, decision) if snapshot.units[name].pending]


def _kept_by_probes(snapshot: Snapshot, decision: Decision, demand: float | None) -> float:
    """US dollars per hour of the replicas that have a node because a probe asks for one replica more than are ready.

    A floor above what is ready keeps the scaler from letting any of them go. What the scaler would ask for follows from the unit's own
    requests and its target; where the demand is not known nothing is booked.
    """
    if demand is None:
        return 0.0
    dollars = 0.0
    for name in _probed(snapshot, decision):
        unit, observed = snapshot.application.unit(name), snapshot.units[name]
        if observed.scaler is None or not observed.scaler.floor_ours:
            continue
        asked = max(unit.min_replicas, scaler_replicas(snapshot, unit))
        dollars += unit.price_per_hour * max(0, min(placed(observed), observed.scaler.min_replicas) - asked)
    return dollars
