"""Runs fuzz targets, of either distribution: each has a table of them (tests/fuzz, model_server/tests/fuzz) and calls `main` with it."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
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


_targets: dict[str, Target] = {}  # of a process that runs them: they hold functions, which cannot be sent to it


def main(targets: Mapping[str, Target], arguments: Sequence[str] | None = None) -> int:
    """Runs those that the command line names, or all, and prints one line for each.

    Args:
        targets: By name.
        arguments: Of the command line; None: those of this process.

    Returns:
        1 where one raised what it may not, with the input.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="targets that run at a time")
    parser.add_argument("targets", nargs="*", help="names of targets; none: all")
    options = parser.parse_args(arguments)
    names, failed = options.targets or list(targets), False
    sys.stdout.write(f"seed {options.seed}\n")
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(options.processes, forked, _targets.update, (targets,)) as pool:
        for name, found in zip(names, pool.map(partial(_run, options.seed, options.seconds), names), strict=True):
            sys.stdout.write(f"{name:<32} {found.executions:>9,} executions, {found.refused:>9,} refused, {len(found.errors)} errors\n")
            sys.stdout.flush()
            for error, raw in found.errors.items():
                failed = True
                sys.stdout.write(f"  {error}\n  input: {raw[:2000]!r}\n")
    return int(failed)


def _run(seed: int, seconds: float, name: str) -> Found:
    return fuzz(_targets[name], f"{seed}/{name}", seconds=seconds)
