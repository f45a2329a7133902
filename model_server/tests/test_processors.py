"""How many processors a container may use."""

import os
from pathlib import Path

import pytest
from failover_model_server import processors


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("max 100000", None),
        ("400000 100000", 4),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("100000 0", None),
        ("", None),
        ("four 100000", None),
    ],
)
def test_the_limit_is_that_of_the_cgroup(tmp_path: Path, written: str, expected: int | None) -> None:
    """Whole processors, at least one; what cannot be read is no limit."""
    (tmp_path / "cpu.max").write_text(written)
    assert processors._limit(tmp_path / "cpu.max") == expected


def test_without_a_cgroup_there_is_no_limit(tmp_path: Path) -> None:
    assert processors._limit(tmp_path / "cpu.max") is None


@pytest.mark.parametrize("written", ["100000 100000", "max 100000", "99900000 100000"])
def test_no_more_than_the_process_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """A limit above the machine's processors is none."""
    (tmp_path / "cpu.max").write_text(written)
    monkeypatch.setattr(processors, "CGROUP_QUOTA", tmp_path / "cpu.max")
    expected = 1 if written.startswith("100000") else len(os.sched_getaffinity(0))
    assert processors.processors() == expected
