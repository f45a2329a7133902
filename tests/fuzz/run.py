"""Runs one target."""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import dataclass, field
from typing import Final

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS

_KEPT: Final = 5  # different errors of a target


@dataclass
class Found:
    """What a run found.

    Attributes:
        executions: How many inputs were parsed.
        refused: How many of them with an error that the target may raise.
        errors: The first input for each other error, by its last line and place.
    """

    executions: int = 0
    refused: int = 0
    errors: dict[str, bytes] = field(default_factory=dict)


def fuzz(name: str, *, seed: int, seconds: float = float("inf"), executions: int = 10**12) -> Found:
    """Runs a target until the time or the number of inputs is reached.

    Args:
        name: Its name.
        seed: Of the inputs: the same ones, as far as the time lasts.
        seconds: How long.
        executions: How many inputs.
    """
    target, chance, found = TARGETS[name], random.Random(f"{seed}/{name}"), Found()
    until = time.monotonic() + seconds
    while found.executions < executions and time.monotonic() < until and len(found.errors) < _KEPT:
        raw = mutated(chance, target.corpus)
        found.executions += 1
        try:
            target.run(raw)
        except target.allowed:
            found.refused += 1
        except Exception as error:  # noqa: BLE001 - what is searched for
            place = traceback.extract_tb(error.__traceback__)[-1]
            found.errors.setdefault(
                f"{type(error).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno}: {str(error)[:100]}", raw
            )
    return found
