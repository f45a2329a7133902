"""Puts one application's snapshot together from the views and pollers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypedDict

from controller.policy.account import price_words
from controller.policy.evidence import Ages, Offering, unmet_pods
from controller.policy.model import (
    Application,
    Backend,
    OpenGates,
    PendingPod,
    PoolObservation,
    Price,
    Reservation,
    RoutingObservation,
    Sample,
    Snapshot,
    Source,
    Unit,
    UnitObservation,
    Verification,
)
from controller.policy.routing import drained_at, of_these_groups
from controller.policy.text import duration
from controller.signals.cluster import ClusterView
from controller.signals.cluster_clock import by_our_clock, shifted
from controller.signals.launchable import Placement, for_unit, placed_on, price_note
from controller.signals.prices import Quotes, priced
from controller.signals.reservation_probe import ReservationProbe
from controller.signals.waits import Waits
from controller.signals.workloads import Binding

OVERLOOKED_S: Final = 30.0
"""How long the load-balancer controller may take to take up a routing object's change, seconds. It takes one or two."""


class Metrics(Protocol):
    """Demand, latency and errors; see `controller.signals.cloudwatch`."""

    def demand(self, application: str, unit: str) -> Sample | None:
        """Requests in the last complete period."""

    def latency(self, application: str, unit: str) -> Sample | None:
        """Latency in the last complete period, seconds."""

    def error_ratio(self, application: str) -> Sample | None:
        """Share of requests answered with 5xx."""


class Capacity(Protocol):
    """What EC2 says of an instance type; see `controller.signals.ec2`."""

    def offered_zones(self, instance_type: str) -> tuple[str, ...]:
        """Zones in which it is sold."""

    def reservations(self, instance_types: Collection[str]) -> tuple[Reservation, ...] | None:
        """The account's active capacity reservations of these types; None where they are not known."""

    def blocks(self, instance_types: Collection[str]) -> tuple[Reservation, ...]:
        """Its Capacity Blocks of these types whose end is known."""

    def notes(self, instance_type: str) -> tuple[str, ...]:
        """Quota and reservations, in words."""


class Offerings(Protocol):
    """What Karpenter's own metrics say of offerings; see `controller.signals.karpenter_metrics`."""

    def unavailable(self, instance_types: Collection[str]) -> tuple[Offering, ...]:
        """Those of some types that Karpenter holds for unavailable; () where nothing fresh is known."""


@dataclass(frozen=True, slots=True)
class ExternalSignals:
    """What the external sources (CloudWatch, EC2, the load balancer, Karpenter) said last; None for a source that is not asked."""

    metrics: Metrics | None = None
    capacity: Capacity | None = None
    verification: Verification | None = None
    asked_within_s: float = 0.0  # see `RoutingObservation`
    offerings: Offerings | None = None
    prices: Quotes | None = None
    probe: ReservationProbe | None = None


class _Reserved(TypedDict):
    """The fields of `UnitObservation` that are about reservations."""

    reservations: tuple[Reservation, ...] | None
    blocks: tuple[Reservation, ...]


def _seen(one: Reservation, skew_s: float, now: float) -> Reservation:
    """A reservation by our clock. One whose nodes are being drained has nothing free: Karpenter launches nothing into it."""
    ours = one if one.ends_at is None else replace(one, ends_at=one.ends_at + skew_s)
    return replace(ours, free=0) if drained_at(ours) <= now else ours


class SnapshotBuilder:
    """Takes snapshots.

    Args:
        view: The cluster as the watches see it.
        applications: All of them: a NodePool that several units share is judged accordingly.
        waits: Since when pods have waited, which outlives a change of the applications; None: nothing is known yet.
    """

    def __init__(self, view: ClusterView, applications: Iterable[Application], waits: Waits | None = None) -> None:
        self._view = view
        self._waits = waits or Waits()
        self._sharing: dict[str, Counter[str]] = {}
        applications = list(applications)
        for application in applications:
            pools = self._sharing.setdefault(application.namespace, Counter())
            for unit in application.units:
                pools[unit.node_pool] += 1
        view.retain(applications)
        with view.lock:  # a pass may be under way in another thread
            self._waits.retain({(application.key, unit.name) for application in applications for unit in application.units})

    def build(
        self, application: Application, now: float, sources: tuple[Source, ...], external: ExternalSignals, *, leader: bool, epoch: int
    ) -> Snapshot:
        """One application's snapshot. The prices of its units are those of the nodes that they run on, where these are known.

        A quoted price takes the place of the application file's, see `controller.signals.prices`.

        Args:
            application: Whose, with the prices of the application file.
            now: Seconds since the Unix epoch.
            sources: How fresh everything is.
            external: What CloudWatch, EC2 and the load balancer said last.
            leader: Whether this replica may act.
            epoch: The leadership term.
        """
        with self._view.lock:
            pending = self._view.workloads.pending(application, self._sharing.get(application.namespace, Counter()))
            skew = self._view.time.skew_s
            prices = {unit.name: self._price(application.namespace, unit, external.prices) for unit in application.units}
            listed = frozenset(source.name for source in sources if not source.absent and source.last_ok is not None)
            units = {
                unit.name: self._unit(application, unit, prices[unit.name], pending[unit.name], now, skew, external, listed)
                for unit in application.units
            }
            routing = self._routing(application, now - skew, listed, external)
            snapshot = Snapshot(
                now=now,
                application=_priced(application, prices),
                routing=routing,
                units=units,
                sources=sources,
                error_ratio=by_our_clock(external.metrics.error_ratio(application.key), skew) if external.metrics else None,
                leader=leader,
                epoch=epoch,
                clock_skew_s=skew,
                left=self._left(application.namespace, sources),
            )
            self._view.dirty.awaits(application.key, frozenset(_awaited(units.values())))
            return replace(snapshot, units=self._with_waits(snapshot))

    def _left(self, namespace: str, sources: tuple[Source, ...]) -> dict[str, int] | None:
        """See `Snapshot.left`."""
        known = any(source.name == "keda" and not source.absent and source.last_ok is not None for source in sources)
        return self._view.workloads.left_floors(namespace) if known else None

    def _price(self, namespace: str, unit: Unit, quotes: Quotes | None) -> Price:
        workload, karpenter = self._view.workloads.workload_of(namespace, unit), self._view.karpenter
        nodes, ready = karpenter.running(unit.node_pool), workload.ready if workload else 0
        return priced(unit, nodes, self._placement(namespace, unit), ready, karpenter.capacity_types(unit.node_pool), quotes)

    def _placement(self, namespace: str, unit: Unit) -> Placement:
        """Where the unit's pods may run; anywhere where its workload is not known."""
        workload = self._view.workloads.workload_of(namespace, unit)
        return workload.placement if workload is not None else Placement()

    def _notes(self, unit: Unit, placement: Placement, price: Price, now: float, external: ExternalSignals) -> tuple[str, ...]:
        """What people should know of the unit's capacity and price beside what decisions use."""
        nodes = placed_on(self._view.karpenter.running(unit.node_pool), placement)
        said = external.capacity.notes(unit.instance_type) if external.capacity else ()
        return (*said, *price_note(unit, nodes, price.dollars), *price_words(price, now))

    def _unit(
        self,
        application: Application,
        unit: Unit,
        price: Price,
        pods: tuple[PendingPod, ...],
        now: float,
        skew: float,
        external: ExternalSignals,
        listed: frozenset[str],
    ) -> UnitObservation:
        workloads = self._view.workloads
        workload = workloads.workload_of(application.namespace, unit)
        endpoints = workloads.endpoints_ready(application.namespace, unit.backend.service)
        known = [count for count in (workload.ready if workload else None, endpoints) if count is not None]
        placement, karpenter = self._placement(application.namespace, unit), self._view.karpenter
        others = sorted({name for pod in pods for name in pod.pools} - {unit.node_pool})
        pool, *alternatives = (
            for_unit(self._view.pool(name, now, skew), unit, placement, karpenter.terms(name)) for name in (unit.node_pool, *others)
        )
        return UnitObservation(
            unit=unit.name,
            pool=pool,
            alternatives=tuple(alternatives),
            pending=self._with_reasons(application, pods, skew),
            desired=workload.desired if workload else None,
            uncreated=workload.uncreated if workload else 0,
            ready=min(known) if known else None,
            deployment_ready=workload.ready if workload else None,
            endpoints_ready=endpoints,
            service_exists=self._exists(application.namespace, unit.backend, listed),
            pod_zones=workload.zones if workload else (),
            pod_instance_types=(workload.instance_types if workload else ()) or _pinned(pods),
            pod_capacity_types=workload.capacity_types if workload else (),
            demand=by_our_clock(external.metrics.demand(application.key, unit.name), skew) if external.metrics else None,
            latency=by_our_clock(external.metrics.latency(application.key, unit.name), skew) if external.metrics else None,
            scaler=workloads.scaler(application.namespace, unit),
            offered_zones=external.capacity.offered_zones(unit.instance_type) if external.capacity else (),
            notes=self._notes(unit, placement, price, now, external),
            price=price,
            probed=external.probe.answer(application.key, unit.name) if external.probe else None,
            unavailable=external.offerings.unavailable(_types(unit, (pool, *alternatives))) if external.offerings else (),
            **self._reserved(unit, pool, external.capacity, now, skew),
        )

    def _reserved(self, unit: Unit, pool: PoolObservation, capacity: Capacity | None, now: float, skew: float) -> _Reserved:
        """What EC2 said of reservations of what the unit may be launched as. Their ends are by our clock."""
        if capacity is None:
            return _Reserved(reservations=None, blocks=())
        types = {unit.instance_type, *unit.instance_types, *pool.instance_types}
        known = capacity.reservations(types)
        return _Reserved(
            reservations=None if known is None else tuple(_seen(one, skew, now) for one in known),
            blocks=tuple(_seen(one, skew, now) for one in capacity.blocks(types)),
        )

    def _with_reasons(self, application: Application, pods: tuple[PendingPod, ...], skew: float) -> tuple[PendingPod, ...]:
        """The waiting pods with what Karpenter said of each, by our clock."""
        karpenter, namespace = self._view.karpenter, application.namespace
        return tuple(
            replace(
                pod,
                since=pod.since + skew,
                unavailable=tuple((pool, at + skew) for pool, at in karpenter.unavailable(namespace, pod.name)),
                unplaced_at=shifted(karpenter.unplaced_at(namespace, pod.name), skew),
            )
            for pod in pods
        )

    def _with_waits(self, snapshot: Snapshot) -> dict[str, UnitObservation]:
        """The units with the age of their demand. A pod whose node is on its way asks for nothing: it makes no other pod's demand older."""
        now, skew, application = snapshot.now - snapshot.clock_skew_s, snapshot.clock_skew_s, snapshot.application
        found = {}
        for name, pods in unmet_pods(snapshot, Ages(snapshot.now)).items():
            observed = snapshot.units[name]
            launched = (launch.launched - skew for pool in (observed.pool, *observed.alternatives) for launch in pool.launches)
            since = self._waits.since((application.key, name), (pod.since - skew for pod in pods), launched, now)
            found[name] = observed if since is None else replace(observed, waiting_since=since + skew)
        return found

    def _exists(self, namespace: str, backend: Backend, listed: frozenset[str]) -> bool | None:
        """Whether a Service with that port exists; None while the Services have not been listed."""
        ports = self._view.workloads.service_ports(namespace, backend.service)
        return (False if "services" in listed else None) if ports is None else backend.port in ports

    def _routing(self, application: Application, now: float, listed: frozenset[str], external: ExternalSignals) -> RoutingObservation:
        """What the routing object says; `now` is by the cluster's clock, as the load-balancer controller's events are."""
        observed, asked = self._view.routing(application), self._view.asked(application)
        workloads, reconciles = self._view.workloads, self._view.reconciles
        capacity = application.capacity
        bound = workloads.bound(application.namespace) if "target-group-bindings" in listed else None
        seen = of_these_groups(external.verification, None if bound is None else _groups(application, bound))
        return replace(
            observed,
            capacity_ready=workloads.endpoints_ready(application.namespace, capacity.service),
            capacity_exists=self._exists(application.namespace, capacity, listed),
            bound=None if bound is None else _bound(application, bound),
            verification=seen,
            asked_within_s=external.asked_within_s,
            gates={} if bound is None else self._gates(application, seen),
            sticky=tuple(service for service in application.services if self._sticks(application.namespace, service, observed)),
            blocked=observed.blocked or reconciles.blocked(asked.reported, observed.uid, now) or overlooked(asked.overlooked, now),
            undone=reconciles.undone(asked.reported, observed.uid, now),
        )

    def _sticks(self, namespace: str, service: str, observed: RoutingObservation) -> bool:
        """Whether a Service's target group keeps each client on one target: by its own annotation, or else by the routing object's."""
        own = None if observed.settings_elsewhere else self._view.workloads.keeps_clients(namespace, service)
        return service in observed.sticky if own is None else own

    def _gates(self, application: Application, seen: Verification | None) -> dict[str, OpenGates]:
        """The open readiness gates by Service. The cluster's stamps are cut to whole seconds."""
        counted_at = None if seen is None else seen.counted_at - self._view.time.skew_s
        found = {}
        for service in application.services:
            opened = self._view.workloads.opened(application.namespace, service)
            if opened:
                lately = sum(1 for at in opened if counted_at is None or at + 1 > counted_at)
                found[service] = OpenGates(len(opened), lately)
        return found


def overlooked(since: float | None, now: float) -> str:
    """That the load-balancer controller does not take up the routing object as it is; "" where it has, or may still be about to.

    Args:
        since: See `controller.routing.port.Asked.overlooked`.
        now: Seconds since the Unix epoch by the cluster's clock.
    """
    if since is None or now - since < OVERLOOKED_S:
        return ""
    return f"it has not taken up the last change, which is {duration(now - since)} old"


def _priced(application: Application, prices: Mapping[str, Price]) -> Application:
    """The application with its units at their present prices; the same one where these are those of its file."""
    units = application.units
    if all(prices[unit.name].dollars == unit.price_per_hour for unit in units):
        return application
    return replace(application, units=tuple(replace(unit, price_per_hour=prices[unit.name].dollars) for unit in units))


def _bound(application: Application, bound: Mapping[str, tuple[Binding, ...]]) -> tuple[str, ...]:
    """The application's Services that have a target group for the port that its file names: another port is another group."""
    ports = application.ports
    return tuple(service for service in application.services if any(one.port == ports[service] for one in bound.get(service, ())))


def _groups(application: Application, bound: Mapping[str, tuple[Binding, ...]]) -> dict[str, frozenset[str]]:
    """The ARNs of the target groups of the application's own Services: its namespace may hold the bindings of a thousand others."""
    return {service: frozenset(one.target_group for one in bound.get(service, ())) for service in application.services}


def _awaited(units: Iterable[UnitObservation]) -> Iterator[str]:
    """The NodePools that waiting pods may use."""
    for one in units:
        if one.pending:
            yield from (pool.name for pool in (one.pool, *one.alternatives))


def _types(unit: Unit, pools: tuple[PoolObservation, ...]) -> frozenset[str]:
    """The instance types that a unit may be launched as, as far as they are named anywhere."""
    named = (one for pool in pools for one in (*pool.instance_types, *pool.launchable))
    refused = (one for pool in pools for refusal in pool.failures for one in refusal.instance_types)
    return frozenset((unit.instance_type, *unit.instance_types, *named, *refused))


def _pinned(pods: tuple[PendingPod, ...]) -> tuple[str, ...]:
    """The instance types that waiting pods without a workload are pinned to, () where one of them is not."""
    return tuple(sorted({one for pod in pods for one in pod.instance_types})) if all(pod.instance_types for pod in pods) else ()
