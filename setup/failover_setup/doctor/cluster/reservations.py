"""The check of capacity reservations: whether Karpenter can use those of the account.

Karpenter's feature gate ReservedCapacity decides (LaunchMode in its `pkg/providers/launchtemplate/types.go`). With the gate off, on-demand
launches use open reservations as EC2 always did, and nothing uses targeted ones or Capacity Blocks. With the gate on, each on-demand launch
avoids reservations (`CapacityReservationPreference: none`): only a NodePool that allows the capacity type `reserved` uses them, and only
those that its EC2NodeClass selects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from controller.clients.kube import NODE_CLASSES, NODE_POOLS
from controller.objects import Object, in_values, items, mapping, name_of, text
from controller.policy.model import Reservation
from controller.signals.instance_labels import TYPE_LABEL
from controller.signals.node_labels import CAPACITY_LABEL, ZONE_LABEL
from failover_setup.doctor.cluster.components import KARPENTER, step
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.cluster.workload import older
from failover_setup.doctor.report import Finding, ok, problem, unknown, warning

GATE: Final = "ReservedCapacity"
_GATE_VALUE: Final = "settings.featureGates.reservedCapacity"
_TERMS: Final = "spec.capacityReservationSelectorTerms"
_ON_BY_DEFAULT: Final = (1, 6, 0)  # beta since then; alpha, and off, before
_SHOWN: Final = 5  # reservations in one sentence
_UNGRANTED: Final = "grant ec2:DescribeCapacityReservations, and set a region: docs/permissions.md"


def capacity_reservations(observed: ClusterObservation) -> Iterator[Finding]:
    """Karpenter can use the account's capacity reservations, and on-demand launches refuse none of them."""
    if observed.deployment(KARPENTER) is None and not observed.auto_mode:
        return  # another check says that Karpenter is missing
    pools = list(_pools(observed))
    gate = feature_gate(observed)
    advised = (advice(pool, gate, _matching(pool, observed), observed.account.problem) for pool in pools)
    findings = tuple(dict.fromkeys(found for found in advised if found is not None))  # several NodePools may share a node class
    yield from findings
    if pools and not findings:
        state = {True: "on", False: "off", None: "not shown"}[gate]
        yield ok(f"feature gate {GATE} {state}, no reservation is left unused by {', '.join(pool.name for pool in pools)}")


def feature_gate(observed: ClusterObservation) -> bool | None:
    """Whether Karpenter's feature gate ReservedCapacity is on; None where the cluster does not show it."""
    workload = observed.deployment(KARPENTER)
    if workload is None:
        return None
    stated = workload.flag("feature-gates") or workload.environment.get("FEATURE_GATES", "")
    gates = {name.strip(): value.strip().lower() for name, _, value in (part.partition("=") for part in stated.split(","))}
    if GATE in gates:
        return {"true": True, "false": False}.get(gates[GATE])
    return not older(workload.version, _ON_BY_DEFAULT) if workload.version and not stated else None


@dataclass(frozen=True, slots=True)
class Pool:
    """A NodePool as far as reservations are concerned.

    Attributes:
        name: Its name.
        node_class: The name of its EC2NodeClass.
        instance_types: Those that it may launch; () for any.
        zones: The same for zones.
        reserved: Whether it allows the capacity type reserved.
        other: Whether it allows another capacity type.
        terms: Whether its EC2NodeClass selects reservations; None where that could not be read.
        selected: Whether these terms find an active one, as Karpenter says; None where it has not said.
    """

    name: str
    node_class: str
    instance_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    reserved: bool = False
    other: bool = True
    terms: bool | None = False
    selected: bool | None = None


def _pools(observed: ClusterObservation) -> Iterator[Pool]:
    """The NodePools of the units, or all where no application file is known."""
    wanted = {unit.node_pool for unit in observed.units}
    classes = {name_of(one): one for one in observed.objects(NODE_CLASSES)}
    for one in observed.objects(NODE_POOLS):
        if not wanted or name_of(one) in wanted:
            yield _pool(one, classes.get(text(one, "spec", "template", "spec", "nodeClassRef", "name")), observed)


def _pool(obj: Object, node_class: Object | None, observed: ClusterObservation) -> Pool:
    requirements = items(obj, "spec", "template", "spec", "requirements")
    units = [unit for unit in observed.units if unit.node_pool == name_of(obj)]
    types = {name for unit in units for name in (unit.instance_types or (unit.instance_type,))}
    status = mapping(node_class, "status") if node_class is not None else {}
    return Pool(
        name=name_of(obj),
        node_class=text(obj, "spec", "template", "spec", "nodeClassRef", "name"),
        instance_types=tuple(sorted(types)) or in_values(requirements, TYPE_LABEL)[0],
        zones=in_values(requirements, ZONE_LABEL)[0],
        reserved=_allows(requirements, "reserved"),
        other=_allows(requirements, "on-demand") or _allows(requirements, "spot"),
        terms=None if node_class is None else bool(items(node_class, "spec", "capacityReservationSelectorTerms")),
        selected=bool(items(status, "capacityReservations")) if status else None,
    )


def _allows(requirements: Sequence[object], kind: str) -> bool:
    """Whether a NodePool's requirements allow a capacity type."""
    for one in requirements:
        if text(one, "key") != CAPACITY_LABEL:
            continue
        operator, listed = text(one, "operator"), kind in items(one, "values")
        if (operator == "In" and not listed) or (operator == "NotIn" and listed) or operator == "DoesNotExist":
            return False
    return True


def _matching(pool: Pool, observed: ClusterObservation) -> tuple[Reservation, ...] | None:
    """The account's reservations of what the NodePool may launch; None where they are not known."""
    if observed.account.reservations is None:
        return None
    return tuple(
        one
        for one in observed.account.reservations
        if one.total
        and (not pool.instance_types or one.instance_type in pool.instance_types)
        and (not pool.zones or one.zone in pool.zones)
    )


def advice(pool: Pool, gate: bool | None, account: Sequence[Reservation] | None, why_unknown: str = "") -> Finding | None:
    """What to do about one NodePool.

    Args:
        pool: The NodePool.
        gate: Whether the feature gate is on; None where that is not known.
        account: The account's reservations that it could use; None where they are not known.
        why_unknown: Why they are not known.

    Returns:
        None where nothing is wrong.
    """
    if pool.terms is None:
        return unknown(
            f"NodePool {pool.name}: EC2NodeClass {pool.node_class or 'without a name'} was not found, so its {_TERMS} are not known"
        )
    if not pool.terms and pool.reserved and not pool.other:
        seen = (
            f"NodePool {pool.name} allows only reserved, and EC2NodeClass {pool.node_class} selects no reservation: it can launch nothing"
        )
        return problem(seen, f"set {_TERMS} of EC2NodeClass {pool.node_class}, or allow on-demand in NodePool {pool.name}")
    if gate is None:
        return _gate_unknown(pool, account)
    return _gate_on(pool, account, why_unknown) if gate else _gate_off(pool, account)


def _gate_on(pool: Pool, account: Sequence[Reservation] | None, why_unknown: str) -> Finding | None:
    if pool.terms:
        if not pool.reserved:
            seen = f"NodePool {pool.name} does not allow reserved: it uses no reservation that EC2NodeClass {pool.node_class} selects"
            return warning(seen, _list_reserved(pool))
        if pool.selected is False:
            seen = f"EC2NodeClass {pool.node_class}: {_TERMS} find no active reservation (status.capacityReservations is empty)"
            return warning(seen, f"correct the ids, tags or owner in {_TERMS}, or buy a reservation that they find")
        return None
    if account is None:
        refused = f"the feature gate {GATE} is on and EC2NodeClass {pool.node_class} selects no reservation"
        return unknown(f"{refused}; whether the account has some that are refused is not known: {why_unknown}", _UNGRANTED)
    if not account:
        return None
    seen = (
        f"the feature gate {GATE} is on and EC2NodeClass {pool.node_class} selects no reservation: on-demand launches of NodePool "
        f"{pool.name} refuse {_named(account)}"
    )
    fix = _steps(_select(pool), _list_reserved(pool))
    if not any(_bound(one) for one in account):
        fix += f"; or set {_GATE_VALUE}: false, with which on-demand launches use open reservations: {step(KARPENTER)}"
    return warning(seen, fix)


def _gate_off(pool: Pool, account: Sequence[Reservation] | None) -> Finding | None:
    if pool.reserved and not pool.other:
        seen = f"NodePool {pool.name} allows only reserved, which Karpenter does not launch while its feature gate {GATE} is off"
        return problem(seen, _turn_on())
    if pool.terms:
        seen = f"EC2NodeClass {pool.node_class} selects reservations, which Karpenter ignores while its feature gate {GATE} is off"
        return warning(seen, _steps(_list_reserved(pool), _turn_on()))
    bound = [one for one in account or () if _bound(one)]
    if bound:
        seen = f"the feature gate {GATE} is off: no launch of NodePool {pool.name} can use {_named(bound)}, which must be named"
        return warning(seen, _steps(_select(pool), _list_reserved(pool), _turn_on()))
    return None  # on-demand launches use open reservations


def _gate_unknown(pool: Pool, account: Sequence[Reservation] | None) -> Finding | None:
    if not pool.terms and account is not None and not account:
        return None  # there is nothing that the gate could decide about
    uses = f"the reservations that EC2NodeClass {pool.node_class} selects" if pool.terms else "open reservations"
    seen = f"whether Karpenter's feature gate {GATE} is on is not shown, so it is not known whether NodePool {pool.name} uses {uses}"
    need = "on" if pool.terms else "off, or on with " + _TERMS
    return unknown(seen, f"see the value {_GATE_VALUE} of its chart: it must be {need}")


def _bound(one: Reservation) -> bool:
    """Whether only launches that name it can use a reservation."""
    return one.targeted or one.block


def _named(account: Sequence[Reservation]) -> str:
    shown = ", ".join(f"{one.id} ({one.instance_type}, {one.zone}, {one.free} of {one.total} free)" for one in account[:_SHOWN])
    return shown + (f" and {len(account) - _SHOWN} more" if len(account) > _SHOWN else "")


def _list_reserved(pool: Pool) -> str:
    """How to let a NodePool use reservations, "" where it may already."""
    return "" if pool.reserved else f"list reserved first in the requirement {CAPACITY_LABEL} of NodePool {pool.name}"


def _select(pool: Pool) -> str:
    """How to select reservations; "" where the EC2NodeClass does already."""
    return "" if pool.terms else f"set {_TERMS} of EC2NodeClass {pool.node_class}"


def _steps(*parts: str) -> str:
    return ", then ".join(part for part in parts if part)


def _turn_on() -> str:
    return f"set {_GATE_VALUE}: true once every NodePool that relies on open reservations selects them: {step(KARPENTER)}"
