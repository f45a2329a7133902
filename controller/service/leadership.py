"""Who may act: the only replica, or the one that holds the Lease."""

from __future__ import annotations

import math
import random
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from controller.clients.kube import LEASES, KubeSession
from controller.clock import Clock, format_rfc3339
from controller.errors import Conflict, Forbidden, NotFound, RemoteError
from controller.policy.plan import FIELD_MANAGER
from controller.ports import Leadership
from controller.service.election import Answer, Election, Failed, Found, Missing, Refused, Request, Timing, Verb, plausible

LEASE_NAME: Final = "failoverctl"

REQUEST_S: Final = 2.0
"""Deadline of one request for the Lease, seconds: two of them fit into a quarter of the lease duration."""
_SINGLE_LATEST: Final = 1_900_000_000
"""The latest first epoch of a process without election, as of March 2030: a clock that is decades ahead must not use up the count. A later
process begins here as well, and then one after the epoch that it finds stored."""
_OVERDUE_LEASES: Final = 3
_JOIN_S: Final = 5.0

log = structlog.get_logger(__name__)


class Elected(Leadership, Protocol):
    """A leadership that runs an election."""

    @property
    def identity(self) -> str:
        """This process's name among the candidates."""

    def start(self) -> None:
        """Joins the election."""

    def stop(self) -> None:
        """Leaves the election and lets another replica lead at once. Call it when nothing is in progress any more."""

    def holder(self) -> str:
        """The present leader as far as known; "" if there is none."""

    def leader(self) -> str:
        """The replica that leads as far as known; "" where the Lease has run out, or nobody holds it."""

    def problem(self) -> str:
        """Why this process should be restarted; "" if it should not."""

    def refusal(self) -> str:
        """Why this process can never lead as things are; "" if it can."""


class SingleReplica:
    """The only replica: for a demo, a dry run, or a cluster where something else ensures that there is only one.

    Args:
        clock: Its start time becomes the epoch, so that a later process always has a later one.
    """

    def __init__(self, clock: Clock) -> None:
        self._epoch = min(int(clock.now()), _SINGLE_LATEST)

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        return self._epoch

    def leads(self) -> bool:
        """See `controller.ports.Leadership.leads`."""
        return True

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership.confirm`."""
        return epoch == self._epoch and needed_s < math.inf

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership.outrank`."""
        self._epoch = max(self._epoch, epoch + 1 if plausible(epoch + 1) else 0)

    def start(self) -> None:
        """Does nothing."""

    def stop(self) -> None:
        """Does nothing."""

    @property
    def identity(self) -> str:
        """See `Elected.identity`."""
        return socket.gethostname()

    def holder(self) -> str:
        """This process."""
        return self.identity

    def leader(self) -> str:
        """This process."""
        return self.identity

    def problem(self) -> str:
        """Always "": it cannot get stuck."""
        return ""

    def refusal(self) -> str:
        """Always "": nobody can refuse it."""
        return ""


def make_identity() -> str:
    """A name that no other process ever has: a restarted pod must not take its predecessor's Lease for its own."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


def pod_of(identity: str) -> str:
    """The pod whose process has this identity."""
    return identity.rpartition("_")[0]


class LeaseLeadership:
    """Takes part in the election for one Lease, in a thread of its own.

    Args:
        session: Connection to the API server.
        namespace: The namespace of the Lease.
        timing: The times of the election.
        clock: The clock. Only its monotonic time counts.
        changed: Called when this replica begins or ceases to lead, or another holder appears; must not block.
        identity: The identity of this process; see `make_identity`.
    """

    def __init__(
        self,
        session: KubeSession,
        namespace: str,
        timing: Timing,
        clock: Clock,
        changed: Callable[[], None],
        identity: str | None = None,
    ) -> None:
        self._session, self._namespace, self._clock, self._changed = session, namespace, clock, changed
        self._timing = timing
        metadata = {"name": LEASE_NAME, "namespace": namespace, "labels": {"app.kubernetes.io/name": "failoverctl"}}
        stamp = lambda: format_rfc3339(clock.now(), fraction=True)  # noqa: E731
        self._election = Election(identity or make_identity(), metadata, timing, random.Random(), stamp)  # noqa: S311
        self._state = threading.Lock()  # the election's; held for moments
        self._requests = threading.Lock()  # one request at a time; held for `REQUEST_S` at most
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elector", daemon=True)
        self._reported = (False, "")
        self._last_turn = clock.monotonic()
        self._problem = self._refusal = ""

    @property
    def identity(self) -> str:
        """See `Elected.identity`."""
        return self._election.identity

    # --- Leadership ---------------------------------------------------------------------------------------------------------------------

    def epoch(self) -> int:
        """See `controller.ports.Leadership.epoch`."""
        with self._state:
            return self._election.epoch

    def leads(self) -> bool:
        """See `controller.ports.Leadership.leads`."""
        with self._state:
            return self._election.leads(self._clock.monotonic())

    def confirm(self, epoch: int, needed_s: float) -> bool:
        """See `controller.ports.Leadership.confirm`."""
        if self._trusted_s(epoch) > needed_s:
            return True
        with self._requests:
            if self._trusted_s(epoch) <= needed_s and self.leads():
                self._renew()
        return self._trusted_s(epoch) > needed_s

    def outrank(self, epoch: int) -> None:
        """See `controller.ports.Leadership.outrank`."""
        with self._requests:
            with self._state:
                self._election.outrank(epoch)
            if self.leads():
                self._renew()

    def holder(self) -> str:
        """The holder of the Lease as last seen; "" if there is none."""
        with self._state:
            return self._election.holder()

    def leader(self) -> str:
        """See `Elected.leader`: an answer of the API server may be long ago."""
        with self._state:
            return self._election.leader(self._clock.monotonic())

    def problem(self) -> str:
        """See `Elected.problem`. An unresponsive API server is no reason: a restart would not fix it."""
        age, limit = self._clock.monotonic() - self._last_turn, _OVERDUE_LEASES * self._timing.lease_s
        return f"the elector has not finished a round for {age:.0f} s, limit {limit:.0f} s" if age > limit else ""

    def refusal(self) -> str:
        """See `Elected.refusal`: the API server's error while it refuses requests for the Lease."""
        return self._refusal

    # --- life ---------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Joins the election."""
        log.info("election.started", identity=self._election.identity, lease=f"{self._namespace}/{LEASE_NAME}")
        self._thread.start()

    def stop(self) -> None:
        """Leaves the election; releases the Lease if it holds it, so that another replica takes over at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_JOIN_S)
        with self._requests:
            with self._state:
                request = self._election.release()
            if request is not None:
                answer = self._perform(request)
                log.info("election.released", done=isinstance(answer, Found))
        self._notice()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                wait = self._turn()
            except Exception:  # a bug must not end the only thread that can renew
                log.exception("election.failed")
                wait = self._timing.poll_s
            self._last_turn = self._clock.monotonic()
            self._clock.wait(self._stop, wait)

    def _turn(self) -> float:
        """Sends the request that is due, if any.

        Returns:
            Seconds until the next one may be due.
        """
        with self._requests:
            with self._state:
                due = self._election.next(self._clock.monotonic())
            if isinstance(due, Request) and not self._stop.is_set():
                self._perform(due)
                due = 0.0
        self._notice()
        return due if isinstance(due, float) else 0.0

    # --- inside -------------------------------------------------------------------------------------------------------------------------

    def _trusted_s(self, epoch: int) -> float:
        with self._state:
            return self._election.trusted_s(self._clock.monotonic()) if self._election.epoch == epoch else 0.0

    def _renew(self) -> None:
        with self._state:
            request = self._election.renewal()
        if request is not None:
            self._perform(request)

    def _perform(self, request: Request) -> Answer:
        sent = self._clock.monotonic()
        answer = self._send(request)
        with self._state:
            self._election.answered(request, sent, self._clock.monotonic(), answer)
        return answer

    def _send(self, request: Request) -> Answer:
        session, space = self._session, self._namespace
        try:
            if request.body is None:
                lease = session.get(LEASES, space, LEASE_NAME, deadline_s=REQUEST_S)
            elif request.verb is Verb.CREATE:
                lease = session.create(LEASES, space, request.body, field_manager=FIELD_MANAGER, deadline_s=REQUEST_S)
            else:
                lease = session.replace(LEASES, space, LEASE_NAME, request.body, field_manager=FIELD_MANAGER, deadline_s=REQUEST_S)
        except NotFound:
            return Missing()
        except Conflict:
            return Refused()
        except RemoteError as error:
            if str(error) != self._problem:
                log.warning("election.no_answer", error=str(error))
            self._problem = str(error)
            self._refusal = str(error) if isinstance(error, Forbidden) else ""
            return Failed()
        self._problem = self._refusal = ""
        return Found(lease)

    def _notice(self) -> None:
        """Reports each change once."""
        leads, holder = self.leads(), self.holder()
        if (leads, holder) == self._reported:
            return
        self._reported = (leads, holder)
        log.info("election.leading" if leads else "election.standing_by", epoch=self.epoch(), holder=holder)
        self._changed()
