"""Runs mutmut over the policy: ``make mutation ARGS="decide guards"``; without modules, all of them, from where the last run ended.

mutmut makes each mutant a function beside the original one, and runs the unit tests that reach it in a forked process, as
`tools.mutation_runner` does it. It works on a copy in build/mutation. Mutants that change only a text are not made: what a message says is
tested by its own tests, and a changed key ends in a `KeyError` everywhere.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast
from zlib import crc32

from tools.mutation_score import ROOMS_RUN, ROOT, RUN, Status, mutants

_COPIED: Final = ("controller", "tests", "proof", "config", "pyproject.toml", "uv.lock")

ROOMS: Final[Mapping[str, tuple[str, ...]]] = {
    "clients/deadline": ("tests/clients/test_deadline.py",),
    "clients/kube": ("tests/clients/test_kube.py",),
    "notifiers/backlog": ("tests/notifiers/test_backlog.py",),
    "notifiers/redact": ("tests/notifiers/test_redact.py",),
    "notifiers/sink": ("tests/notifiers/test_dispatcher.py",),
    "service/election": ("tests/service/test_election.py",),
    "service/executor": ("tests/service/test_executor.py",),
    "service/http": ("tests/service/test_http.py",),
    "service/leadership": ("tests/service/test_leadership_steps.py",),
    "service/retries": ("tests/service/test_retries.py",),
    "signals/load_balancer/verifier": tuple(
        f"tests/signals/load_balancer/test_{name}.py" for name in ("verdicts", "rules", "pacing", "gateways", "hosts", "directory")
    ),
}
"""Modules of other rooms than the policy, each with the tests that are to notice its mutants."""
_TEST_S: Final = 20  # a mutant can make a thread wait for ever, which takes no time of a processor

_SMALLEST: Final = ["controller.policy.modes.modes.*"]  # mutmut makes the mutants, all of them, only when it runs some


def main() -> None:
    """Runs the chosen mutants; `tools.mutation_score` says what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules of controller/policy: all their mutants, again; none: what has no result yet")
    parser.add_argument("--survivors", action="store_true", help="only mutants that survived: after a test was added")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="1 of N mutants that have no result yet, always the same ones")
    parser.add_argument("--minutes", type=int, default=600, help="end after that long; the next run goes on")
    parser.add_argument("--rooms", action="store_true", help="modules of other rooms instead: " + " ".join(ROOMS))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    run = ROOMS_RUN if options.rooms else RUN
    _prepare(run, rooms=options.rooms)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(60 * options.minutes)
    names = [f"controller.{'' if options.rooms else 'policy.'}{module.replace('/', '.')}.*" for module in options.modules]
    if options.survivors or options.share > 1:
        if not any(mutants(run)):
            _run(_SMALLEST, options.processes)
        chosen = [one for one in mutants(run) if not options.modules or one.module in options.modules]
        if options.survivors:
            names = [one.name for one in chosen if one.status in {Status.SURVIVED, Status.UNREACHED}]
        else:
            names = [one.name for one in chosen if one.status is Status.OPEN and crc32(one.name.encode()) % options.share == 0]
        if not names:
            return
    _run(names, options.processes)


def _prepare(run: Path, *, rooms: bool) -> None:
    """Copies the tree with the times of its files, by which mutmut knows what has changed. Builds of wheels would follow links.

    Args:
        run: The folder of the run.
        rooms: Whether the modules of `ROOMS` are changed, and only their tests run.
    """
    run.mkdir(parents=True, exist_ok=True)
    for folder in (run, run / "mutants"):
        shutil.rmtree(folder / "tests", ignore_errors=True)  # else a deleted test would live on
    for name in _COPIED:
        source, copy = ROOT / name, run / name
        if source.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    if rooms:
        settings = (run / "pyproject.toml").read_text()
        # All modules with all tests, whatever is chosen: with other settings mutmut forgets the results of the others.
        files = ", ".join(f'"controller/{module}.py"' for module in ROOMS)
        settings = re.sub(r"(?m)^only_mutate = .*$", f"only_mutate = [{files}]", settings)
        tests = ", ".join(f'"{path}"' for paths in ROOMS.values() for path in paths)
        settings = re.sub(
            r"(?ms)^pytest_add_cli_args_test_selection = \[.*?^\]", f"pytest_add_cli_args_test_selection = [{tests}]", settings
        )
        settings = settings.replace('"--tier=unit", ', "").replace("--timeout=0", f"--timeout={_TEST_S}")
        (run / "pyproject.toml").write_text(settings)
    os.chdir(run)


def _run(names: Sequence[str], processes: int) -> None:
    """Calls mutmut's command in this process, without its mutants of texts."""
    from mutmut.mutation import mutators
    from mutmut.workers import isolation

    from tools.mutation_runner import CollectingRunner

    operators = cast("list[tuple[type, object]]", mutators.mutation_operators)
    operators[:] = [one for one in operators if one[1] is not mutators.operator_string]
    isolation.PytestRunner = CollectingRunner
    from mutmut.__main__ import cli

    sys.argv = ["mutmut"]
    cli.main(["run", "--max-children", str(processes), *names], standalone_mode=False)


if __name__ == "__main__":
    main()
