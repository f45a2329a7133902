"""docs/doctor.md agrees with the tables of checks."""

from __future__ import annotations

from typing import Any

from failover_setup.doctor.checks import CHECKS
from failover_setup.doctor.cluster.checks import CLUSTER_CHECKS
from failover_setup.doctor.report import Check
from tools.doctor_docs import DOCUMENT, document


def test_the_page_of_the_checks_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert DOCUMENT.read_text() == document(), "make docs"


def test_every_check_states_what_it_requires_and_why_in_whole_sentences() -> None:
    """The report and the page show them."""
    checks: tuple[Check[Any], ...] = (*CLUSTER_CHECKS, *CHECKS)
    for check in checks:
        assert check.requires.endswith((".", "`.")), check.name
        assert check.why.endswith("."), check.name
    assert len({check.name for check in checks}) == len(checks)
