"""What differs from world to world where faults are drawn: shared NodePools, spot instances, units at zero, and routes."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from controller.policy.model import Application, Route

SHARED: Final = "shared"
"""Name of the drawn NodePool that several units share."""

ROUTE: Final = "HTTPRoute"
"""The kind of route that the simulation plays."""
KINDS_PLAYED: Final = ("Ingress", ROUTE)
_RULE: Final = "main"

_SHARED_SHARE: Final = 0.5
_SPOT_SHARE: Final = 0.5
_ROUTE_SHARE: Final = 1 / 3
_ZERO_SHARE: Final = 0.5
_SPOT_ALONE_SHARE: Final = 1 / 3


def in_pools(application: Application, pools: Mapping[str, str]) -> Application:
    """The application with some units in other NodePools.

    Args:
        application: As its file says.
        pools: NodePools by unit; a unit that is missing stays where it is.
    """
    units = tuple(replace(unit, node_pool=pools.get(unit.name, unit.node_pool)) for unit in application.units)
    return replace(application, units=units)


def varied(application: Application, seed: str, fixed: Collection[str] = ()) -> tuple[Application, dict[str, tuple[str, ...]]]:
    """Draws a variation.

    Args:
        application: As its file says.
        seed: The same seed gives the same variation, on every machine.
        fixed: NodePools that stay as they are.

    Returns:
        The application, in half of the cases with the units of two NodePools in one that they share (as the AWS sample has A10G and L4),
        and the capacity types of the NodePools that allow spot beside on-demand: a half of them.
    """
    chance = random.Random(f"{seed}/variety")
    pools = sorted({unit.node_pool for unit in application.units} - set(fixed))
    if len(pools) > 1 and chance.random() < _SHARED_SHARE:
        together = chance.sample(pools, 2)
        application = in_pools(application, {unit.name: SHARED for unit in application.units if unit.node_pool in together})
        pools = sorted({*pools, SHARED} - set(together))
    return application, {pool: ("on-demand", "spot") for pool in pools if chance.random() < _SPOT_SHARE}


def at_zero(application: Application, seed: str) -> Application:
    """Draws whether units may run nothing, all but the first: a half of the worlds with planned floors, in a stream of its own.

    Args:
        application: As its file says.
        seed: The same seed gives the same, on every machine.
    """
    if not application.policy.plans_floors or random.Random(f"{seed}/at zero").random() >= _ZERO_SHARE:
        return application
    first, *others = application.units
    return replace(application, units=(first, *(replace(unit, min_replicas=0) for unit in others)))


def with_spot_alone(
    application: Application, bought: Mapping[str, tuple[str, ...]], seed: str, fixed: Collection[str] = ()
) -> tuple[Application, dict[str, tuple[str, ...]]]:
    """Draws whether a NodePool may buy nothing but spot instances: a third of the worlds with planned floors.

    In these a family may be lost for as long as the slowest unit starts: its spot pool must be survived all the same.

    Args:
        application: As its file says.
        bought: Capacity types by NodePool, as far as they are drawn already.
        seed: The same seed gives the same, on every machine.
        fixed: NodePools that stay as they are.
    """
    chance, pools = random.Random(f"{seed}/spot alone"), sorted({unit.node_pool for unit in application.units} - set(fixed))
    if not application.policy.plans_floors or not pools or chance.random() >= _SPOT_ALONE_SHARE:
        return application, dict(bought)
    policy = replace(application.policy, resilience_s=max(unit.cold_start_s for unit in application.units))
    return replace(application, policy=policy), {**bought, chance.choice(pools): ("spot",)}


def behind_route(application: Application) -> Application:
    """The application with a route in the place of its Ingress. The stickiness of cost mode is then that of both.

    Raises:
        ValueError: A port is no number; names the Service and what is allowed.
    """
    for service, port in application.ports.items():
        if not isinstance(port, int):
            raise ValueError(f"port of {service}: found {port}; allowed with {ROUTE}: a number")  # noqa: TRY004 - a setting of the file
    return application if application.route.kind == ROUTE else replace(application, route=Route(application.route.name, _RULE, ROUTE))


def routed(application: Application, seed: str) -> Application:
    """Draws whether a route takes the place of the Ingress: a third of the worlds, in a stream of its own.

    Args:
        application: As its file says. With a port that only an Ingress can name, it keeps its Ingress.
        seed: The same seed gives the same kind, on every machine.
    """
    if random.Random(f"{seed}/routing").random() >= _ROUTE_SHARE:  # under this name CI's 21 seeds have routes with every strategy
        return application
    try:
        return behind_route(application)
    except ValueError:
        return application
