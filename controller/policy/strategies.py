"""The strategies by name. One that adds nothing to the modes has no line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.policy.fleet.strategy import Planned
from controller.policy.model import PolicySettings
from controller.policy.names import Strategy
from controller.policy.strategy import StrategyPart

_PLAIN: Final = StrategyPart()
_PARTS: Final[Mapping[Strategy, StrategyPart]] = {Strategy.PLANNED: Planned()}


def part_of(strategy: Strategy) -> StrategyPart:
    """The part of a strategy in a decision."""
    return _PARTS.get(strategy, _PLAIN)


def scale_out_s(policy: PolicySettings) -> int:
    """How long the HPAs of an application should wait before they add replicas, seconds."""
    return part_of(policy.strategy).scale_out_s(policy)
