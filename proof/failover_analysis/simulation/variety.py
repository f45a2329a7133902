"""What differs from world to world where faults are drawn: which NodePools are shared, and which of them may launch spot instances."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from controller.policy.model import Application

SHARED: Final = "shared"
"""Name of the drawn NodePool that several units share."""

_SHARED_SHARE: Final = 0.5
_SPOT_SHARE: Final = 0.5


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
