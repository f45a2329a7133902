"""How reports write numbers and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from controller.clock import format_rfc3339
from controller.policy.text import duration
from failover_analysis.report.model import Spread, Unit

NOTHING: Final = "\u2013"
_TENTHS_UNTIL_S: Final = 10.0
_CENTS_UNTIL: Final = 100.0
_EXACT_BELOW, _EXACT_ABOVE = 0.01, 0.9
_WHOLE_FROM: Final = 100
_LEAST: Final = 1e-5


def share(value: float) -> str:
    """A share in per cent. Near 0 and 100 % it has more digits and is cut off, not rounded: 99.9996 % served is not everything."""
    if value >= 1 or value <= 0:
        return "100 %" if value >= 1 else "0 %"
    if _EXACT_BELOW < value < _EXACT_ABOVE:
        return f"{value * 100:.1f} %"
    return f"{math.floor(value * 1e5 + 1e-6) / 1e3:.3f} %" if value >= _LEAST else "under 0.001 %"


def seconds(value: float) -> str:
    """A duration; below ten seconds with two decimals."""
    if value == 0:
        return "0 s"
    return f"{value:.2f} s" if abs(value) < _TENTHS_UNTIL_S else duration(value)


def dollars(value: float) -> str:
    """An amount of US dollars; below a hundred with cents."""
    sign, amount = "-" if value < 0 else "", abs(value)
    return f"{sign}${amount:,.2f}" if amount < _CENTS_UNTIL else f"{sign}${amount:,.0f}"


def count(value: float) -> str:
    """A count."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= _WHOLE_FROM else f"{value:,.1f}"


_WRITTEN: Final[Mapping[Unit, Callable[[float], str]]] = {
    Unit.SHARE: share,
    Unit.SECONDS: seconds,
    Unit.DOLLARS: dollars,
    Unit.COUNT: count,
}


def written(value: float, unit: Unit) -> str:
    """A number with its unit."""
    return _WRITTEN[unit](value)


def spread_words(spread: Spread | None, unit: Unit) -> tuple[str, str]:
    """A cell: the median, and the range if there is one."""
    if spread is None:
        return NOTHING, ""
    low, high = written(spread.p5, unit), written(spread.p95, unit)
    return written(spread.median, unit), f"{low} to {high}" if spread.count > 1 and low != high else ""


def time(at: float) -> str:
    """A time, to the second."""
    return format_rfc3339(at).replace("T", " ").removesuffix("Z")


def partial(missing: str) -> str:
    """The beginning of the verdict of a report whose command was stopped; "" for a whole report."""
    return f"Partial, {missing}: " if missing else ""
