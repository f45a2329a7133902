"""Which share of the requests each unit gets, in either mode: as the routing object asks for it, and as the load balancer shows it."""

from __future__ import annotations

from collections.abc import Mapping

from controller.policy.model import Application, Snapshot
from controller.policy.routing.availability import healthy_targets
from controller.policy.routing.weights import capacity_shares


def asked_shares(snapshot: Snapshot) -> dict[str, float | None]:
    """The share of each unit by the routing action of the routing object, from 0 to 1; None where it is not known.

    What goes to the capacity Service is shared among the ready replicas of all units, as `weights.capacity_shares` says.
    """
    ready = {unit.name: snapshot.units[unit.name].ready for unit in snapshot.application.units}
    return shares_of(snapshot.application, {target.service: target.weight for target in snapshot.routing.targets}, ready)


def shown_shares(snapshot: Snapshot) -> dict[str, float | None]:
    """The share of each unit by the live rule of the load balancer, from 0 to 1; None where it is not known.

    What goes to the capacity Service is shared among its healthy targets, as `weights.capacity_shares` says. Those of each unit are known
    from the unit's own target group, which a standby rule keeps registered.
    """
    seen, healthy = snapshot.routing.verification, healthy_targets(snapshot)
    targets = {unit.name: healthy.get(unit.backend.service) for unit in snapshot.application.units}
    return shares_of(snapshot.application, seen.weights if seen is not None else {}, targets)


def shares_of(application: Application, weights: Mapping[str, int], spread: Mapping[str, int | None]) -> dict[str, float | None]:
    """Shares from weights by Service; `spread` counts what serves for each unit behind the capacity Service, None where not known."""
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(spread)
    pooled = weights.get(application.capacity.service, 0) / whole
    own = {unit.name: weights.get(unit.backend.service, 0) / whole for unit in application.units}
    if not pooled:
        return {**own}
    known = {name: count for name, count in spread.items() if count is not None}
    parts = capacity_shares(application, known)
    serving = sum(parts.values())
    if len(known) < len(spread) or not serving:
        return dict.fromkeys(own)
    return {name: share + pooled * parts[name] / serving for name, share in own.items()}
