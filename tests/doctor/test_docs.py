"""The documentation says what the table of checks says."""

from __future__ import annotations

from typing import Any

from controller.doctor.checks import CHECKS
from controller.doctor.cluster.checks import CLUSTER_CHECKS
from controller.doctor.report import Check
from tools.doctor_docs import DOCUMENT, document


def test_the_page_of_the_checks_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert DOCUMENT.read_text() == document(), "make docs"


def test_every_check_says_what_it_asks_for_and_why_in_whole_sentences() -> None:
    """They are read in the report and on the page."""
    checks: tuple[Check[Any], ...] = (*CLUSTER_CHECKS, *CHECKS)
    for check in checks:
        assert check.asks.endswith((".", "`.")), check.name
        assert check.why.endswith("."), check.name
    assert len({check.name for check in checks}) == len(checks)
