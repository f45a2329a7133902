"""The table of what the controller is worth: current, and what the code of today makes."""

from __future__ import annotations

import pytest

from benchmarks.outage_picture import PICTURE, SEED
from benchmarks.worth import DAYS, PAGES, ROOT, ROWS, SEEDS, kept, page, play


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_show_the_runs_that_are_kept(name: str) -> None:
    """`make docs` writes them, `make bench-worth` plays the runs."""
    assert page(name, (ROOT / name).read_text(), kept()) == (ROOT / name).read_text(), "run make docs"


def test_every_row_has_every_run() -> None:
    """A median of fewer seeds would be another figure."""
    assert [(one.day, one.policy, one.seed) for one in kept()] == [(day, row, seed) for day in DAYS for row in ROWS for seed in SEEDS]


@pytest.mark.parametrize("policy", ROWS)
def test_the_code_of_today_makes_the_same_run(policy: str) -> None:
    """With the seed of the picture, to the last digit."""
    assert play(("outage", policy, SEED)) in kept(), "run make bench-worth"


def test_the_picture_has_the_figures_of_its_run() -> None:
    """It is drawn from the runs of the same seed."""
    for one in kept():
        if (one.day, one.seed) == ("outage", SEED) and one.policy in {"none", "two-mode"}:
            assert f"{100 * one.figures.in_time:.2f} % in time, ${one.figures.dollars:.0f} for the day" in PICTURE.read_text()
