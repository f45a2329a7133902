"""What an alert becomes in a message: its reason comes from a field, not from its key."""

from __future__ import annotations

import pytest

from controller.policy.model import Alert, Mode
from controller.policy.reasons import Reason
from controller.ports import MessageKind
from controller.service.messages import alert_changes
from tests.support.applications import snapshot


@pytest.mark.parametrize(
    ("alert", "reason", "subject"),
    [
        (Alert("held/Dwell", "warning", "words", Reason.DWELL), "Dwell", "Dwell"),
        (Alert("any key", "warning", "words", Reason.PAUSED), "Paused", "Paused"),
        (Alert("max/sd21-inf2", "warning", "words"), "MaxSd21Inf2", "max sd21-inf2"),
        (Alert("unverified", "critical", "words"), "Unverified", "unverified"),
    ],
)
def test_the_reason_and_the_title_of_an_alert(alert: Alert, reason: str, subject: str) -> None:
    """Slack, Events and CloudWatch group by the reason; people read the title."""
    made = snapshot()
    on, (came,) = alert_changes(made, {}, [alert], Mode.COST)
    assert (came.kind, came.reason, came.title) == (MessageKind.ALERT, reason, f"sd21: alert: {subject}")
    assert came.dedup_key == f"{made.application.key}/{alert.key}"
    _, (went,) = alert_changes(made, on, [], Mode.COST)
    assert (went.kind, went.reason, went.title) == (MessageKind.RESOLVED, reason, f"sd21: resolved: {subject}")
