"""A drill's plan, and a page that answers its requests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from failover_setup.drill.plan import Limits, Plan
from failover_testbed.page import page as served

KEY = "default/sd21"
ROLE = "arn:aws:iam::123456789012:role/karpenter"
ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")


def plan(**changes: Any) -> Plan:
    """A drill of five minutes in every zone."""
    limits = Limits(failover_s=300, return_s=2400, failed=0.01, latency_s=60)
    given: dict[str, Any] = {
        "application": KEY,
        "karpenter_role": ROLE,
        "fis_role": "arn:aws:iam::123456789012:role/fis",
        "zones": ZONES,
        "percentage": 100,
        "duration_s": 300,
        "stop_alarms": (),
        "rate": 1,
        "limits": limits,
    }
    return Plan(**given | changes)


def page() -> AbstractContextManager[str]:
    """The URL of a page on loopback, whose path `/fails` fails."""
    return served(lambda path: 500 if path == "/fails" else 200)
