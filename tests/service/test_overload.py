"""The message that the budget of ELBv2 calls is too small."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

from controller.ports import Message, MessageKind
from controller.service.telemetry import Telemetry
from controller.service.wiring import Service
from controller.signals.load_balancer.turns import AGE_S, Load
from failover_testbed.clocks import ManualClock
from tests.support.applications import NOW


def test_a_fleet_at_the_limit_of_the_budget_makes_one_alert() -> None:
    """Each check takes another number of calls: the alert would come and go with them."""
    sent, cycle_s = list[Message](), 0.0
    service = SimpleNamespace(
        _external=SimpleNamespace(verify=lambda *_: False, load=lambda: Load(100, cycle_s / 100, 1.0)),
        _telemetry=Telemetry(),
        _clock=ManualClock(NOW),
        _stop=threading.Event(),
        _overloaded=False,
        controller=SimpleNamespace(applications=tuple, publish=sent.extend),
    )
    for share in (0.95, 1.01, 0.99, 1.01, 0.91, 1.01, 0.89, 0.95):
        cycle_s = share * AGE_S
        Service._verify(cast("Service", service))
    assert [one.kind for one in sent] == [MessageKind.ALERT, MessageKind.RESOLVED]
