"""What can serve, and whether it carries the demand: every limit, from both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.policy.model import Application, OpenGates, Snapshot, Target, Verdict, Verification
from controller.policy.routing import (
    alike,
    availability,
    close,
    healthy_targets,
    known_targets,
    of_these_groups,
    serving_replicas,
    with_known_health,
)
from tests.policy.support import change
from tests.support.applications import NOW, application, routing, seed_units, snapshot

A, B = "a", "b"


def _application() -> Application:
    """Two units; a replica carries 100 and 50 requests per metric period."""
    units = tuple(
        replace(seed, name=name, backend=replace(seed.backend, service=name), throughput=throughput)
        for seed, (name, throughput) in zip(seed_units(), {A: 100.0, B: 50.0}.items(), strict=False)
    )
    return application(units=units)


@pytest.mark.parametrize(
    ("base", "serving", "demand", "shares"),
    [
        pytest.param((60, 40), {A: 1, B: 1}, 1_000.0, (100 / 450, 50 / 300), id="both lack replicas"),
        pytest.param((60, 40), {A: 9, B: 9}, 1_000.0, (1.0, 1.0), id="both have enough"),
        pytest.param((3, 2), {A: 1, B: 1}, 1.0, (1.0, 1.0), id="hardly any demand"),
        pytest.param((60, 40), {A: 1}, 1_000.0, (100 / 450, 1.0), id="what is not known is believed"),
        pytest.param((100, 0), {A: 0, B: 1}, 1_000.0, (0.0, 1.0), id="a unit without weight"),
        pytest.param((100, 0), {A: 1, B: 0}, 1_000.0, (100 / 750, 0.0), id="one without weight and replicas"),
        pytest.param((0, 0), {A: 1, B: 0}, 1_000.0, (1.0, 0.0), id="no weights"),
        pytest.param((60, 40), {A: 1, B: 0}, None, (1.0, 0.0), id="the demand is not known"),
    ],
)
def test_the_share_that_each_unit_can_carry(
    base: tuple[int, int], serving: Mapping[str, int], demand: float | None, shares: tuple[float, float]
) -> None:
    """Too high a share overloads what is left of a unit; too low a one wastes replicas that are paid."""
    found = availability(_application(), dict(zip((A, B), base, strict=True)), serving, demand)
    assert found == {A: pytest.approx(shares[0]), B: pytest.approx(shares[1])}


def _targets(*weights: int, port: int = 80) -> tuple[Target, ...]:
    return tuple(Target(name, port, weight) for name, weight in zip((A, B, "c"), weights, strict=False))


@pytest.mark.parametrize(
    ("present", "wanted", "near", "same"),
    [
        pytest.param(_targets(40, 60), _targets(44, 56), True, True, id="a tenth of the new share"),
        pytest.param(_targets(44, 56), _targets(40, 60), True, True, id="just a tenth of the new share"),
        pytest.param(_targets(45, 55), _targets(40, 60), False, True, id="more"),
        pytest.param(_targets(5, 95), _targets(6, 94), True, True, id="one point of a small share"),
        pytest.param(_targets(5, 95), _targets(7, 93), False, True, id="two points of it"),
        pytest.param(_targets(1, 199), _targets(2, 198), True, True, id="half a point"),
        pytest.param(_targets(1, 1, 198), _targets(0, 2, 198), False, False, id="half a point, but the last of it"),
        pytest.param(_targets(0, 2, 198), _targets(1, 1, 198), False, False, id="half a point, but the first of it"),
        pytest.param(_targets(50, 50), _targets(1, 1), True, True, id="other sums"),
        pytest.param(_targets(50, 50), _targets(50, 50)[::-1], True, True, id="another order"),
        pytest.param(_targets(50, 50), _targets(50, 50, port=81), False, False, id="another port: another target group"),
        pytest.param(_targets(50, 50), _targets(50, 50, 0), False, False, id="one more"),
        pytest.param(_targets(50, 50, 0), _targets(50, 50), False, False, id="one fewer"),
        pytest.param(_targets(0, 0), _targets(0, 0), True, True, id="no weights at all"),
    ],
)
def test_actions_that_are_close(present: tuple[Target, ...], wanted: tuple[Target, ...], *, near: bool, same: bool) -> None:
    """A wrong yes keeps weights that overload a unit or leaves it out; a wrong no reconciles the load balancer for nothing."""
    assert close(present, wanted) is near
    assert alike(present, wanted) is same


def _shown(seen: Verification | None, **changes: object) -> Snapshot:
    return replace(snapshot(_application()), routing=replace(routing(verification=seen), **changes))  # type: ignore[arg-type]


COUNTED = Verification(Verdict.YES, NOW, healthy={A: 3}, counted={A: 1, B: 2})


@pytest.mark.parametrize(
    ("seen", "healthy"),
    [
        pytest.param(replace(COUNTED, at=NOW - 180), {A: 3}, id="three minutes old"),
        pytest.param(replace(COUNTED, at=NOW - 181), {}, id="older"),
        pytest.param(replace(COUNTED, at=NOW + 180), {A: 3}, id="by a clock that is before ours"),
        pytest.param(replace(COUNTED, at=NOW + 181), {}, id="too far before"),
        pytest.param(replace(COUNTED, healthy_at=NOW - 181), {}, id="counted earlier than verified"),
        pytest.param(replace(COUNTED, at=NOW - 999, healthy_at=NOW - 180), {A: 3}, id="the count is what ages"),
        pytest.param(replace(COUNTED, at=NOW - 600, healthy_for_s=600.0), {A: 3}, id="audits are rare"),
        pytest.param(replace(COUNTED, at=NOW - 601, healthy_for_s=600.0), {}, id="rarer than that"),
        pytest.param(replace(COUNTED, at=NOW - 180, healthy_for_s=10.0), {A: 3}, id="never less than three minutes"),
        pytest.param(None, {}, id="never verified"),
    ],
)
def test_how_long_a_count_of_targets_lasts(seen: Verification | None, healthy: Mapping[str, int]) -> None:
    """An old count sends requests to targets that have failed since, or keeps a unit empty whose targets have recovered."""
    assert healthy_targets(_shown(seen)) == healthy


def test_the_last_count_and_open_gates() -> None:
    """A mode change may need a count that is old: without it, all traffic might go to a Service that has no target."""
    assert known_targets(_shown(COUNTED), {A: 3}) == {A: 3, B: 2}
    assert known_targets(_shown(None), {}) == {}
    gates = {A: OpenGates(5, 1), "c": OpenGates(4, 2)}
    assert known_targets(_shown(COUNTED, gates=gates), {}) == {A: 2, B: 2, "c": 4}
    assert healthy_targets(_shown(COUNTED, gates=gates)) == {A: 4, "c": 4}


GROUPED = Verification(
    Verdict.YES, NOW, healthy={A: 3, B: 1}, counted={A: 3, B: 1, "c": 7}, groups={A: ("arn:a",), B: ("arn:b", "arn:b2")}, ill_since={B: NOW}
)


@pytest.mark.parametrize(
    ("bound", "gone"),
    [
        pytest.param({A: frozenset({"arn:a"}), B: frozenset({"arn:b", "arn:b2"})}, set(), id="as they were"),
        pytest.param({A: frozenset({"arn:a", "arn:new"}), B: frozenset({"arn:b", "arn:b2"})}, set(), id="one more"),
        pytest.param({A: frozenset({"arn:a"}), B: frozenset({"arn:b"})}, {B}, id="one of two was deleted"),
        pytest.param({A: frozenset({"arn:new"}), B: frozenset({"arn:b", "arn:b2"})}, {A}, id="one was made again"),
        pytest.param({A: frozenset({"arn:a"})}, {B}, id="a Service has none"),
        pytest.param({}, {A, B}, id="no Service has any"),
    ],
)
def test_counts_of_target_groups_that_are_gone(bound: Mapping[str, frozenset[str]], gone: set[str]) -> None:
    """The targets of a group that was made again are not registered yet: with the old count all traffic would go to none."""
    kept = {name: count for name, count in GROUPED.counted.items() if name not in gone}
    healthy = {name: count for name, count in GROUPED.healthy.items() if name not in gone}
    assert of_these_groups(GROUPED, bound) == replace(GROUPED, counted=kept, healthy=healthy, groups={})


def test_counts_stay_where_the_target_groups_are_not_known() -> None:
    """Nothing was verified, nobody saw the groups, or nobody can say which exist: that deletes no count."""
    assert of_these_groups(None, {}) is None
    assert of_these_groups(GROUPED, None) is GROUPED
    ungrouped = replace(GROUPED, groups={})
    assert of_these_groups(ungrouped, {}) is ungrouped


def test_a_service_is_ill_since_it_was_first_seen_so() -> None:
    """The alert counts from there: a later beginning would delay it for ever, an earlier one would page for a new replica."""
    before = Verification(Verdict.YES, NOW - 60, healthy={A: 0}, ill_since={A: NOW - 60})
    seen = with_known_health(Verification(Verdict.YES, NOW, healthy={A: 0, B: 0}, ill_since={A: NOW, B: NOW}), before)
    assert seen.ill_since == {A: NOW - 60, B: NOW}


@pytest.mark.parametrize(
    ("seen", "serving"),
    [
        pytest.param(None, {A: 2, B: 2}, id="the load balancer was never read"),
        pytest.param(Verification(Verdict.NOT_YET, NOW), {A: 2, B: 0}, id="another rule is live: B keeps no weight until it is counted"),
        pytest.param(Verification(Verdict.NOT_YET, NOW, healthy={B: 1}), {A: 2, B: 1}, id="it was counted"),
        pytest.param(Verification(Verdict.NOT_YET, NOW, applied=True), {A: 2, B: 2}, id="the rule is live, its targets are not"),
        pytest.param(Verification(Verdict.CANNOT_TELL, NOW), {A: 2, B: 2}, id="nobody can tell"),
        pytest.param(Verification(Verdict.YES, NOW, healthy={A: 1, B: 9}), {A: 1, B: 2}, id="the smaller of ready and healthy"),
    ],
)
def test_what_serves_while_a_rule_is_late(seen: Verification | None, serving: Mapping[str, int]) -> None:
    """A weight that comes back without a count may be taken again in the next pass, over and over."""
    made = _shown(seen, targets=_targets(100, 0))
    assert serving_replicas(made, healthy_targets(made)) == serving
    unknown = change(made, A, ready=None)
    counts = seen.healthy if seen is not None else {}
    assert serving_replicas(unknown, counts).get(A) == counts.get(A)
