"""The load-balancer controller's calls to ELBv2: recorded, rate-limited, refused if AWS would refuse them, lost or late on demand."""

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
from failover_testbed.lbc.group import Group
from failover_testbed.lbc.target_stickiness import CODE, TargetStickiness

_SERVICE: Final = "operation error Elastic Load Balancing v2"
_MODIFY_RATE: Final = (3.0, 20)  # the controller's defaults: calls per second, burst
_TARGETS_RATE: Final = (4.0, 20)
_TAGS_AT_ONCE: Final = 20  # AWS's limit

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One call that changes AWS.

    Attributes:
        action: The API's name of the call.
        target_group: Name of the target group, "" if the call affects none.
        after_s: Seconds of the clock since the controller saw the change of the Ingress, route or endpoints.
        at: Time of the call, seconds since the Unix epoch.
        forward: The rule's new weight by Service, in the order sent; a weight is None if the action has none.
        lost: The call was reported as done but changed nothing.
        late_s: Seconds between the report that the call is done and its effect.
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
    """Why a call is made, for the record.

    Attributes:
        since: When the controller saw the change behind it, monotonic seconds.
        target_group: See `Write`.
        forward: See `Write`.
    """

    since: float
    target_group: str = ""
    forward: tuple[tuple[str, int | None], ...] = ()


class Calls:
    """Calls ELBv2.

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
        self._late: dict[str, object] = {}  # by rule ARN: the newest call that has no effect yet
        self._writes: list[Write] = []
        self._shown_late = 0
        self._stickiness = TargetStickiness()
        self._modify, self._targets = Throttle(clock, *_MODIFY_RATE), Throttle(clock, *_TARGETS_RATE)

    @property
    def network(self) -> Network:
        """The VPC of load balancers."""
        return self._aws.network

    def set_faults(self, faults: Faults) -> None:
        """Sets the faults from now on; the count of calls to lose starts again."""
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
        """All entries of a listing.

        Args:
            operation: The API's name of the call.
            field: The answer's field with the entries.
            arguments: Arguments of the call.

        Raises:
            RemoteError: The call failed.
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

    def tagged(self, arns: list[str], group: Group) -> Iterator[tuple[str, str]]:
        """Yields the resources that belong to a group: ARN, and the resource's name in the group.

        Args:
            arns: Load balancers or target groups.
            group: The group.
        """
        for start in range(0, len(arns), _TAGS_AT_ONCE):
            for entry in self.describe("DescribeTags", "TagDescriptions", ResourceArns=arns[start : start + _TAGS_AT_ONCE]):
                tags = {tag["Key"]: tag["Value"] for tag in entry["Tags"]}
                if tags.get(group.stack_tag) == group.stack:
                    yield str(entry["ResourceArn"]), str(tags.get(group.resource_tag, ""))

    # --- writing ------------------------------------------------------------------------------------------------------------------------

    def write(self, operation: str, why: Why, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever the API takes
        """Makes a call that changes AWS, and records it.

        Raises:
            RemoteError: The call failed.
        """
        self._keep_to_rate(operation)
        self._check_throttled(operation)
        if problem := refusal(arguments):
            raise Rejected(f"{_SERVICE}: {operation}, api error ValidationError: {problem}", status=400, code="ValidationError")
        if problem := self._stickiness.refusal(arguments):
            raise Rejected(f"{_SERVICE}: {operation}, api error {CODE}: {problem}", status=400, code=CODE)
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
            answer = call(**arguments)
        self._stickiness.made(arguments, answer)
        return answer

    def _keep_to_rate(self, operation: str) -> None:
        throttle = {"Modify": self._modify, "Regist": self._targets, "Deregi": self._targets}.get(operation[:6])
        if throttle is not None and self._clock.wait(self._stop, throttle.take()):
            raise Unavailable(f"{operation}: the controller is stopping")

    def _check_throttled(self, operation: str) -> None:
        if self._faults.throttled:
            answer = "https response error StatusCode: 400, RequestID: emulated, api error Throttling: Rate exceeded"
            raise Unavailable(f"{_SERVICE}: {operation}, {answer}", status=400, code="Throttling")

    def _fate(self, operation: str, rule: str) -> tuple[bool, float]:
        """Whether a call is lost, and the delay of its effect, seconds. A newer call for a rule replaces a late one."""
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
        """Applies a late ModifyRule unless a newer call replaced it; runs on its own thread."""
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
