"""Every test is in exactly one tier, and each target of the Makefile runs the tiers that it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import pytest

from tests.house import makefile
from tests.support.selected import VARIABLE
from tests.tiers import DEFAULT, PLACES, TARGETS, WAITING, Tier, rotated, selection, spread, tier_of, tiers_of, waiting

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py"))


def _commands() -> dict[str, list[str]]:
    """The arguments that each target of the Makefile gives to pytest in this distribution's environment."""
    found: dict[str, list[str]] = {}
    # Without what a `make test` around this one sets.
    alone = {name: value for name, value in os.environ.items() if name not in {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES"}}
    for target in makefile.targets():
        made = subprocess.run(["make", "-n", target], cwd=ROOT, env=alone, capture_output=True, text=True, check=True, timeout=60)
        for command in re.findall(r"^(?:\w+=\w+ )?\S*\.venv/bin/python -m pytest\b(.*)", made.stdout, re.MULTILINE):
            assert target not in found, f"{target} starts pytest twice"
            found[target] = command.split()
    return found


def _tier_arguments(arguments: list[str]) -> list[str]:
    if "--tier" not in arguments:
        return []
    index = arguments.index("--tier")
    return arguments[index : index + 2]


def test_each_target_of_the_makefile_selects_the_tiers_of_the_table() -> None:
    """And nothing else selects tests: a `-m`, a `-k` or a path could let another tier in, or leave tests out."""
    commands = _commands()
    assert commands.keys() == TARGETS.keys()
    for target, expected in TARGETS.items():
        tier = _tier_arguments(commands[target])
        assert selection(tier[1] if tier else ",".join(DEFAULT)) == frozenset(expected), target
        rest = [one for one in commands[target] if one not in tier]
        unknown = [one for one in rest if not re.fullmatch(r"-n|\d+|--dist|worksteal", one)]
        assert unknown == [], target


def test_each_place_of_the_table_exists_and_makes_a_difference() -> None:
    """A test that is renamed must not fall back into `unit` without a word."""
    assert len({(one.path, one.server) for one in PLACES}) == len(PLACES)
    for one in PLACES:
        path, _, test = one.path.partition("::")
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), one
        if test:
            assert re.search(rf"^ *(async )?def {test.rsplit('::', 1)[-1]}\(", (ROOT / path).read_text(), re.MULTILINE), one
        wider = [other for other in PLACES if other != one and other.server is None and other.covers(one.path.rstrip("/"))]
        assert one.tier not in {other.tier for other in wider}, f"{one.path} is in {one.tier} without its entry"


def test_no_file_chooses_its_own_tier() -> None:
    """The table is the one place: marks of the old tiers would do nothing."""
    marks = re.compile(r"pytest\.mark\.(slow|" + "|".join(Tier) + r")\b")
    assert [path for path in FILES if marks.search((ROOT / path).read_text())] == []


def test_a_tier_is_that_of_the_most_specific_place() -> None:
    """A parameter before a path, one test before its file, a file before its folder."""
    assert tier_of("tests/policy/test_decide.py::test_x[a::b]") is Tier.UNIT
    assert tier_of("tests/contract/test_lists.py::test_x", "emulated") is Tier.INTEGRATION
    assert tier_of("tests/contract/test_lists.py::test_x", "real") is Tier.CLUSTER
    assert tier_of("tests/policy/test_x.py::test_x", "real") is Tier.UNIT
    assert tier_of("tests/images/test_images.py::test_the_installation_of_an_image_runs") is Tier.HEAVY
    assert tier_of("tests/images/test_images.py::test_the_installation_of_an_image_runs_twice") is Tier.UNIT
    assert tiers_of("tests/images/test_images.py") == {Tier.UNIT, Tier.INTEGRATION, Tier.HEAVY}
    assert tiers_of("tests/contract/test_lists.py") == {Tier.INTEGRATION, Tier.CLUSTER}
    with pytest.raises(ValueError, match="slow"):
        selection("unit,slow")


def test_every_worker_begins_with_some_of_what_waits() -> None:
    """The longest first; no test is lost, and none comes twice."""
    places = {"Z": 0, "X": 1, "Y": 1}
    assert spread("aXbcYdeZ", places.get, 2) == list("ZYabXcde")
    assert spread("ab", places.get, 4) == ["a", "b"]


def test_half_of_the_workers_compute_while_the_others_wait() -> None:
    """Unless most tests wait."""
    places = {"X": 0, "Y": 1, "Z": 2}
    assert spread("aXbcYdeZ", places.get, 4) == list("XZaYbcde")
    assert spread("XYaZ", places.get, 4) == list("XYZa")


def test_each_worker_begins_to_collect_elsewhere() -> None:
    """With all of them, so that nothing is lost."""
    assert [rotated("abcde", worker, 2) for worker in (0, 1)] == [list("abcde"), list("cdeab")]
    assert rotated("abc", 0, 1) == list("abc")
    assert [rotated("a", worker, 3) for worker in range(3)] == [["a"]] * 3


def test_what_waits_is_found_by_its_name() -> None:
    """A file or one test of it, with any parameters; each name is one of today's."""
    for path, _, test in (one.partition("::") for one in WAITING):
        assert (f"def {test}(" if test else "def test_") in (ROOT / path).read_text()
    first, second, third = WAITING[:3]
    names = (f"{first}::test_x[a]", f"{second}[b::c]", f"{third}::test_x", "tests/x.py::y")
    assert [waiting(name) for name in names] == [0, 1, 2, None]


@pytest.mark.timeout(300)
def test_no_tier_leaks_into_another() -> None:
    """Each target selects what the table says, of what pytest itself collects."""
    collected = _collected()
    alone = [{*targets} for targets in TARGETS.values() if len(targets) == 1]
    assert sorted(one for tier in alone for one in tier) == sorted({*Tier} - {Tier.INTEGRATION})
    unit, integration = collected["test-unit"], collected["test"] - collected["test-unit"]
    assert unit < collected["test"]
    of_tiers = {tier: collected[target] for target, (tier, *others) in TARGETS.items() if not others} | {Tier.INTEGRATION: integration}
    for one, other in combinations(of_tiers.values(), 2):
        assert one & other == set()
    assert sorted({test.split("::", 1)[0] for tests in of_tiers.values() for test in tests} ^ set(FILES)) == []
    for expected, tests in of_tiers.items():
        assert [test for test in tests if expected not in tiers_of(test.split("::", 1)[0])] == []


def _collected() -> dict[str, set[str]]:
    """The names of the tests that each target would run; a file that is skipped as a whole counts as one test.

    pytest collects every tier once, and tests/conftest.py selects from that for each target: collecting takes seconds.
    """
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
        command += ["-p", "tests.support.selected", "--tier", ",".join(Tier)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, VARIABLE: file.name}, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {target: set(tests) for target, tests in json.load(file).items()}
