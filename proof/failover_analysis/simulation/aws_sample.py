"""The AWS sample's own checker as an actor in the simulated world: what a user of the AWS sample runs instead of the controller.

It is an endless loop: query Karpenter's log of the last five minutes for the message of insufficient capacity, wait five seconds for the
answer, apply the Ingress and the ScaledObjects of capacity mode if there was a hit of any NodePool, sleep for five minutes. It returns to
those of cost mode at the start of the next day's load, and nothing proves that capacity has returned. It sets no floors.

Where the script leaves something open, the model favours it: a log line can be queried at once, applying takes no time, and permanent
standby rules keep the target groups, which the AWS sample does not have.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

from controller.policy.model import Mode
from failover_analysis.simulation.api import KubeApi
from failover_analysis.simulation.event_queue import EventQueue
from failover_analysis.simulation.fault_state import FaultState

SLEEP_S: Final = 300.0
"""Pause between two rounds, seconds."""
WINDOW_S: Final = 300.0
"""Window of the log query, which ends when the query starts, seconds."""
QUERY_WAIT_S: Final = 5.0
"""Shortest wait before the script fetches the answer, seconds."""
RETURN_S: Final = 86_400.0
"""From one return to the cost Ingress to the next, seconds: the start of a day's load. A run starts with one."""

_WRITER: Final = "kubectl-client-side-apply"


class Checker:
    """The loop, at a random moment of it when the run starts.

    Args:
        event_queue: Virtual time.
        api: The routing object.
        action: The routing action of a mode's manifest.
        targets: KEDA's target by unit in a mode's manifests.
        logged: Whether Karpenter has logged insufficient capacity since a time, seconds since the Unix epoch.
        fault_state: The faults in force.
        chance: A random stream of its own.
        changed: Called with the new mode and a sentence after it has applied an Ingress that differed.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        api: KubeApi,
        action: Callable[[Mode], str],
        targets: Callable[[Mode], Mapping[str, str]],
        logged: Callable[[float], bool],
        fault_state: FaultState,
        chance: random.Random,
        changed: Callable[[Mode, str], None],
    ) -> None:
        self._event_queue, self._api, self._action, self._targets = event_queue, api, action, targets
        self._logged, self._fault_state, self._changed = logged, fault_state, changed
        event_queue.after(chance.uniform(0.0, SLEEP_S + QUERY_WAIT_S), self._query)
        event_queue.every(RETURN_S, lambda: self._apply(Mode.COST, "a new day's load begins; nothing was checked"))

    def _query(self) -> None:
        hit = self._logged(self._event_queue.now - WINDOW_S)
        self._event_queue.after(QUERY_WAIT_S, lambda: self._answered(hit=hit))

    def _answered(self, *, hit: bool) -> None:
        if hit:
            self._apply(Mode.CAPACITY, "Karpenter's log of the last 5 min has insufficient capacity")
        self._event_queue.after(SLEEP_S, self._query)

    def _apply(self, mode: Mode, sentence: str) -> None:
        """Applies a mode's manifests. What fails is not tried again before the next round; what is in force already changes nothing."""
        api, action = self._api, self._action(mode)
        if self._fault_state.writes_fail:
            return
        for unit, target in self._targets(mode).items():
            scaler = api.scalers.get(unit)
            if scaler is not None and scaler.exists and scaler.target != target:
                scaler.target = target
                api.scaler_written(unit)
        if api.routing.observed.exists and api.routing.observed.action != action:
            api.routing.edit(action, _WRITER)
            self._changed(mode, sentence)
