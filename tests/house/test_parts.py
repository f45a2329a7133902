"""What tests or measures runs at the gate or by night, and the runner of both tells what became of each part."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.house import makefile
from tests.tiers import TARGETS, Tier
from tools import parts
from tools.parts import GATE, NIGHT, TOUCHES, Outcome, Part, touched

ROOT: Final = Path(__file__).parents[2]
_PARTS: Final = (*(part for lane in GATE for part in lane), *NIGHT)
_CALLED: Final = {call.split()[0] for part in _PARTS for call in part.calls}

BY_HAND: Final[Mapping[str, str]] = {
    "bench-breaking-point": "measures for a page; `heavy` finds a knee",
    "bench-breaking-point-model-server": "measures for a page",
    "bench-commands": "measures for a page",
    "bench-imports": "measures for a page",
    "bench-month": "measures for a page; `simulation` checks the same invariants",
    "bench-objects": "measures for a page",
    "bench-react": "measures for a page; `cluster` plays the same failover",
    "bench-returns": "measures for a page",
    "bench-soak": "two hours; measures for a page",
    "bench-takeover": "measures for a page",
    "bench-worlds": "measures for a page; `worlds` judges such worlds",
    "bench-worth": "measures for README; `simulation` holds the table to the code",
    "test-model-server-real": "200 MB of weights more; for changes of answers",
    "test-unit": "a part of `test`",
}
"""Targets that test or measure and that neither gate nor night runs, each with the reason."""


def test_every_target_that_tests_or_measures_is_at_the_gate_or_in_the_night() -> None:
    """Or it is run by hand, for the reason above."""
    proving = {one for one in makefile.targets() if re.match(r"(test|bench|fuzz|mutation|demo|lint|house)\b", one)}
    assert sorted(proving - _CALLED - BY_HAND.keys()) == []
    assert sorted(BY_HAND.keys() & _CALLED) == []
    assert sorted((BY_HAND.keys() | _CALLED) - makefile.targets()) == []


def test_every_tier_and_marker_is_at_the_gate_or_in_the_night() -> None:
    """A tier whose target nobody calls, and a marker that every call leaves out, would test nothing."""
    assert sorted({*Tier} - {tier for target in _CALLED for tier in TARGETS.get(target, ())}) == []
    settings = tomllib.loads((ROOT / "model_server" / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    left_out = set(re.findall(r"not (\w+)", settings["addopts"][-1]))
    assert left_out
    assert {mark for mark in left_out if f" -m {mark} " not in (ROOT / "Makefile").read_text()} == set()


def test_every_test_that_a_part_names_exists() -> None:
    named = [word for part in _PARTS for call in part.calls for word in call.split() if word.startswith("tests/")]
    for path, _, test in (one.partition("::") for one in named):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), test


def test_the_map_names_every_folder_and_every_part() -> None:
    """A change of a file that no row covers needs the whole night."""
    names = [part.name for part in NIGHT]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    uncovered = {path for path in tracked if not path.startswith(tuple(TOUCHES))}
    assert sorted(path for path in uncovered if "/" in path) == []
    assert sorted(set(names) - {part for row in TOUCHES.values() for part in row}) == []
    assert sorted({part for row in TOUCHES.values() for part in row} - set(names)) == []
    assert touched(["pyproject.toml"]) == set(names)


def test_a_change_needs_the_parts_of_the_longest_row() -> None:
    assert touched(["docs/worth.md", "CHANGELOG.md"]) == set()
    assert touched(["research/late.py"]) == {"simulation", "policy"}
    assert touched(["controller/policy/x.py"]) == set(TOUCHES["controller/policy/"])
    assert touched(["controller/service/x.py", "research/late.py"]) == {*TOUCHES["controller/"], "policy"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, whose Makefile has three targets: good passes, bad fails, slow never ends."""
    (tmp_path / "Makefile").write_text(
        "good:\n\t@echo $(ARGS) '== 3 passed, 2 skipped, 1 rerun in 1s =='\nbad:\n\t@echo what is wrong; false\nslow:\n\t@sleep 600\n"
    )
    (tmp_path / ".gitignore").write_text("logs\nkept.*\n")
    (tmp_path / "logs").mkdir()
    for command in ("init -q", "add .", "-c user.name=x -c user.email=x@example.com commit -q -m x"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True, timeout=60)
    for name, value in {"ROOT": tmp_path, "LOGS": tmp_path / "logs", "KEPT": tmp_path / "kept.json"}.items():
        monkeypatch.setattr(parts, name, value)
    return tmp_path


GOOD: Final = Part("a good one", "x", ("good ==",))
BAD: Final = Part("a bad one", "x", ("bad", "good"))


def _played(part: Part, *, whole: bool = False) -> Outcome:
    return asyncio.run(parts.play(part, whole=whole))


@pytest.mark.usefixtures("project")
def test_a_part_that_passes_says_what_it_left_out_and_what_passed_only_again(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = _played(GOOD)
    assert (outcome.state, outcome.note) == ("passed", "2 skipped, 1 rerun")
    assert "3 passed" not in capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_a_part_that_fails_goes_on_and_shows_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert _played(BAD).state == "failed"
    assert "what is wrong" in (printed := capsys.readouterr().out)
    assert "3 passed" in printed


@pytest.mark.usefixtures("project")
def test_a_part_is_ended_by_its_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    assert _played(Part("slow", "x", ("slow",), minutes=0)).state == "failed"
    assert "slow was ended: the deadline of slow is 0 minutes" in capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_a_part_whose_program_is_missing_is_not_run() -> None:
    part = Part("x", "x", ("bad",), ("no-such-program",))
    assert _played(part) == Outcome(part, "not run", note="needs no-such-program")


def test_the_night_goes_on_where_it_ended(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What passed on this commit does not run again; what failed does."""
    assert asyncio.run(parts.night([GOOD, BAD])) == 1
    assert list(json.loads(parts.KEPT.read_text())) == ["a good one"]
    capsys.readouterr()
    assert asyncio.run(parts.night([GOOD, BAD])) == 1
    printed = capsys.readouterr().out
    assert "== a good one began" not in printed
    assert "== a bad one began" in printed
    assert "1 passed, 1 failed, 0 not run" in printed
    (project / "new").touch()
    assert asyncio.run(parts.night([GOOD])) == 0
    assert "== a good one began" in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.parts", "night", "--only", "wrold"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "no part wrold; there are heavy, simulation" in done.stderr
