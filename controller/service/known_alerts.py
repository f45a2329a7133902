"""The alerts of one application that people know of, stored beside its memory: the next leader can tell them of the end of one."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from controller.clock import Clock
from controller.foreign import shown
from controller.objects import text
from controller.policy.alert_kinds import of_key
from controller.policy.model import Alert
from controller.ports import EMPTY, Severity
from controller.service.application_status import json_object

ALERTS_SOONEST_S: Final = 5.0
"""Shortest time between two writes that only the alerts need, seconds: a process that dies before cannot leave them to the next leader."""
ALERTS_S: Final = 0.1
"""The same for each application of the fleet, seconds: where all differ, a thousand write 10 a second."""
ALERTS: Final = "alerts"
"""The key of them beside the memory."""
_MAX_ALERTS: Final = 100
_MAX_ALERT: Final = 1000  # characters
_SEVERITIES: Final = frozenset(str(one) for one in Severity)


def alerts_text(alerts: Iterable[Alert]) -> str:
    """Alerts as JSON, for `stored_alerts`."""
    return json.dumps({one.key: {"severity": one.severity, "text": one.text} for one in alerts})


def stored_alerts(stored: str) -> tuple[Alert, ...]:
    """The alerts that people knew of when the memory was stored. What is not understood is left out.

    Args:
        stored: See `alerts_text`; "" for none.
    """
    known = json_object(stored) or {}
    return tuple(
        Alert(*row, shown(text(one, "text"), _MAX_ALERT), severity)
        for key, one in list(known.items())[:_MAX_ALERTS]
        if isinstance(one, dict) and (severity := text(one, "severity")) in _SEVERITIES and (row := of_key(shown(key)))
    )


class KnownAlerts:
    """The alerts that people know of, and when they are worth a write without the memory. Every write of the memory carries them anyway.

    They wait the longer the larger the fleet is, so that the writes stay few at any size.

    Args:
        application: The application's key.
        clock: The clock.
        fleet: The number of applications.
    """

    def __init__(self, application: str, clock: Clock, fleet: Callable[[], int]) -> None:
        self._clock, self._fleet = clock, fleet
        self._moment = zlib.crc32(application.encode()) % 1024 / 1024  # its own, so that not all write at once
        self._latest: Mapping[str, Alert] | None = None
        self._stored: tuple[str, ...] = ()
        self._tried_at = -math.inf  # monotonic

    def know(self, alerts: Iterable[Alert]) -> None:
        """Replaces them."""
        self._latest = {alert.key: alert for alert in alerts}

    def due(self) -> bool:
        """Whether they are worth a write although the memory has not changed."""
        if self._latest is None or self._keys() == self._stored:
            return False
        waited_s = self._clock.monotonic() - self._tried_at
        return waited_s >= max(ALERTS_SOONEST_S, ALERTS_S * self._fleet() * (0.75 + self._moment / 2))

    def texts(self) -> Mapping[str, str]:
        """What is stored beside the memory, by key."""
        return EMPTY if self._latest is None else {ALERTS: alerts_text(self._latest.values())}

    def tried(self, *, written: bool) -> None:
        """Notes that they were sent.

        Args:
            written: Whether they are stored for certain.
        """
        self._tried_at = self._clock.monotonic()
        if written:
            self._stored = self._keys()

    def _keys(self) -> tuple[str, ...]:
        return tuple(sorted(self._latest or ()))
