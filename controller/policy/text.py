"""Writes durations, times, lists and numbers for people, the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MINUTE = 60
_HOUR = 3600
_DAY = 24 * _HOUR
_MILLION = 1e6
_LISTED = 12  # names; the longest name of Kubernetes has 253 characters


def duration(seconds: float) -> str:
    """A duration in at most two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``; ``an unknown time`` where it is not finite."""
    if not math.isfinite(seconds):
        return "an unknown time"
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, rest = divmod(whole, _HOUR)
    minutes = rest // _MINUTE
    return f"{hours} h" + (f" {minutes} min" if minutes else "")


def clock_time(at: float) -> str:
    """A time of day, ``14:06:10 UTC``.

    Args:
        at: Seconds since the Unix epoch.
    """
    if not math.isfinite(at):
        return "an unknown time"
    minutes, seconds = divmod(int(at) % _DAY, _MINUTE)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02} UTC"


def listing(names: Iterable[str]) -> str:
    """Names separated by commas, ``a, b``; ``nothing`` where there are none, and ``a, b and 7 more`` where there are too many to read."""
    listed = list(names)
    if len(listed) > _LISTED:
        return f"{', '.join(listed[:_LISTED])} and {len(listed) - _LISTED} more"
    return ", ".join(listed) or "nothing"


def number(value: float) -> str:
    """A number as Kubernetes metadata needs it: ``105``, ``89.2``, ``0.066667``, ``2500000``.

    It has six significant digits, whole numbers have all of theirs, and at most six digits follow the point. The admission policy
    (deploy/kustomize/base/admission-policy.yaml) allows no more in a target. There is no exponent and no trailing zero.
    """
    if abs(value) >= _MILLION:
        return f"{value:.0f}"
    return f"{float(f'{value:.6g}'):.6f}".rstrip("0").rstrip(".")
