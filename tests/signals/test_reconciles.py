"""What the load-balancer controller's events say of an Ingress."""

from __future__ import annotations

from typing import Any

import pytest

from controller.clients.kube import EVENTS
from controller.clock import format_rfc3339
from controller.policy.model import Route
from controller.signals.cluster import ClusterView
from controller.signals.reconciles import BELIEVED_S, ReconcileView
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW, application

MESSAGE = "Failed build model due to ingress: other/broken: failed to parse json annotation"


def event(reason: str = "FailedBuildModel", at: float = NOW, version: int = 7, uid: str = "uid-1", **changes: Any) -> dict[str, Any]:
    """An event of the load-balancer controller on our Ingress."""
    return {
        "metadata": {"name": "sd21.1", "namespace": "shop", "resourceVersion": str(version)},
        "involvedObject": {"kind": "Ingress", "namespace": "shop", "name": "sd21", "uid": uid},
        "reason": reason,
        "message": MESSAGE if reason.startswith("Failed") else "Successfully reconciled",
        "source": {"component": "ingress"},
        "lastTimestamp": format_rfc3339(at),
        **changes,
    }


def blocked(*events: dict[str, Any], now: float = NOW + 5, uid: str = "uid-1") -> str:
    """What is known after these."""
    view = ReconcileView()
    for one in events:
        view.event(one)
    return view.blocked((("Ingress", "shop", "sd21"),), uid, now)


@pytest.mark.parametrize(
    ("said", "passing"),
    [
        (
            'RequestError: send request failed caused by: Post "https://ec2.us-west-2.amazonaws.com/": dial tcp: i/o timeout',
            True,
        ),
        ("operation error EC2: DescribeSubnets, https response error StatusCode: 503, api error RequestLimitExceeded: Request limit", True),
        ("ingress: shop/sd21: operation error ACM: ListCertificates, exceeded maximum number of attempts, 3, ThrottlingException", True),
        ("ingress: other/broken: failed to parse json annotation, actions.x: dial tcp i/o timeout", False),  # a stranger's text
        ("ingress: other/broken: no certificate found for host: x.example", False),
        ("couldn't auto-discover subnets: unable to resolve at least one subnet", False),
    ],
)
def test_what_aws_did_not_answer_blocks_nothing(said: str, passing: bool) -> None:
    """The controller tries again, after up to 16 minutes, and at once with our next change: a failover waited for both."""
    view, message = ReconcileView(), f"Failed build model due to {said}"
    view.event(event(message=message))
    found = [seen((("Ingress", "shop", "sd21"),), "uid-1", NOW + 5) for seen in (view.blocked, view.undone)]
    assert found == (["", message] if passing else [message, ""])


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([event()], MESSAGE, id="failed"),
        pytest.param([event(), event("SuccessfullyReconciled", NOW + 1, 8)], "", id="fixed"),
        pytest.param([event("SuccessfullyReconciled", NOW + 1, 8), event()], "", id="a list is in no order"),
        pytest.param([event("SuccessfullyReconciled", NOW, 8), event()], "", id="of the same second: the later version"),
        pytest.param([event("SuccessfullyReconciled", NOW, 6), event()], MESSAGE, id="of the same second: the later version failed"),
        pytest.param([event(), event("FailedDeployModel", NOW + 1, 8)], "", id="it was read, AWS refused"),
        pytest.param([event(), event("Synced", NOW + 1, 8)], MESSAGE, id="somebody else's event"),
        pytest.param([event(uid="")], MESSAGE, id="without a uid"),
        pytest.param([event(uid="of-a-namesake")], "", id="of an Ingress that was deleted"),
        pytest.param([event(lastTimestamp=None, metadata={}, series={"lastObservedTime": "x"})], "", id="without a time"),
        pytest.param([event(lastTimestamp=None, eventTime=format_rfc3339(NOW))], MESSAGE, id="of the newer events API"),
        pytest.param([{"reason": "FailedBuildModel", "involvedObject": 7}], "", id="of no shape"),
    ],
)
def test_whether_changes_are_blocked(events: list[dict[str, Any]], expected: str) -> None:
    """The last attempt counts."""
    assert blocked(*events) == expected


@pytest.mark.parametrize(
    ("failing_s", "believed_s"),
    [pytest.param(0, 120, id="once"), pytest.param(60, 240, id="for a minute"), pytest.param(900, BELIEVED_S, id="for long")],
)
def test_a_failure_that_is_not_repeated_in_time_is_over(failing_s: float, believed_s: float) -> None:
    """It waits about as long as it has been failing, 17 minutes at most. The success may be lost, and must not block switches for long."""
    one = event(firstTimestamp=format_rfc3339(NOW - failing_s))
    assert blocked(one, now=NOW + believed_s - 1) == MESSAGE
    assert blocked(one, now=NOW + believed_s + 1) == ""


def test_failures_in_other_words_are_one_failure_and_a_success_ends_it() -> None:
    """A message with the number of a request makes another event of each attempt; one in the same words says when it was first said."""
    first, last = event(at=NOW - 400), event(version=9, message="in other words")
    fixed = event("SuccessfullyReconciled", NOW - 300, 8)
    again = event(at=NOW - 280, version=9, firstTimestamp=format_rfc3339(NOW - 9000))
    assert blocked(first, last, now=NOW + 900) == "in other words"
    assert blocked(first, fixed, again, now=NOW) == ""
    assert blocked(first, again, now=NOW) == MESSAGE


def test_what_aws_refused_is_kept_apart() -> None:
    """Throttling is no reason to refuse a mode change: a change makes the controller try again at once."""
    view = ReconcileView()
    view.event(event("FailedDeployModel"))
    assert view.undone((("Ingress", "shop", "sd21"),), "uid-1", NOW) == MESSAGE
    assert view.blocked((("Ingress", "shop", "sd21"),), "uid-1", NOW) == ""


def test_the_view_wakes_only_the_application_concerned() -> None:
    """Events of other Ingresses of the namespace wake nobody."""
    clock = ManualClock(NOW)
    view = ClusterView(clock, lambda: None)
    mine, other = application(), application(route=Route("other", "live"))
    view.changed(EVENTS, "shop", "ADDED", event())
    assert view.dirty.take([mine, other]) == [mine]
    view.changed(EVENTS, "shop", "MODIFIED", event())
    assert view.dirty.take([mine, other]) == [], "the same once more is no news"
