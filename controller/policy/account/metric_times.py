"""When CloudWatch knows what: times that follow from the length of an application's metric period.

A value describes a whole period. When it is read, its period ended at least `SETTLED_S` ago, and up to one period more; it is used until
the next poll. So with a period of 300 s, KEDA's default, the demand that the controller knows is one to seven minutes old.
"""

from __future__ import annotations

from typing import Final

SETTLED_S: Final = 60.0
"""How long after its end a period is not used yet, seconds: samples that are published late would be missing from it."""

_LATE_S: Final = 420.0  # how late CloudWatch may be: it lags by one to three minutes, and by more where it is late for all counters at once
_STABILIZATION_S: Final = 300.0
_POLL_S: Final = 60.0  # from one poll to the next


def oldest_s(period_s: float) -> float:
    """How old the newest value is at most in ordinary times, seconds from the end of its period: 3 min for a period of a minute."""
    return period_s + SETTLED_S + _POLL_S


def fresh_s(period_s: float) -> float:
    """How old the newest value of a counter may be to be used, seconds from the end of its period: 10 min for a period of a minute."""
    return oldest_s(period_s) + _LATE_S


def shown_s(period_s: float) -> float:
    """How long after a change CloudWatch's values show its effect, seconds: 5 min for a period of a minute.

    The first whole period after it ends up to two periods later.
    """
    return 2 * period_s + SETTLED_S + _POLL_S + _POLL_S


def believed_s(period_s: float) -> float:
    """How long the demand must be known again before missing metrics count as over, seconds: 10 min for a period of a minute.

    The first period with a value may be incomplete. A scaler follows its highest recommendation of the last five minutes (the HPA's
    stabilization window), in which it saw no metrics.
    """
    return shown_s(period_s) + _STABILIZATION_S


def recent_s(period_s: float) -> float:
    """How old a latency or error ratio may be for a limit to be passed now, seconds: 6 min for a period of a minute."""
    return period_s + 300.0
