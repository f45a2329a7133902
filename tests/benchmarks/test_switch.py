"""How the benchmark of mode changes evaluates records: the cause of failed requests, and floors lowered early."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.switch.drivers import Death, Order
from benchmarks.switch.history import histories
from benchmarks.switch.requests import outcomes, windows
from controller.policy.model import Memory, Mode, Target
from controller.recording.stored import encode
from controller.routing.annotations import MARKER, NUDGED_AT
from controller.routing.ingress.action import format_action
from controller.routing.names import action_key
from controller.service.store import record_name
from failover_harness.dataplane.cluster import CONTROLLER_USER
from failover_harness.dataplane.load import Record, Stream, rate
from failover_testbed.kube_api.auth import Access, AuditRecord
from failover_testbed.lbc.elb_calls import Write
from tests.support.applications import application

APPLICATION = application()
KEY = APPLICATION.key
CAPACITY = [Target(APPLICATION.capacity.service, 80, 1)]
COST = [Target(unit.backend.service, unit.backend.port, unit.weight or 0) for unit in APPLICATION.units]


def request(
    start: float, end: float, status: int = 200, target: str = "127.2.0.9:8000", stream: str = KEY, due: float | None = None
) -> Record:
    """One request."""
    return Record(stream, 0, start if due is None else due, start, end, status, "unit" if status == 200 else "", target, "")


def test_a_failure_is_laid_to_a_death_only_if_it_was_sent_there() -> None:
    """Failures at other pods or before the crash are the controller's; requests in flight at a changed rule are counted."""
    died = [Death(KEY, "127.2.0.9", 100.0)]
    records = [
        request(99, 100.5, 502),
        request(98, 99.5, 502),
        request(101, 102, 502, target="127.2.0.8:8000"),
        request(103, 103.1, 503, target=""),
        request(105, 106),
    ]
    found = outcomes(records, died, {KEY: [101.5]})[KEY]
    assert (found.requests, found.failed, found.by_death, found.unexplained, found.in_flight) == (5, 4, 1, 3, 1)
    assert found.kinds == {"502": 3, "503": 1}


def test_a_naive_mode_change_costs_what_failed_until_the_next() -> None:
    """The window spans the load balancer's own 503s; requests that had reached a target were cut."""
    orders = [Order(KEY, Mode.CAPACITY, 100.0), Order(KEY, Mode.COST, 200.0), Order("other/x", Mode.COST, 101.0)]
    records = [request(100, 101, 503), request(100, 104, 503), request(100, 105, 502), request(199, 201, 502), request(150, 151)]
    first, second = windows(orders, KEY, records)
    assert (first.failed, first.length_s, first.cut, first.first_s) == (3, 3.0, 1, 1.0)
    assert (second.failed, second.length_s, second.cut) == (1, 0.0, 1)


def test_a_rate_that_was_not_reached_is_not_valid() -> None:
    """Nor is one that was sent late."""
    streams = [Stream("a", "http://x", 10.0)]
    assert rate([request(n / 10, n / 10) for n in range(100)], streams, 10.0).valid
    assert not rate([request(n / 10, n / 10) for n in range(90)], streams, 10.0).valid
    assert not rate([request(n / 10 + 2, n / 10 + 2, due=n / 10) for n in range(100)], streams, 10.0).valid


# --- what the controller did ------------------------------------------------------------------------------------------------------------


def audit(at: float, resource: str, name: str, body: Any, verb: str = "patch", user: str = CONTROLLER_USER) -> AuditRecord:
    """One accepted request."""
    namespace = "failover-system" if resource == "configmaps" else APPLICATION.namespace
    return AuditRecord(at, user, Access(verb, "", resource, "", namespace, name), "", "", json.dumps(body).encode(), 200)


def routed(at: float, mode: Mode, *, stickiness_s: int = 0, nudged: bool = False, weights: list[Target] | None = None) -> AuditRecord:
    """The controller writes the action."""
    targets = weights or (CAPACITY if mode is Mode.CAPACITY else COST)
    annotations = {action_key(APPLICATION.route.part): format_action(targets, stickiness_s), MARKER: str(mode)}
    annotations |= {NUDGED_AT: "1"} if nudged else {}
    return audit(at, "ingresses", APPLICATION.route.name, {"metadata": {"annotations": annotations}})


def target(at: float, value: float) -> AuditRecord:
    """The controller writes a KEDA target of the first unit, whose throughput is 105."""
    return audit(at, "scaledobjects", str(APPLICATION.units[0].scaled_object), [{"op": "replace", "path": "/x", "value": str(value)}])


def remembered(changed_at: float, verified_at: float | None) -> AuditRecord:
    """The controller saves its memory."""
    memory = Memory(mode=Mode.CAPACITY, changed_at=changed_at, verified_at=verified_at)
    body = {"metadata": {"name": record_name(KEY)}, "data": {"memory": encode(memory)}}
    return audit(changed_at, "configmaps", record_name(KEY), body, verb="update")


def modified(at: float, *, lost: bool = False, late_s: float = 0.0) -> Write:
    """A ModifyRule at ELBv2."""
    return Write("ModifyRule", "", 0.5, at, (("sd21-all", 1),), lost=lost, late_s=late_s)


def test_a_mode_change_is_read_from_the_decision_to_the_verification() -> None:
    """It begins with the raised floors; a lost ModifyRule does not count, a late one counts from its effect."""
    records = [target(99.9, 90), routed(100, Mode.CAPACITY), remembered(100.1, None), remembered(100.1, 107.0)]
    writes = [modified(101, lost=True), modified(102, late_s=3.0)]
    (change,) = histories([APPLICATION], records, {APPLICATION.namespace: writes})[KEY].mode_changes
    assert (change.mode, change.decided_at, change.routed_at, change.modified_at, change.verified_at) == (
        Mode.CAPACITY,
        99.9,
        100,
        105.0,
        107.0,
    )


def test_what_others_wrote_or_was_refused_is_left_out() -> None:
    """The audit log contains the requests of all users."""
    foreign = audit(100, "ingresses", APPLICATION.route.name, {"metadata": {"annotations": {MARKER: "capacity"}}}, user="admin")
    assert histories([APPLICATION], [foreign], {})[KEY].mode_changes == []


def test_a_nudge_and_new_weights_are_no_mode_changes() -> None:
    """They have their own counts."""
    changed = [Target(one.service, one.port, one.weight + 1) for one in COST]
    records = [
        routed(100, Mode.CAPACITY),
        routed(220, Mode.CAPACITY, nudged=True),
        routed(300, Mode.COST),
        routed(310, Mode.COST, weights=changed),
    ]
    found = histories([APPLICATION], records, {})[KEY]
    assert (len(found.mode_changes), found.nudges, found.reweights) == (2, [220], 1)


@pytest.mark.parametrize(
    ("at", "writes", "stickiness_s", "early"),
    [
        (250, [modified(101)], 0, False),
        (250, [], 0, True),
        (250, [modified(101, lost=True)], 0, True),
        (250, [modified(101, late_s=200.0)], 0, True),
        (250, [modified(101)], 200, True),
        (302, [modified(101)], 200, False),
    ],
    ids=["shown", "never", "lost", "late", "sticky", "drained"],
)
def test_what_is_lowered_before_its_time_is_early(at: float, writes: list[Write], stickiness_s: int, *, early: bool) -> None:
    """Lowering is due once ELBv2 shows the mode change and the sticky clients of the previous targets have left."""
    records = [routed(10, Mode.COST, stickiness_s=stickiness_s), routed(100, Mode.CAPACITY), target(at, 200)]
    (lowered,) = histories([APPLICATION], records, {APPLICATION.namespace: writes})[KEY].lowered
    assert lowered.early is early
