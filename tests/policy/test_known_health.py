"""What is known of healthy targets while the load balancer cannot be asked for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.policy.model import OpenGates, Verdict, Verification
from controller.policy.routing import HEALTH_FRESH_S, healthy_targets, known_targets, with_known_health
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
    assert with_known_health(counted, COUNTED) == replace(counted, counted={"sd21-trn1": 2})
    assert with_known_health(WAITING, None) == WAITING
    assert with_known_health(WAITING, replace(COUNTED, healthy={})) == WAITING


class TestLastCount:
    """What was seen of a target group once, however long ago: a mode change needs it, weights do not use it."""

    GROUPED = replace(COUNTED, healthy={"sd21-trn1": 2}, groups={"sd21-trn1": ("arn:1",)})

    def test_lasts_while_the_target_group_does(self) -> None:
        """ELBv2 may be out of reach for an hour, in which capacity runs out."""
        seen = with_known_health(self.GROUPED, None)
        for later in range(720):
            seen = with_known_health(replace(FAILED, at=NOW + 5 * later), seen)
        made = replace(snapshot(now=NOW + 3600), routing=routing(verification=seen))
        assert known_targets(made, {})["sd21-trn1"] == 2
        assert "sd21-trn1" not in healthy_targets(made)

    def test_says_nothing_of_a_target_group_that_was_made_again(self) -> None:
        """Its targets are registered anew, and unhealthy until they were checked."""
        again = replace(COUNTED, healthy={"other": 1}, groups={"sd21-trn1": ("arn:2",), "other": ("arn:3",)})
        assert with_known_health(again, with_known_health(self.GROUPED, None)).counted == {"other": 1}

    def test_outlasts_a_verification_that_failed(self) -> None:
        """One that saw no target groups does not make the next one take the same group for another."""
        failed = with_known_health(FAILED, with_known_health(self.GROUPED, None))
        again = with_known_health(replace(COUNTED, healthy={"other": 1}, groups={**self.GROUPED.groups, "other": ("arn:3",)}), failed)
        assert again.counted == {"sd21-trn1": 2, "other": 1}


class TestGates:
    """A pod's readiness gate is true once its target is healthy."""

    def gated(self, seen: Verification | None, gates: OpenGates) -> dict[str, int]:
        """The healthy targets that the policy knows."""
        return dict(healthy_targets(replace(snapshot(), routing=routing(verification=seen, gates={"sd21-trn1": gates}))))

    def test_count_where_the_load_balancer_cannot_be_asked(self) -> None:
        """AWS may be switched off."""
        assert self.gated(None, OpenGates(3, 3)) == {"sd21-trn1": 3}
        assert self.gated(FAILED, OpenGates(3, 3)) == {"sd21-trn1": 3}

    def test_add_what_became_healthy_since_the_last_count(self) -> None:
        """The next count may be a minute away."""
        assert self.gated(COUNTED, OpenGates(3, 2)) == {"sd21-trn1": 2}

    def test_do_not_outweigh_a_later_count(self) -> None:
        """A gate stays true when the target fails later."""
        assert self.gated(COUNTED, OpenGates(3, 0)) == {"sd21-trn1": 0}


def test_since_when_a_service_is_ill() -> None:
    """From the first of the counts that found no healthy target, through checks that counted nothing."""
    seen = None
    for later, healthy in enumerate(({"a": 0}, {}, {"a": 0})):
        at = NOW + 5 * later
        one = Verification(Verdict.YES, at, healthy=healthy, ill_since={"a": at} if healthy else {})
        seen = with_known_health(one, seen)
        assert seen.ill_since == {"a": NOW}
    assert with_known_health(Verification(Verdict.YES, NOW + 20, healthy={"a": 1}), seen).ill_since == {}
