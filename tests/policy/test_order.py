"""Whether a launch came after a refusal: by the order of delivery where both have one, else by the cluster's clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.evidence import created_after
from tests.policy.support import launched, refused
from tests.support.applications import NOW


@pytest.mark.parametrize(
    ("created", "order", "refusal_order", "after"),
    [
        pytest.param(NOW, 8, 7, True, id="delivered later, in the same second"),
        pytest.param(NOW, 6, 7, False, id="delivered earlier, in the same second"),
        pytest.param(NOW - 60, 8, 7, False, id="delivered later, but created long before"),
        pytest.param(NOW, 8, 0, False, id="the refusal came in a list: the same second proves nothing"),
        pytest.param(NOW, 0, 7, False, id="the launch came in a list"),
        pytest.param(NOW + 1, 0, 7, True, id="a second later, from a list"),
        pytest.param(NOW + 1, 0, 0, True, id="a second later, both from lists"),
    ],
)
def test_which_came_first(created: float, order: int, refusal_order: int, *, after: bool) -> None:
    """An order that only one of them has says nothing."""
    launch = replace(launched(created), order=order)
    assert created_after(launch, refused(NOW, order=refusal_order, stamp=NOW)) is after


def test_what_was_made_with_the_refused_claim_did_not_come_after_it() -> None:
    """One batch, whose NodeClaims are delivered late."""
    refusal = refused(NOW, order=7, stamp=NOW, created=NOW + 20)
    assert not created_after(replace(launched(NOW + 20), order=8), refusal)
    assert created_after(replace(launched(NOW + 40), order=8), refusal)
