"""Runs fuzz targets, of either distribution: each has a table of them (tests/fuzz, model_server/tests/fuzz) and calls `main` with it."""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tools.fuzz_inputs import mutated

_KEPT: Final = 5  # different errors of a target


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        run: Parses one input, as bytes.
        corpus: Inputs that are right.
        allowed: What it may raise.
    """

    run: Callable[[bytes], object]
    corpus: Sequence[bytes]
    allowed: tuple[type[BaseException], ...] = ()


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


def fuzz(target: Target, seed: str, *, seconds: float = float("inf"), executions: int = 10**12) -> Found:
    """Runs a target until the time or the number of inputs is reached.

    Args:
        target: What parses.
        seed: Of the inputs: the same ones, as far as the time lasts.
        seconds: How long.
        executions: How many inputs.
    """
    chance, found = random.Random(seed), Found()
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


def main(targets: Mapping[str, Target]) -> int:
    """Runs those that the command line names, or all, and prints one line for each.

    Returns:
        1 where one raised what it may not, with the input.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run")
    parser.add_argument("targets", nargs="*", help="names of targets; none: all")
    options = parser.parse_args()
    failed = False
    sys.stdout.write(f"seed {options.seed}\n")
    for name in options.targets or targets:
        found = fuzz(targets[name], f"{options.seed}/{name}", seconds=options.seconds)
        sys.stdout.write(f"{name:<32} {found.executions:>9,} executions, {found.refused:>9,} refused, {len(found.errors)} errors\n")
        sys.stdout.flush()
        for error, raw in found.errors.items():
            failed = True
            sys.stdout.write(f"  {error}\n  input: {raw[:2000]!r}\n")
    return int(failed)
