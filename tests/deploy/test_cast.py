"""The recording of the demo in README: a run of today's program, from which the picture is drawn (`python -m tools.cast`)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Final

from controller.cli.main import _COMMANDS
from failover_testbed.cli.demo import MET
from failover_testbed.demo.narrator import LEGEND
from failover_testbed.demo.scenario import builtin, load_scenario
from tools.cast import CAST, COMMAND, PICTURE, ROOT, lines, picture, plain

ADD: Final = "run python -m tools.cast"
TEXT: Final = CAST.read_text()
SAID: Final = [plain(json.loads(event)[2]) for event in TEXT.splitlines()[1:]]


def test_the_picture_is_that_of_the_recording() -> None:
    assert PICTURE.read_text() == picture(TEXT), ADD


def test_it_begins_and_ends_with_what_the_program_says_today() -> None:
    """The command, the scenario's own words and the legend come first, the verdict last."""
    assert COMMAND[1] in _COMMANDS
    said = "".join(SAID)
    assert said.startswith(f"$ {' '.join(COMMAND)}\r\nScenario seed"), ADD
    first, _, _ = said.partition("00:00  ")
    assert load_scenario(builtin("seed")).file.description in first, ADD
    assert all(line in first for line in LEGEND), ADD
    assert said.rstrip().endswith(MET), ADD


def test_it_shows_a_failover_and_a_fallback_in_order() -> None:
    whole = "".join(SAID)
    places = [whole.index(words) for words in ("STARTING", "✔ failover at", "✔ fallback at")]
    assert all(one < other for one, other in pairwise(places))


def test_nothing_waits_long_in_the_picture() -> None:
    """Nobody watches an empty terminal for 14 seconds."""
    times = [at for at, _ in lines(TEXT)]
    assert all(0 <= after - before <= json.loads(TEXT.splitlines()[0])["idle_time_limit"] + 1e-9 for before, after in pairwise(times))


def test_both_are_small_and_readme_shows_the_picture() -> None:
    assert CAST.stat().st_size + PICTURE.stat().st_size < 60_000
    readme = (ROOT / "README.md").read_text()
    assert f"({PICTURE.relative_to(ROOT)})" in readme
    assert f"({CAST.relative_to(ROOT)})" in readme
