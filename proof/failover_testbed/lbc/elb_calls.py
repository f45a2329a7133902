"""The load-balancer controller's calls to ELBv2: recorded, kept to its rate limits, refused where AWS would, lost or late on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from controller.clients.aws import translated
from controller.clock import Clock
from controller.errors import Rejected, RemoteError, Unavailable
from failover_testbed.aws.server import EmulatedAws, Network
from failover_testbed.lbc.elb_limits import refusal
from failover_testbed.lbc.faults import Faults, Throttle

_SERVICE: Final = "operation error Elastic Load Balancing v2"
_MODIFY_RATE: Final = (3.0, 20)  # the controller's defaults, calls a second and at once
_TARGETS_RATE: Final = (4.0, 20)
_TAGS_AT_ONCE: Final = 20  # AWS takes no more

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One call that changes AWS.

    Attributes:
        action: The API's name of it.
        target_group: The name of the target group concerned, "" where it is about none.
        after_s: Seconds of the clock since the change of the Ingress or of the endpoints was seen.
        at: When, seconds since the Unix epoch.
        forward: Weight by Service that a rule was given, in the order sent; None of the weight where the action states none.
        lost: It was reported as done, and nothing changed.
        late_s: It was reported as done, and was to change something only so many seconds later.
    """

    action: str
    target_group: str
    after_s: float
    at: float
    forward: tuple[tuple[str, int | None], ...] = ()
    lost: bool = False
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Why:
    """What a call is about, for the record.

    Attributes:
        since: When the change was seen that led to it, monotonic.
        target_group: See `Write`.
        forward: See `Write`.
    """

    since: float
    target_group: str = ""
    forward: tuple[tuple[str, int | None], ...] = ()


class Calls:
    """Makes them.

    Args:
        clock: Time.
        aws: The emulated account.
        stop: Ends every wait.
    """

    def __init__(self, clock: Clock, aws: EmulatedAws, stop: threading.Event) -> None:
        self._clock, self._aws, self._stop = clock, aws, stop
        self._lock = threading.Lock()
        self._faults = Faults()
        self._to_lose = 0
        self._late: dict[str, object] = {}  # by ARN of a rule, which of its calls is the newest that does not show yet
        self._writes: list[Write] = []
        self._shown_late = 0
        self._modify, self._targets = Throttle(clock, *_MODIFY_RATE), Throttle(clock, *_TARGETS_RATE)

    @property
    def network(self) -> Network:
        """Where load balancers are."""
        return self._aws.network

    def set_faults(self, faults: Faults) -> None:
        """From now on; the calls to be lost are counted anew."""
        with self._lock:
            self._faults, self._to_lose = faults, faults.lost_modify_rules

    def writes(self) -> list[Write]:
        """Every call that changed AWS, oldest first."""
        with self._lock:
            return list(self._writes)

    @property
    def changes(self) -> int:
        """A number that grows with every change of ELBv2."""
        return len(self._writes) + self._shown_late

    # --- reading ------------------------------------------------------------------------------------------------------------------------

    def describe(self, operation: str, field: str, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever the API takes
        """A whole listing.

        Args:
            operation: The API's name of it.
            field: Where in the answer the entries are.
            arguments: Of the call.

        Raises:
            RemoteError: It failed.
        """
        self._check_throttled(operation)
        found: list[dict[str, Any]] = []
        with translated("elbv2", operation):
            client = self._aws.client("elbv2")
            if client.can_paginate(_method(operation)):
                for page in client.get_paginator(_method(operation)).paginate(**arguments):
                    found += page[field]
            else:
                found += getattr(client, _method(operation))(**arguments)[field]
        return found

    def tagged(self, arns: list[str], stack: str) -> Iterator[tuple[str, str]]:
        """Which of some resources belong to a group of Ingresses, each with what it is in it.

        Args:
            arns: Load balancers or target groups.
            stack: The group's name in the tags.
        """
        for start in range(0, len(arns), _TAGS_AT_ONCE):
            for entry in self.describe("DescribeTags", "TagDescriptions", ResourceArns=arns[start : start + _TAGS_AT_ONCE]):
                tags = {tag["Key"]: tag["Value"] for tag in entry["Tags"]}
                if tags.get("ingress.k8s.aws/stack") == stack:
                    yield str(entry["ResourceArn"]), str(tags.get("ingress.k8s.aws/resource", ""))

    # --- writing ------------------------------------------------------------------------------------------------------------------------

    def write(self, operation: str, why: Why, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever the API takes
        """Makes one call that changes AWS, and records it.

        Raises:
            RemoteError: It failed.
        """
        self._keep_to_rate(operation)
        self._check_throttled(operation)
        if problem := refusal(arguments):
            raise Rejected(f"{_SERVICE}: {operation}, api error ValidationError: {problem}", status=400, code="ValidationError")
        lost, late_s = self._fate(operation, str(arguments.get("RuleArn", "")))
        answer: Mapping[str, Any] = {}
        if not lost and not late_s:
            answer = self._send(operation, arguments)
        if late_s:
            self._postpone(late_s, arguments)
        now = self._clock.monotonic()
        with self._lock:
            self._writes.append(
                Write(operation, why.target_group, now - why.since, self._clock.now(), why.forward, lost=lost, late_s=late_s)
            )
        return answer

    def _send(self, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        call: Callable[..., Mapping[str, Any]] = getattr(self._aws.client("elbv2"), _method(operation))
        with translated("elbv2", operation):
            return call(**arguments)

    def _keep_to_rate(self, operation: str) -> None:
        throttle = {"Modify": self._modify, "Regist": self._targets, "Deregi": self._targets}.get(operation[:6])
        if throttle is not None and self._clock.wait(self._stop, throttle.take()):
            raise Unavailable(f"{operation}: the controller ends")

    def _check_throttled(self, operation: str) -> None:
        if self._faults.throttled:
            answer = "https response error StatusCode: 400, RequestID: emulated, api error Throttling: Rate exceeded"
            raise Unavailable(f"{_SERVICE}: {operation}, {answer}", status=400, code="Throttling")

    def _fate(self, operation: str, rule: str) -> tuple[bool, float]:
        """Whether a call is lost, and how late it will show. Any newer call for a rule takes the place of a late one."""
        with self._lock:
            self._late.pop(rule, None)
            if operation != "ModifyRule":
                return False, 0.0
            if self._to_lose > 0:
                self._to_lose -= 1
                return True, 0.0
            return False, self._faults.late_modify_rule_s

    def _postpone(self, seconds: float, arguments: Mapping[str, Any]) -> None:
        token = object()
        with self._lock:
            self._late[str(arguments["RuleArn"])] = token
        threading.Thread(target=self._show_later, args=(seconds, token, arguments), name="elb-late", daemon=True).start()

    def _show_later(self, seconds: float, token: object, arguments: Mapping[str, Any]) -> None:
        """On a thread of its own: a ModifyRule takes effect, unless a newer call took its place."""
        rule = str(arguments["RuleArn"])
        if self._clock.wait(self._stop, seconds):
            return
        with self._lock:
            newest = self._late.get(rule) is token
        if newest:
            try:
                self._send("ModifyRule", arguments)
            except RemoteError as error:  # the rule or its target group is gone
                log.info("elb.late", error=str(error))
            with self._lock:
                self._late.pop(rule, None)
                self._shown_late += 1


def _method(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
