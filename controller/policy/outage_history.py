"""How long shortages lasted, noted as they begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.policy.learning import KEPT
from controller.policy.model import Return, Spells, UnitMemory


def noted(spells: Spells, units: Mapping[str, UnitMemory], now: float) -> Spells:
    """The spells with what `units` says of now.

    Args:
        spells: As they were.
        units: The units that are remembered as short, whether or not they have returned since.
        now: Seconds since the Unix epoch. A change counts from the pass that sees it: at most one pass late, and as late as a leader was
            missing.
    """
    short = any(unit.proven_at is not None and unit.returned is Return.NONE for unit in units.values())
    if short is spells.short:
        return spells
    over = () if spells.since is None else (max(0.0, now - spells.since),)
    if spells.short:
        return replace(spells, short=short, since=now, outages_s=(*spells.outages_s, *over)[-KEPT:])
    return replace(spells, short=short, since=now, uptimes_s=(*spells.uptimes_s, *over)[-KEPT:])
