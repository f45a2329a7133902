"""The runs of the month that are kept."""

from __future__ import annotations

from pathlib import Path

from benchmarks.month import RESULTS, Figures, Job, known_runs, written_out


def test_runs_that_were_written_are_known_again(tmp_path: Path) -> None:
    """Number by number, so that one policy can be played anew beside them."""
    runs = {
        Job("month", "all", policy, seed, 10.0): Figures(0.998765, 443.21, 0.1 / 3, 1.2, 0.7, violations=seed)
        for policy in ("two-mode", "planned")
        for seed in (100, 101)
    }
    (tmp_path / "month.json").write_text(written_out([*runs], [*runs.values()]))
    assert known_runs(tmp_path / "month.json") == runs


def test_the_results_of_the_project_are_readable() -> None:
    """`--only` needs them."""
    assert known_runs(RESULTS)
