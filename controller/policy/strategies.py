"""The strategies by name: a strategy that adds nothing to the modes has no line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from controller.policy.fleet import PLANNED
from controller.policy.floors import as_stored
from controller.policy.model import PolicySettings
from controller.policy.names import Strategy
from controller.policy.strategy import StrategyPart

_MODES_ALONE: Final = StrategyPart(
    observed=lambda memory, _, __, ___, remembers: (replace(as_stored(memory), demand_history=None) if remembers else memory, None)
)
"""It forgets what another strategy remembered."""
_PARTS: Final[Mapping[Strategy, StrategyPart]] = {Strategy.PLANNED: PLANNED}


def part_of(policy: PolicySettings) -> StrategyPart:
    """The part of an application's strategy in a decision."""
    return _PARTS.get(policy.strategy, _MODES_ALONE)
