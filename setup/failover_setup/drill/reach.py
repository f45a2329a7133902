"""Which units a drill's shortage reaches. Karpenter asks in all zones of a NodePool at once; FIS lets a request over several zones pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from controller.errors import ConfigError
from controller.objects import Object, name_of
from controller.policy.model import Unit
from controller.policy.text import listing
from controller.signals.node_labels import ZONE_LABEL
from controller.signals.node_pools import read_pool

_RULE: Final = "FIS has EC2 refuse only requests in one zone, which --zone names"
"""https://docs.aws.amazon.com/fis/latest/userguide/fis-actions-reference.html. Karpenter's request names all zones of a NodePool."""


def reach(units: Sequence[Unit], pools: Iterable[Object], zones: tuple[str, ...]) -> str:
    """Says of each unit whether EC2 will refuse it instances, and why, a line each.

    Args:
        units: The application's units.
        pools: The cluster's NodePools.
        zones: The zones of the shortage.

    Raises:
        ConfigError: EC2 would refuse none of them.
    """
    known = {name_of(pool): read_pool(pool).zones for pool in pools}
    own = {unit.node_pool: known.get(unit.node_pool) for unit in units}
    found = {name: f"NodePool {name} {_asks(asked)}" for name, asked in own.items()}
    refused = {name for name, asked in own.items() if asked and len(asked) == 1 and asked[0] in zones}
    if not refused:
        raise ConfigError(
            f"refused: found {'; '.join(found.values())}; {_RULE}; "
            f"give NodePool {units[0].node_pool} the requirement {ZONE_LABEL} In [{zones[0]}] while the drill runs"
        )
    said = (
        f"EC2 {'refuses' if one.node_pool in refused else 'does not refuse'} nodes of {one.name}: {found[one.node_pool]}" for one in units
    )
    return "\n".join((f"{_RULE}:", *said))


def _asks(zones: tuple[str, ...] | None) -> str:
    return "does not exist" if zones is None else f"asks in {listing(zones) if zones else 'every zone'}"
