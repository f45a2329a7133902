"""A pause and a pin in words: until when, why and by whom, the same in `status`, on the page and in messages."""

from __future__ import annotations

import math

from controller.clock import format_rfc3339
from controller.policy.model import Override
from controller.policy.modes import reason_text


def until_when(until: float | None) -> str:
    """When an override ends: ``until 2026-01-31T18:00:00Z``, or ``until it is lifted``.

    Args:
        until: Seconds since the Unix epoch; None or infinite: it has no end.
    """
    return "until it is lifted" if until is None or math.isinf(until) else f"until {format_rfc3339(until)}"


def pause_words(override: Override) -> str:
    """The end of a pause, its reason and its author."""
    return f"{until_when(override.paused_until)}: {reason_text(override.paused_why, override.paused_by)}"


def pin_words(override: Override) -> str:
    """The mode of a pin, its end, its reason and its author."""
    why = reason_text(override.pinned_why, override.pinned_by)
    return f"to {override.pinned_mode} {until_when(override.pinned_until)}: {why}"
