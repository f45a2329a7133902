"""Asks EC2 for capacity reservations that nobody keeps: the only request that says at once whether an instance can be had.

A reservation of one instance is made and cancelled right behind that. It is *targeted*, so that no launch uses it by itself, and it has a
tag of its own, by which the leader finds and cancels what a call or a process that ended in between has left. EC2 ends it as well, within
an hour of its end date. Nothing is asked but what the last decision of an application names, once a minute.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from controller.clients.aws import why_forbidden
from controller.clock import Clock
from controller.errors import Forbidden, NotFound, RemoteError
from controller.foreign import shown
from controller.policy.model import Offerings, ProbeAnswer, ReturnProbe, Source, Unit
from controller.signals.aws_calls import AwsCalls, Clients
from controller.signals.budget import CallBudget

TAG: Final = "failoverctl/probe"
"""The tag of every reservation that is made here. Its value is the installation: several in one account leave each other's alone."""

PROBE_S: Final = 60.0
"""Time between two rounds for the same offerings, seconds. Karpenter asks every 180 s."""

MOST_GRANTS: Final = 6
"""The most reservations that EC2 may make of the same offerings in an hour: then the canary asks. Each is billed by the second, at the
on-demand price; counted as the minute that EC2 bills for an instance at least, six are a tenth of one replica's hour."""

_HOUR_S: Final = 3600.0
_ENDS_S: Final = 300.0  # after that EC2 may end it; it does within an hour
_SWEEP_S: Final = 300.0
_FRESH_S: Final = 600.0
_CALLS_PER_S: Final = 1.0  # of all applications together: EC2's own bucket of calls that change something refills 5 a second
_BURST: Final = 24.0
_REFUSED: Final = "InsufficientInstanceCapacity"
_NOT_SOLD: Final = frozenset({"Unsupported", "InvalidInstanceType", "InvalidAvailabilityZone"})
_ENDED: Final = frozenset({"cancelled", "expired", "failed"})

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Rounds:
    """The rounds of the same offerings."""

    due: float = -math.inf
    wanted: float = 0.0  # when a decision named them last, monotonic
    answer: ProbeAnswer | None = None
    granted: deque[float] = field(default_factory=deque)  # monotonic, within an hour


class ReservationProbe:
    """Asks, answers, and cancels what it or an earlier leader has left. Threads may share it; call `poll` from one at a time.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        installation: The value of the tag: the namespace that the controller's state is in.
        budget: Budget of calls; None: a new one.
    """

    def __init__(self, clients: Clients, clock: Clock, installation: str, budget: CallBudget | None = None) -> None:
        self._clock, self._installation = clock, installation
        self._budget = budget or CallBudget(_CALLS_PER_S, _BURST, clock)
        self._calls = AwsCalls(clients, self._budget)
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], Offerings] = {}
        self._rounds: dict[Offerings, _Rounds] = {}
        self._swept_at, self._again_at, self._uncertain = -math.inf, -math.inf, False
        self._last_ok: float | None = None
        self._problem, self._absent = "", False

    def ask(self, application: str, probes: Mapping[str, Offerings]) -> None:
        """Notes the offerings that an application's last decision names, by unit. They are due as long as decisions go on to name them."""
        now = self._clock.monotonic()
        with self._lock:
            for unit, offerings in probes.items():
                self._asked[application, unit] = offerings
                self._rounds.setdefault(offerings, _Rounds()).wanted = now

    def answer(self, application: str, unit: str) -> ProbeAnswer | None:
        """EC2's last answer for a unit; None where there is none, or none within an hour."""
        with self._lock:
            rounds = self._rounds.get(self._asked.get((application, unit), ()))
            return None if rounds is None else rounds.answer

    def source(self) -> Source:
        """How fresh the answers are; absent while EC2 does not allow the calls."""
        with self._lock:
            return Source("probes", required=False, last_ok=self._last_ok, budget_s=_FRESH_S, absent=self._absent, problem=self._problem)

    def poll(self, units: Iterable[Unit]) -> frozenset[str]:
        """Cancels what is left, and asks what is due. Never raises; while what is left cannot be cancelled, nothing is asked.

        Args:
            units: All deployment units.

        Returns:
            The applications that have a new answer.
        """
        now, needed, answered = self._clock.monotonic(), any(map(probed, units)), set[Offerings]()
        with self._lock:
            self._rounds = {one: rounds for one, rounds in self._rounds.items() if now - rounds.wanted <= _HOUR_S}
            self._asked = {key: one for key, one in self._asked.items() if one in self._rounds}
            due = [one for one, rounds in self._rounds.items() if now - rounds.wanted <= PROBE_S and self._is_due(rounds, now)]
        if now < self._again_at or not (needed or self._uncertain):
            return frozenset()
        try:
            if self._uncertain or now - self._swept_at >= _SWEEP_S:
                self._sweep(now)
            answered |= {offerings for offerings in due if self._round(offerings, now)}
        except RemoteError as error:
            with self._lock:
                self._absent, self._problem = isinstance(error, Forbidden), _reason(error)
            self._again_at = now + PROBE_S
            log.warning("probe.failed", why=self._problem)
        else:
            with self._lock:
                self._absent, self._problem, self._last_ok = False, "", self._clock.now()
        with self._lock:
            return frozenset(application for (application, _), offerings in self._asked.items() if offerings in answered)

    def _is_due(self, rounds: _Rounds, now: float) -> bool:
        while rounds.granted and now - rounds.granted[0] > _HOUR_S:
            rounds.granted.popleft()
        return now >= rounds.due and len(rounds.granted) < MOST_GRANTS

    def _round(self, offerings: Offerings, now: float) -> bool:
        """Asks for one offering after the other until EC2 makes a reservation. It refuses the round if it refuses each that it sells.

        Returns:
            Whether it did one or the other.

        Raises:
            RemoteError: Something else went wrong: nothing is known then.
        """
        if not self._budget.take(len(offerings)):
            return False
        with self._lock:
            self._rounds[offerings].due = now + PROBE_S
        at, refused = self._clock.now(), False
        for instance_type, zone in offerings:
            asked_at = self._clock.now()
            made = self._made(instance_type, zone)
            if made is None:
                continue
            if made:
                self._answered(offerings, ProbeAnswer(asked_at, instance_type, zone), now)
                return True
            refused = True
        if refused:
            self._answered(offerings, ProbeAnswer(at), now)
        return refused

    def _answered(self, offerings: Offerings, answer: ProbeAnswer, now: float) -> None:
        with self._lock:
            rounds = self._rounds[offerings]
            rounds.answer = answer
            if answer.granted:
                rounds.granted.append(now)
        log.info("probe.answered", answer=answer.words, offerings=len(offerings))

    def _made(self, instance_type: str, zone: str) -> bool | None:
        """Makes a reservation and cancels it.

        Returns:
            Whether EC2 made it; None where it does not sell that.

        Raises:
            RemoteError: EC2 neither made nor refused it, or it could not be cancelled: what is left is swept next.
        """
        self._uncertain = True
        try:
            made = self._calls.call("ec2", "CreateCapacityReservation", self._wanted(instance_type, zone))
        except RemoteError as error:
            self._uncertain = error.code not in {_REFUSED, *_NOT_SOLD}
            if self._uncertain:
                raise
            return False if error.code == _REFUSED else None
        reservation = made.get("CapacityReservation")
        known = reservation if isinstance(reservation, dict) else {}
        self._uncertain = not self._cancel(str(known.get("CapacityReservationId") or ""))
        return known.get("State") not in _ENDED

    def _wanted(self, instance_type: str, zone: str) -> dict[str, Any]:
        """The arguments of a request for a reservation."""
        return {
            "ClientToken": str(uuid.uuid4()),
            "InstanceType": instance_type,
            "InstancePlatform": "Linux/UNIX",
            "AvailabilityZone": zone,
            "InstanceCount": 1,
            "InstanceMatchCriteria": "targeted",
            "EndDateType": "limited",
            "EndDate": datetime.fromtimestamp(math.ceil(self._clock.now() + _ENDS_S), UTC),
            "TagSpecifications": [{"ResourceType": "capacity-reservation", "Tags": [{"Key": TAG, "Value": self._installation}]}],
        }

    def _sweep(self, now: float) -> None:
        """Cancels every reservation that carries the tag of this installation.

        Raises:
            RemoteError: They could not be listed, or one not cancelled.
        """
        filters = [{"Name": f"tag:{TAG}", "Values": [self._installation]}, {"Name": "state", "Values": ["active", "pending"]}]
        for one in self._calls.pages("DescribeCapacityReservations", "CapacityReservations", {"Filters": filters}):
            log.warning("probe.left", reservation=shown(str(one.get("CapacityReservationId"))))
            self._cancel(str(one.get("CapacityReservationId") or ""))
        self._swept_at, self._uncertain = now, False

    def _cancel(self, reservation: str) -> bool:
        """Cancels one.

        Returns:
            False where EC2 does not know it: it has ended, or it is so new that EC2 does not know it everywhere.

        Raises:
            RemoteError: It could not be cancelled.
        """
        try:
            self._calls.call("ec2", "CancelCapacityReservation", {"CapacityReservationId": reservation})
        except NotFound:
            return False
        return True


def probed(unit: Unit) -> bool:
    """Whether EC2 may be asked for a reservation for a unit."""
    return unit.probe is ReturnProbe.RESERVATION


def _reason(error: RemoteError) -> str:
    if isinstance(error, Forbidden):
        return why_forbidden(error, "ec2:CreateCapacityReservation, ec2:CancelCapacityReservation and ec2:CreateTags")
    return shown(str(error))
