"""What is known of healthy targets while the load balancer cannot be asked for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.availability import HEALTH_FRESH_S, healthy_targets, with_known_health
from controller.policy.model import Verdict, Verification
from tests.support.applications import NOW, routing, snapshot

COUNTED = Verification(Verdict.YES, NOW - 60, action="old", applied=True, healthy={"sd21-trn1": 0})
WAITING = Verification(Verdict.NOT_YET, NOW, "other weights", "new")
FAILED = Verification(Verdict.CANNOT_TELL, NOW, "throttled", "new")


def known(seen: Verification, now: float) -> dict[str, int]:
    """The healthy targets that the policy assumes at a later time."""
    return dict(healthy_targets(replace(snapshot(now=now), routing=routing(verification=seen))))


def test_stays_known_while_the_rule_is_not_there_yet() -> None:
    """Targets are counted behind the wanted rule only; until it is live no newer count can exist, however long that takes."""
    seen = with_known_health(WAITING, COUNTED)
    for later in range(1, 100):
        seen = with_known_health(replace(WAITING, at=NOW + 5 * later), seen)
    assert known(seen, NOW + 5 * 99) == {"sd21-trn1": 0}


@pytest.mark.parametrize(("age", "expected"), [(0.0, {"sd21-trn1": 0}), (HEALTH_FRESH_S, {})])
def test_ages_while_verifications_fail(age: float, expected: dict[str, int]) -> None:
    """A failed verification does not show that nothing changed."""
    seen = with_known_health(replace(FAILED, at=NOW + age), with_known_health(FAILED, COUNTED))
    assert known(seen, NOW + age) == expected


def test_what_was_counted_is_what_counts() -> None:
    """And nothing is made up where nothing was."""
    counted = replace(COUNTED, healthy={"sd21-trn1": 2})
    assert with_known_health(counted, COUNTED) == counted
    assert with_known_health(WAITING, None) == WAITING
    assert with_known_health(WAITING, replace(COUNTED, healthy={})) == WAITING
