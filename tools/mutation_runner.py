"""Runs the tests of a mutant without collecting them again, those first that killed the most mutants of its module for their time.

mutmut forks a process for each mutant from a server that has run no test: what a test has cached would hide a mutant from the next. That
process starts pytest, which collects every test that reaches the mutant: thousands for `decide`, seconds, where the first test that fails
takes milliseconds. Here the server collects the tests once, and a process only runs them.
"""

from __future__ import annotations

import functools
import gc
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from mutmut.configuration import config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import PytestRunner
from mutmut.state import state

_FOLDER: Final = Path("mutants")
_UNTRIED: Final = 0.1
"""Mutants that a test which killed none so far is expected to kill."""
_SHORTEST_S: Final = 0.001
_KILLERS: Final = "killers.txt"
"""A line for each killed mutant: its module, and the test that failed."""


class CollectingRunner(PytestRunner):  # type: ignore[misc] # mutmut has no types
    """mutmut's runner, but for the tests of mutants. In the parent process it does nothing new."""

    def warm_up(self) -> None:
        """Collects the tests, in the server."""
        options = config()
        arguments = ["--rootdir=.", "--tb=native", *options.pytest_add_cli_args_test_selection, *options.pytest_add_cli_args]
        self._collected = _Collected(arguments, _FOLDER)
        self._collected.check()

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Runs the tests of a mutant; without one, all given tests as mutmut does it."""
        if mutant_name is None:
            return int(super().run_tests(mutant_name=None, tests=tests))
        return self._collected.run(tests, mutant_name.split(".")[2])


class _Collected:
    """All tests, and which of them killed mutants so far.

    Args:
        arguments: Those of pytest.
        folder: Where pytest runs.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        from _pytest.config import _prepareconfig

        self._folder, self._killers = folder.absolute(), (folder / _KILLERS).absolute()
        self._killers.unlink(missing_ok=True)
        before = Path.cwd()
        os.chdir(folder)
        try:
            pytest_config = _prepareconfig([*arguments, "--capture=no", "-x", "-q"], ())
            pytest_config._do_configure()  # noqa: SLF001 - the steps of pytest.main up to where it would run the tests
            self._session = pytest.Session.from_config(pytest_config)
            pytest_config.hook.pytest_sessionstart(session=self._session)
            pytest_config.hook.pytest_collection(session=self._session)
        finally:
            os.chdir(before)
        self._items = {item.nodeid: item for item in self._session.items}
        _forget()

    def check(self) -> None:
        """Runs all tests without a mutant, in a process of its own: else a test that fails here would kill every mutant that it reaches.

        Raises:
            RuntimeError: A test fails.
        """
        process = os.fork()
        if process == 0:
            set_mutant_under_test("")
            os._exit(self.run(self._items, ""))
        _, status = os.waitpid(process, 0)
        if status:
            raise RuntimeError(f"a test fails without a mutant, the last one in {self._killers}")

    def run(self, tests: Iterable[str], module: str) -> int:
        """Runs tests until one fails, in a process that ends with it.

        Args:
            tests: Their node IDs.
            module: The module of the mutant.

        Returns:
            pytest's exit code: 0 if all passed, 1 if one failed.

        Raises:
            KeyError: A test was not collected.
        """
        items = [self._items[test] for test in self._sorted(tests, module)]
        os.chdir(self._folder)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._session.shouldfail:
                with self._killers.open("a") as file:  # one short write at the end of a file: those of other processes stay whole
                    file.write(f"{module}\t{item.nodeid}\n")
                return int(pytest.ExitCode.TESTS_FAILED)
        return int(pytest.ExitCode.OK)

    def _sorted(self, tests: Iterable[str], module: str) -> list[str]:
        """By how many mutants of the module each killed for its time; of those that killed none, the fastest first."""
        lines = self._killers.read_text().splitlines() if self._killers.exists() else []
        kills = Counter(test for killed, test in (line.split("\t", 1) for line in lines) if killed == module)
        durations = state().duration_by_test
        return sorted(tests, key=lambda test: -(kills[test] + _UNTRIED) / max(durations[test], _SHORTEST_S))


def _forget() -> None:
    """Empties the controller's caches: what was computed while tests were collected would hide a mutant from all of them."""
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper) and one.__module__.startswith("controller"):  # noqa: SLF001 - it has no public name
            one.cache_clear()
