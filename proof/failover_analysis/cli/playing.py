"""Plays the runs of a simulation, side by side in processes, until all have ended or the command is stopped."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from failover_analysis.cli.progress import Progress
from failover_analysis.report.contenders import Contender
from failover_analysis.report.played import Played
from failover_analysis.simulation.run import Simulation
from failover_analysis.simulation.scenario import Scenario, find, load
from failover_analysis.simulation.setup import Setup

_CHECK_S: Final = 0.2  # between two checks of what the processes have done


@dataclass(frozen=True, slots=True)
class Run:
    """One planned run.

    Attributes:
        contender: The policy.
        seed: The seed.
        shown: Whether its timeline is kept.
        part: Which part of a world that is played in parts.
    """

    contender: Contender
    seed: int
    shown: bool
    part: int = 0


class Playable(Protocol):
    """What every process needs to play any of the runs. It is sent to each."""

    @property
    def measured(self) -> bool:
        """Whether the runs are measured for a report."""

    @property
    def rows(self) -> bool:
        """Whether the timeline of each run is kept."""

    def planned(self, run: Run) -> Setup:
        """What one run plays."""

    def command(self, contender: Contender, seed: int) -> str:
        """The command that plays one run again."""


@dataclass(frozen=True, slots=True)
class Job:
    """The runs of a simulation file. Each process reads the files itself, because a demand curve cannot be sent to another process."""

    wanted: str
    days: float | None
    faults: bool | None
    interval: float | None
    measured: bool
    rows: bool

    def scenario(self) -> Scenario:
        """The world as its file has it."""
        return load(find(self.wanted))

    def setup(self, scenario: Scenario, contender: Contender, seed: int) -> Setup:
        """What one run plays."""
        policy = contender.policy if contender.ours else None
        return contender.applied(scenario.setup(seed, days=self.days, random_faults=self.faults, policy=policy, interval_s=self.interval))

    def planned(self, run: Run) -> Setup:
        """See `Playable.planned`."""
        return self.setup(self.scenario(), run.contender, run.seed)

    def words(self) -> list[str]:
        """The command-line arguments that all of its runs share."""
        words = ["failoverctl", "simulate", self.wanted]
        words += ["--days", f"{self.days:.10g}"] if self.days is not None else []
        words += ["--faults", "random" if self.faults else "none"] if self.faults is not None else []
        words += ["--interval", f"{self.interval:g}"] if self.interval is not None else []
        return words

    def command(self, contender: Contender, seed: int) -> str:
        """See `Playable.command`."""
        return shlex.join([*self.words(), *contender.options, "--seed", str(seed)])


def results(job: Playable, runs: Sequence[Run], jobs: int | None, progress: Progress) -> Iterator[Played]:
    """The runs in their order, each as it ends; of a stopped command those that have ended.

    A single run that is stopped is a result, too: the part of its time that it got to.

    Args:
        job: What all share.
        runs: The runs.
        jobs: Most processes; None: one for each core.
        progress: Shows how far they are, and says when to stop.
    """
    cores = os.cpu_count() or 1
    at_once = min(jobs or cores, cores, len(runs))
    if at_once == 1:
        yield from _one_by_one(job, runs, progress)
    else:
        yield from _side_by_side(job, runs, at_once, progress)


def play(job: Playable, run: Run, watched: Callable[[float], bool]) -> Played:
    """Plays one run. The timeline is included only if it is needed: those of many seeds would not fit into memory."""
    setup = job.planned(run)
    result = Simulation(setup, run.seed, measured=job.measured).run(watched)
    kept = result if job.rows or run.shown else replace(result, rows=())
    return Played(run.contender, kept, job.command(run.contender, run.seed), setup.seconds, setup.faults if run.shown else ())


def _one_by_one(job: Playable, runs: Sequence[Run], progress: Progress) -> Iterator[Played]:
    for number, run in enumerate(runs):

        def watched(share: float, number: int = number) -> bool:
            progress.update((number + share) / len(runs), _detail(number, len(runs)))
            return not progress.stopped

        one = play(job, run, watched)
        if progress.stopped and one.cut:
            if len(runs) == 1:
                yield replace(one, planned_s=one.result.seconds)
            return
        yield one
        if progress.stopped:
            return


def _detail(number: int, count: int) -> str:
    return f"{number} of {count} runs" if count > 1 else ""


# --- in processes of their own ----------------------------------------------------------------------------------------------------------

_shared: list[Any] = []
"""In a process of the pool: how far each run is, and whether to stop."""


def _side_by_side(job: Playable, runs: Sequence[Run], at_once: int, progress: Progress) -> Iterator[Played]:
    shares = multiprocessing.Array("d", len(runs), lock=False)
    stop = multiprocessing.Value("b", 0, lock=False)
    with ProcessPoolExecutor(at_once, initializer=_begin, initargs=(shares, stop)) as pool:
        futures = [pool.submit(_play_one, job, run, number) for number, run in enumerate(runs)]
        for number, future in enumerate(futures):
            while not future.done() and not progress.stopped:
                wait([future], _CHECK_S, FIRST_COMPLETED)
                progress.update(sum(shares) / len(runs), _detail(sum(one.done() for one in futures[number:]) + number, len(runs)))
            if progress.stopped:
                stop.value = 1
                pool.shutdown(wait=True, cancel_futures=True)
                yield from _ended(futures[number:])
                return
            yield future.result()


def _begin(*shared: Any) -> None:  # noqa: ANN401 - ctypes' objects
    _shared[:] = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process says when to stop


def _play_one(job: Playable, run: Run, number: int) -> Played:
    shares, stop = _shared

    def watched(share: float) -> bool:
        shares[number] = share
        return not stop.value

    one = play(job, run, watched)
    shares[number] = 1.0
    return one


def _ended(futures: Sequence[Future[Played]]) -> Iterator[Played]:
    """The runs that have ended before the first that has not."""
    for future in futures:
        if future.cancelled():
            return
        one = future.result()
        if one.cut:
            return
        yield one
