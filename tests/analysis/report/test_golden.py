"""The whole report of a fixed world: byte for byte, whatever machine it is made on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from failover_analysis.report.model import Report
from failover_analysis.report.schema import schema_text
from tests.analysis.report.golden_report import FOLDER, FORMS, golden_report

ROOT = FOLDER.parents[3]


@pytest.fixture(scope="module")
def report() -> Report:
    """Made once."""
    return golden_report()


@pytest.mark.parametrize(("name", "form"), FORMS.items(), ids=FORMS)
def test_the_report_of_a_fixed_seed_is_the_same_byte_for_byte(report: Report, name: str, form: Callable[[Report], str]) -> None:
    """A change on purpose: `make docs` writes them again, and the author reads the difference."""
    assert form(report) == (FOLDER / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def another() -> Report:
    """Made again, more slowly."""
    return golden_report(wall_s=75.0)


@pytest.mark.parametrize(("name", "form"), FORMS.items(), ids=FORMS)
def test_only_the_wall_time_differs_from_one_making_to_the_next(another: Report, name: str, form: Callable[[Report], str]) -> None:
    """In one line."""
    before = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    after = form(another).splitlines()
    different = [line for line, other in zip(after, before, strict=True) if line != other]
    assert len(different) == 1
    assert "1 min 15 s" in different[0] or "75.0" in different[0]


def test_the_schema_is_what_is_published() -> None:
    """`make docs` writes it anew; what a reader of the JSON would notice is a new version."""
    assert schema_text() == (ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8")
