"""The report of the reaction: a row that is measured alone takes the place of the one that measured the same."""

from __future__ import annotations

from typing import Any

from benchmarks import report


def row(applications: int, **others: Any) -> dict[str, Any]:
    """What identifies a row."""
    return {"applications": applications, "aws": None, "churn": False, **others}


KEPT = {
    "machine": "that of the whole run",
    "rows": [row(1, p50=9), row(1000, p50=9), row(1000, churn=True, p50=9)],
    "mass": [row(1000, p50=9)],
}


def test_a_row_that_measured_the_same_is_replaced_and_marked() -> None:
    """The others, and what is said of the whole run, stay."""
    made = {"machine": "another", "rows": [row(1000, p50=2)], "mass": []}
    assert report.replaced(made, KEPT) == {**KEPT, "rows": [row(1, p50=9), row(1000, p50=2, alone=True), row(1000, churn=True, p50=9)]}


def test_a_row_that_no_other_measured_comes_last() -> None:
    """One that a whole run did not have yet."""
    made = {"rows": [row(1000, aws={"elbv2": 1}, churn=True, p50=2)], "mass": [row(2000, p50=3)]}
    found = report.replaced(made, KEPT)
    assert found["rows"] == [*KEPT["rows"], {**made["rows"][0], "alone": True}]
    assert found["mass"] == [*KEPT["mass"], row(2000, p50=3, alone=True)]
