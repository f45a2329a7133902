"""Loads that were made up before any policy was played on them: what the recorded ones lack, such as several days, growth and a step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Final

STEP_S: Final = 300.0
"""Seconds of each step."""

_SEED: Final = 3
_NOISE: Final = 0.1  # of each step: a log-normal factor with this deviation of its logarithm
_DAY: Final = round(86_400 / STEP_S)


def loads(steps: int) -> dict[str, list[float]]:
    """Each load by its name, requests per step.

    Args:
        steps: How long they are.
    """
    return {name: _noisy([shape(step, steps) for step in range(steps)]) for name, shape in _SHAPES.items()} | {
        "a random walk": _walk(steps)
    }


def _cycle(step: int) -> float:
    """Of a day, between 0.4 at three in the morning and 1.6 twelve hours later."""
    return 1 + 0.6 * math.sin(2 * math.pi * (step / _DAY - 9 / 24))


_SHAPES: Final[Mapping[str, Callable[[int, int], float]]] = {
    "a day's cycle": lambda step, _: 1_000 * _cycle(step),
    "a cycle that grows to four times": lambda step, steps: 300 * (1 + 3 * step / steps) * _cycle(step),
    "a cycle with a step to 3.5 times": lambda step, steps: (400 if step < steps / 2 else 1_400) * _cycle(step),
    "a cycle with 20 minutes of three times every 8 hours": lambda step, _: 600 * _cycle(step) * (3 if step % 97 < 4 else 1),
}


def _noisy(values: list[float]) -> list[float]:
    drawn = random.Random(_SEED)
    return [value * drawn.lognormvariate(0, _NOISE) for value in values]


def _walk(steps: int) -> list[float]:
    """Between 150 and 2,000."""
    drawn, level, found = random.Random(_SEED), 1.0, []
    for _ in range(steps):
        level = min(4.0, max(0.3, level * drawn.lognormvariate(0, _NOISE / 2)))
        found.append(500 * level)
    return found
