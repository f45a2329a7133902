"""Runs the parts of the gate (``python -m tools.parts gate``) and of the night (``python -m tools.parts night --list``).

Each part calls targets of the Makefile, as a person would. A part that fails stops no other part; a table of all of them ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
LOGS: Final = ROOT / "build" / "parts"
KEPT: Final = Path(os.environ.get("FAILOVER_TEST_CACHE", Path.home() / ".cache" / "failoverctl-tests")) / "nightly.json"
"""For each part of the night the commit on which it passed last, its seconds, the day, and what it left out."""
_RERUN: Final = {**os.environ, "PYTEST_ADDOPTS": "--reruns 1 -raR"}  # what passes only then has a race, or too short a wait


class Part(NamedTuple):
    """Targets of the Makefile, each with its `ARGS`, and the programs without which they cannot run."""

    name: str
    proves: str
    calls: tuple[str, ...]
    needs: tuple[str, ...] = ()
    minutes: int = 30  # then it is ended, and has failed
    nice: bool = False  # it only computes: what waits for servers comes first


class Outcome(NamedTuple):
    """What became of a part."""

    part: Part
    state: str  # passed, failed or not run
    seconds: float = 0.0
    note: str = ""


_CORE: Final = (  # a mode change, a write without an answer, an object that goes between decision and write, a takeover, RBAC
    "scenarios.py::test_it_fails_over_on_a_proven_shortage_and_falls_back_on_the_proven_return",
    "scenarios.py::test_a_mode_change_whose_answer_is_lost_is_remembered_and_reported",
    "scenarios.py::test_an_ingress_that_is_deleted_between_decision_and_patch",
    "election.py::test_a_killed_leader_is_followed_by_the_other",
    "permissions.py::test_what_a_whole_life_uses_is_exactly_what_is_granted",
)
GATE: Final = (  # two lanes, one beside the other: what waits for servers, and what mostly computes
    (
        Part("test", "the tests that README names", ("test",)),
        Part("control plane", "the core of `cluster`", ("test-cluster " + " ".join(f"tests/cluster/test_{test}" for test in _CORE),)),
        Part("model server", "its core, without the pipelines", ("test-model-server",)),
    ),
    (
        Part("demo", "a failover and a fallback as README shows them", ("demo --scenario seed",)),
        Part("lint", "style, types and import contracts of both distributions; no size has grown", ("lint", "house"), nice=True),
        Part("seeds", "every invariant over five simulated seeds", ("bench-simulation --seeds 5",), nice=True),
        Part("fuzz", "no parser raises what it may not", ("fuzz --seconds 2.2",), nice=True),
    ),
)
NIGHT: Final = (
    Part("heavy", "distributions, floods, faults and incidents of whole processes", ("test-heavy",)),
    Part("simulation", "whole days, crash points, broken cores, 21 seeds", ("test-simulation", "bench-simulation --seeds 21"), minutes=60),
    Part("cluster", "everything on a real control plane", ("test-cluster --deselect tests/cluster/test_release.py",), ("go",), 60),
    Part("world", "real Karpenter, KEDA and load-balancer controller", ("test-world",), ("go",), 120),
    Part("demos", "all scenarios", tuple(f"demo --scenario {one}" for one in ("seed", "route", "one-zone", "quota", "l4-limit"))),
    Part("pipelines", "both generations of the pipelines, and clients of others", ("test-clients", "test-pipelines"), minutes=60),
    Part("vllm", "the adapter beside vLLM itself", ("test-vllm",)),
    Part("policy", "policies beside a clairvoyant one, and the tests of research", ("bench-policy --quick", "test tests/research")),
    Part("switch", "a mode change loses no request", ("bench-switch --quick",)),
    Part("election", "no replica acts without the Lease", ("bench-election --quick --simulated",)),
    Part("server-bench", "the model server fails no request under load", ("bench-model-server --quick --only alone",), minutes=60),
    Part("worlds", "no proof is false in random worlds", ("fuzz-proof --worlds 200",)),
    Part("fuzz", "no parser raises what it may not, for longer", ("fuzz --seconds 15",), minutes=60),
    Part("mutation", "tests notice changes of the policy: one mutant of 20", ("mutation --share 20",), minutes=60),
    Part("images", "every image is built and run as shipped", ("test-image",), ("go", "buildah", "podman", "runc", "debootstrap"), 120),
    Part("release", "from a tag to a running controller", ("test-cluster tests/cluster/test_release.py",), ("go",)),
)

_SERVED: Final = ("heavy", "simulation", "cluster", "world", "demos")
TOUCHES: Final[Mapping[str, tuple[str, ...]]] = {
    "controller/": (*_SERVED, "election", "switch", "worlds", "fuzz"),
    "controller/policy/": (*_SERVED, "policy", "worlds", "mutation"),
    "proof/": (*_SERVED, "election", "switch", "policy", "worlds"),
    "model_server/": ("pipelines", "vllm", "server-bench", "fuzz", "images"),
    **dict.fromkeys(("setup/", "deploy/", "Dockerfile"), ("heavy", "cluster", "world", "images", "release")),
    "config/": ("simulation", "cluster", "demos"),
    "tests/": ("heavy", "simulation", "cluster", "world"),
    "benchmarks/": ("heavy", "simulation", "election", "switch", "server-bench"),
    "research/": ("simulation", "policy"),
    "tools/": ("heavy", "fuzz", "mutation", "release"),
    **dict.fromkeys(("docs/", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", ".github/", ".ci/"), ()),
}
"""The parts of the night that a change needs, by the longest of these beginnings of its path; all of them where none fits."""


def touched(paths: Collection[str]) -> set[str]:
    """The names of the night's parts that changes of these files need."""
    rows = [max((row for row in TOUCHES if path.startswith(row)), key=len, default=None) for path in paths]
    return {part for row in rows for part in ([one.name for one in NIGHT] if row is None else TOUCHES[row])}


async def _make(call: str, part: Part, log: IO[bytes], until: float) -> bool:
    """Whether a target succeeded; its processes are a session, which ends with it."""
    target, _, arguments = call.partition(" ")
    command = [*("nice", "-n", "19") * part.nice, "make", "--no-print-directory", target, f"ARGS={arguments}"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=_RERUN, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        return await asyncio.wait_for(process.wait(), max(0.0, until - time.monotonic())) == 0
    except TimeoutError:
        log.write(f"{call} was ended: the deadline of {part.name} is {part.minutes} minutes\n".encode())
        return False
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def play(part: Part, *, whole: bool) -> Outcome:
    """Runs a part, and prints the whole of what it printed, or only the end where it failed."""
    if missing := [program for program in part.needs if shutil.which(program) is None]:
        return Outcome(part, "not run", note="needs " + ", ".join(missing))
    print(f"== {part.name} began", flush=True)
    log, began = LOGS / f"{part.name.replace(' ', '-')}.log", time.monotonic()
    with log.open("ab") as file:
        file.truncate(0)
        good = [await _make(call, part, file, began + 60 * part.minutes) for call in part.calls]
    text, state = log.read_text(errors="replace"), "passed" if all(good) else "failed"
    end = "" if state == "passed" else "\n".join(text.splitlines()[-60:])
    print(f"== {part.name} {state}; {log.relative_to(ROOT)} has what it printed\n{text if whole else end}", flush=True)
    counts = {word: sum(map(int, re.findall(rf"^=+ .*?(\d+) {word}\b", text, re.MULTILINE))) for word in ("skipped", "rerun")}
    return Outcome(part, state, time.monotonic() - began, ", ".join(f"{count} {word}" for word, count in counts.items() if count))


def _ended(run: str, outcomes: Sequence[Outcome]) -> int:
    """Prints a line for each part, the longest first; the exit code."""
    for part, state, seconds, note in sorted(outcomes, key=lambda one: -one.seconds):
        print(f"{part.name:14}{state:8}{seconds:6.0f} s  {note}".rstrip())
    states = [one.state for one in outcomes]
    print(f"{run}: " + ", ".join(f"{states.count(state)} {state}" for state in ("passed", "failed", "not run")))
    return int("failed" in states)


async def gate() -> int:
    """Runs both lanes of the gate; the exit code."""
    began = time.monotonic()

    async def lane(parts: Sequence[Part]) -> list[Outcome]:
        return [await play(part, whole=True) for part in parts]

    code = _ended("gate", [one for lane in await asyncio.gather(*map(lane, GATE)) for one in lane])
    print(f"gate: {time.monotonic() - began:.0f} s")
    return code


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def _kept() -> dict[str, dict[str, str]]:
    return dict(json.loads(KEPT.read_text())) if KEPT.exists() else {}


def _keep(outcome: Outcome, commit: str) -> None:
    row = {"commit": commit, "seconds": f"{outcome.seconds:.0f}", "day": datetime.now(UTC).date().isoformat(), "note": outcome.note}
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.with_suffix(".new").write_text(json.dumps({**_kept(), outcome.part.name: row}, indent=1))
    KEPT.with_suffix(".new").replace(KEPT)


async def night(parts: Sequence[Part]) -> int:
    """Runs those that have not passed on this commit; the exit code. With uncommitted changes all run, and none counts as passed later."""
    commit = "" if _git("status", "--porcelain") else _git("rev-parse", "HEAD")
    before = {name: row for name, row in _kept().items() if commit and row["commit"] == commit}
    outcomes = [Outcome(part, "passed", float(row["seconds"]), row["note"]) for part in parts if (row := before.get(part.name))]
    for part in parts:
        if part.name not in before:
            outcomes.append(await play(part, whole=False))
            if commit and outcomes[-1].state == "passed":
                _keep(outcomes[-1], commit)
    return _ended(f"night of {commit or 'uncommitted changes'}", outcomes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the gate or the night; the exit code is 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=("gate", "night"))
    parser.add_argument("--list", action="store_true", help="what each part of the night proves, and when it passed last")
    parser.add_argument("--only", metavar="PART[,PART]", help="parts of the night")
    parser.add_argument("--changed", metavar="COMMIT", help="the parts that the changes since this commit need")
    options = parser.parse_args(arguments)
    names = {one.name for one in NIGHT}
    only = set(options.only.split(",")) if options.only else names
    if only - names:
        parser.error(f"--only: no part {', '.join(sorted(only - names))}; there are {', '.join(one.name for one in NIGHT)}")
    only &= touched(_git("diff", "--name-only", options.changed, "--").splitlines()) if options.changed else names
    parts = [one for one in NIGHT if one.name in only]
    if options.list:
        for part in parts:
            last = "{seconds} s on {day} at {commit:.10}".format(**row) if (row := _kept().get(part.name)) else "has not passed here"
            print(f"{part.name:14}{last:38}{part.proves}")
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    return asyncio.run(gate() if options.run == "gate" else night(parts))


if __name__ == "__main__":
    sys.exit(main())
