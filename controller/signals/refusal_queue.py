"""Receives CloudTrail's records of EC2's answers to fleet requests from an SQS queue, which an EventBridge rule fills.

A message is deleted once it was taken in. What a crash leaves in the queue comes again, and a record that is known changes nothing.
An empty queue says nothing: delivery is on best effort, and may be late.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from controller.clients.aws import why_forbidden
from controller.clock import Clock
from controller.errors import Forbidden, RemoteError
from controller.foreign import shown
from controller.policy.model import QUEUE_SOURCE, Source
from controller.signals.aws_calls import AwsCalls, Clients
from controller.signals.budget import CallBudget
from controller.signals.fleet_answers import FleetAnswer, read_answer

POLL_S: Final = 10.0
"""Time between two polls, seconds. A record comes seconds to minutes after the answer."""

RECEIVES: Final = 10
"""The most calls of ReceiveMessage in one poll, of ten messages each. What is left comes in the next one."""

_SERVICE: Final = "sqs"
_MESSAGES: Final = 10  # the most that SQS gives and deletes in one call
_WAIT_S: Final = 2  # any wait makes SQS search all its servers; the call must end before `controller.clients.aws.READ_S`
_HIDDEN_S: Final = 60  # how long SQS keeps a message from others while it is taken in
_FRESH_S: Final = 90.0
_CALLS_PER_S: Final = 2.0  # a poll of ten receives, each with its deletion

log = structlog.get_logger(__name__)


class RefusalQueue:
    """Takes the records in. Threads may share it; call `poll` from one thread at a time.

    Args:
        clients: The AWS client factory.
        clock: The clock.
        url: Of the queue. Only records of its account and region count.
        take: Called with each record that can be read, and with None for each message that should be one and cannot.
    """

    def __init__(self, clients: Clients, clock: Clock, url: str, take: Callable[[FleetAnswer | None], None]) -> None:
        self._clock, self._url, self._take = clock, url, take
        _, _, host, self._account, _ = url.split("/")
        self._region = host.split(".")[1]
        self._budget = CallBudget(_CALLS_PER_S, 2.0 * RECEIVES, clock)
        self._calls = AwsCalls(clients, self._budget)
        self._lock = threading.Lock()
        self._last_ok: float | None = None
        self._problem = ""

    def source(self) -> Source:
        """When the queue was last read, and what is wrong since."""
        with self._lock:
            return Source(QUEUE_SOURCE, required=False, last_ok=self._last_ok, budget_s=_FRESH_S, problem=self._problem)

    def poll(self) -> None:
        """Takes in what the queue has, as far as the calls go. Never raises."""
        try:
            for _ in range(RECEIVES):
                if not self._budget.take(2) or not self._received():
                    break
        except RemoteError as error:
            problem = why_forbidden(error, "sqs:ReceiveMessage and sqs:DeleteMessage") if isinstance(error, Forbidden) else str(error)
            with self._lock:
                self._problem = shown(problem)
            log.warning("refusal_queue.failed", why=self._problem)

    def _received(self) -> bool:
        """Takes in and deletes what one call returns.

        Returns:
            Whether there may be more.

        Raises:
            RemoteError: The messages could not be received, or not be deleted: these come again.
        """
        wanted = {"MaxNumberOfMessages": _MESSAGES, "WaitTimeSeconds": _WAIT_S, "VisibilityTimeout": _HIDDEN_S}
        found = self._calls.call(_SERVICE, "ReceiveMessage", {"QueueUrl": self._url, **wanted}).get("Messages")
        messages = [one for one in (found if isinstance(found, list) else [])[:_MESSAGES] if isinstance(one, dict)]
        for one in messages:
            self._read(str(one.get("Body") or ""))
        if messages:
            entries = [{"Id": str(place), "ReceiptHandle": str(one.get("ReceiptHandle") or "")} for place, one in enumerate(messages)]
            self._calls.call(_SERVICE, "DeleteMessageBatch", {"QueueUrl": self._url, "Entries": entries})
        with self._lock:
            self._last_ok, self._problem = self._clock.now(), ""
        return bool(messages)

    def _read(self, body: str) -> None:
        """Takes in one message. Other events than refused fleet requests of Karpenter may come: nobody needs them."""
        try:
            answer = read_answer(body, self._account, self._region)
        except (ValueError, RecursionError) as error:
            log.warning("refusal_queue.unreadable", why=shown(str(error)))
            self._take(None)
            return
        if answer is not None:
            self._take(answer)
