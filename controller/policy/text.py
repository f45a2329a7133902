"""Writes durations, times, lists and numbers for people, the same way everywhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MINUTE = 60
_HOUR = 3600
_DAY = 24 * _HOUR
_ERA = 146_097  # days of 400 years
_TO_MARCH_OF_YEAR_0 = 719_468  # days before the Unix epoch
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
    """A time of day, ``14:06:10 UTC``: for what comes within the hour. See `date_time` for the rest.

    Args:
        at: Seconds since the Unix epoch.
    """
    return f"{_time_of_day(at)} UTC" if math.isfinite(at) else "an unknown time"


def date_time(at: float) -> str:
    """A date and a time, ``2026-08-25T14:06:10Z``, as everywhere else that people read one.

    The day is computed from the number of days by the rule of the Gregorian calendar, because the policy imports no clock: 400 years have
    146,097 days, and a year that begins in March has its leap day at the end.

    Args:
        at: Seconds since the Unix epoch.
    """
    if not math.isfinite(at):
        return "an unknown time"
    era, day_of_era = divmod(int(at) // _DAY + _TO_MARCH_OF_YEAR_0, _ERA)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153  # 0: March
    day = day_of_year - (153 * month + 2) // 5 + 1
    year = 400 * era + year_of_era + month // 10
    return f"{year:04}-{(month + 2) % 12 + 1:02}-{day:02}T{_time_of_day(at)}Z"


def _time_of_day(at: float) -> str:
    minutes, seconds = divmod(int(at) % _DAY, _MINUTE)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


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
