"""How long shortages lasted, noted as they begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controller.policy.learning import KEPT
from controller.policy.model import OutageHistory, Return, UnitMemory


def noted(history: OutageHistory, units: Mapping[str, UnitMemory], now: float) -> OutageHistory:
    """The outage history with what `units` says of now.

    Args:
        history: As they were.
        units: The units that are remembered as short, whether or not they have returned since.
        now: Seconds since the Unix epoch. A change counts from the pass that sees it: at most one pass late, and as late as a leader was
            missing.
    """
    short = any(unit.proven_at is not None and unit.returned is Return.NONE for unit in units.values())
    if short is history.short:
        return history
    over = () if history.since is None else (max(0.0, now - history.since),)
    if history.short:
        return replace(history, short=short, since=now, outages_s=(*history.outages_s, *over)[-KEPT:])
    return replace(history, short=short, since=now, uptimes_s=(*history.uptimes_s, *over)[-KEPT:])
