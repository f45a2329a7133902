"""Rounds shares to the whole weights of an action.

Rounding uses exact fractions of the decimal numbers that people wrote. So a tie is a tie on every machine, and the order breaks it, never
the noise of binary floating point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

TOTAL: Final = 100
"""What derived weights add up to: percent, as people read them; an action takes 0 to 999 for each target group."""


def largest_remainder(shares: Mapping[str, float | Fraction], total: int = TOTAL) -> dict[str, int]:
    """Rounds shares to integers that add up to `total` exactly (Hamilton's method, with a floor of 1 for what is not zero).

    Every share gets its quota rounded down; what is left goes to the largest remainders, ties in the order of `shares`. A share that is not
    zero but would round to 0 gets 1 instead, at the expense of the others: a unit that can serve must not vanish from the action by
    rounding. Only where `total` is smaller than the number of such shares do the smallest become 0.

    Args:
        shares: What each name should get; any finite, non-negative unit of measure, only their proportion counts.
        total: What the result adds up to; not negative.

    Returns:
        One integer a name, in the order of `shares`.

    Raises:
        ValueError: A share is negative, infinite or not a number, `total` is negative, or `total` is positive and no share is.
    """
    return dict(_rounded(_checked(shares, total), total))


@lru_cache(maxsize=4096)
def _rounded(known: tuple[tuple[str, Fraction], ...], total: int) -> dict[str, int]:
    """`largest_remainder`, cached: the passes between two measurements of the demand ask for the same weights."""
    rest = {name: share for name, share in known if share > 0}
    result = {name: 0 for name, _ in known}
    if total == 0:
        return result
    keep_all = total >= len(rest)
    left = total
    while True:
        rounded = _hamilton(rest, left)
        lost = [name for name, weight in rounded.items() if weight == 0]
        if not lost or not keep_all:
            return result | rounded
        for name in lost:
            result[name] = 1
            left -= 1
            del rest[name]


def _hamilton(shares: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Largest-remainder rounding of positive shares, without a floor."""
    whole = sum(shares.values(), Fraction(0))
    quotas = {name: share * total / whole for name, share in shares.items()}
    result = {name: math.floor(quota) for name, quota in quotas.items()}
    # `sorted` is stable, so equal remainders keep the order of `shares`.
    by_remainder = sorted(quotas, key=lambda name: result[name] - quotas[name])
    for name in by_remainder[: total - sum(result.values())]:
        result[name] += 1
    return result


def least_overload(shares: Mapping[str, float | Fraction], total: int = TOTAL) -> dict[str, int]:
    """Rounds shares to integers that add up to `total` exactly, so that nobody gets more beyond its share, as a part of it, than necessary.

    Jefferson's method (Balinski and Young, Fair Representation, 1982), with a floor of 1 for what is not zero. It is for shares that use
    what is ready to the full. A unit with 3.4 % of all throughput may get 4 of 100 parts by its largest remainder, a sixth more than it
    carries: its scaler, which tolerates a tenth, starts a replica that the demand does not need.

    Args:
        shares: What each name should get; any finite, non-negative unit of measure, only their proportion counts.
        total: What the result adds up to; not negative. Where it is smaller than the number of shares, the smallest become 0.

    Returns:
        One integer a name, in the order of `shares`; ties go to the first.

    Raises:
        ValueError: As `largest_remainder`.
    """
    return dict(_jefferson(_checked(shares, total), total))


@lru_cache(maxsize=4096)
def _jefferson(known: tuple[tuple[str, Fraction], ...], total: int) -> dict[str, int]:
    """`least_overload`, cached like `_rounded`."""
    shares = {name: share for name, share in known if share > 0}
    whole, kept = sum(shares.values(), Fraction(0)), sorted(shares, key=shares.__getitem__, reverse=True)[:total]
    # Nobody gets less than the quota of what the floors leave, so only what is left after that is handed out one by one.
    least = {name: max(1, math.floor(shares[name] * (total - len(kept)) / whole)) for name in kept}
    result = {name: least.get(name, 0) for name, _ in known}
    for _ in range(total - sum(result.values())):
        result[min(shares, key=lambda name: (result[name] + 1) / shares[name])] += 1
    return result


def _checked(shares: Mapping[str, float | Fraction], total: int) -> tuple[tuple[str, Fraction], ...]:
    """The exact shares.

    Raises:
        ValueError: A share is negative, infinite or not a number, `total` is negative, or `total` is positive and no share is.
    """
    if total < 0:
        raise ValueError(f"total must not be negative, got {total}")
    known = tuple((name, exact_fraction(f"share of {name}", share)) for name, share in shares.items())
    if total and not any(share for _, share in known):
        raise ValueError(f"no share is greater than zero, so {total} cannot be divided")
    return known


def exact_fraction(what: str, value: float | Fraction) -> Fraction:
    """The number as it was written (0.15 is 15/100, not the nearest binary fraction).

    Raises:
        ValueError: It is negative, infinite or not a number.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{what} must be finite, got {value}")
        value = _written(value)
    if value < 0:
        raise ValueError(f"{what} must not be negative, got {value}")
    return Fraction(value)


@lru_cache(maxsize=4096)
def _written(value: float) -> Fraction:
    """The decimal number as a fraction. Prices and throughputs are the same in every decision, and reading them was half of its time."""
    return Fraction(repr(value))
