"""Corrects moto's ELBv2 where it differs from AWS: the health of targets, and the priorities of rules.

moto reports every registered target as healthy. It also refuses a priority that another rule still has, even if the same call moves that
rule away. The patches apply to this process while an emulated account runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from controller.clock import Clock

HealthSource = Callable[[str, str, int], tuple[str, str]]
"""State and reason code of a registered target, by target group ARN, address and port: ``("healthy", "")``."""

_NOT_REGISTERED: Final = ("unused", "Target.NotRegistered")
_NOT_IN_USE: Final = ("unused", "Target.NotInUse")
_INITIAL: Final = ("initial", "Elb.InitialHealthChecking")
_HEALTHY: Final = ("healthy", "")
_DESCRIPTIONS: Final = {
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Target.Timeout": "Request timed out",
    "Target.FailedHealthChecks": "Health checks failed",
}
_ROUTING: Final = (
    "create_listener",
    "modify_listener",
    "delete_listener",
    "delete_load_balancer",
    "create_rule",
    "modify_rule",
    "delete_rule",
)


class FirstChecks:
    """Health without a data plane: a target is healthy one health-check interval after its checks begin.

    Checks begin once the target is registered and a rule refers to its target group; a new target needs to pass only one.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._registered: dict[tuple[str, str], float] = {}  # target group and address, since when (monotonic)
        self._used: dict[str, float] = {}  # target groups that a rule refers to, since when

    def registered(self, group: str, address: str) -> None:
        """Notes that a target was registered; registering it again changes nothing."""
        with self._lock:
            self._registered.setdefault((group, address), self._clock.monotonic())

    def deregistered(self, group: str, address: str) -> None:
        """Notes that a target was deregistered."""
        with self._lock:
            self._registered.pop((group, address), None)

    def routed(self, groups: set[str]) -> None:
        """Notes which target groups the rules refer to, all of them."""
        with self._lock:
            now = self._clock.monotonic()
            self._used = {group: self._used.get(group, now) for group in groups}

    def pass_all(self) -> None:
        """Makes every registered target healthy, as if its first check had passed long ago."""
        with self._lock:
            self._registered = dict.fromkeys(self._registered, -float("inf"))
            self._used = dict.fromkeys(self._used, -float("inf"))

    def state(self, group: str, address: str, interval_s: float) -> tuple[str, str]:
        """State and reason code of a registered target.

        Args:
            group: The ARN of its target group.
            address: The target's IP address.
            interval_s: Seconds between two health checks.
        """
        with self._lock:
            used, registered = self._used.get(group), self._registered.get((group, address))
        if used is None:
            return _NOT_IN_USE
        since = used if registered is None else max(used, registered)
        return _HEALTHY if self._clock.monotonic() >= since + interval_s else _INITIAL


class ElbPatches:
    """Replaces the methods of moto that behave differently from AWS.

    Args:
        checks: Receives registrations and routing changes, and answers health.
        source: Returns a health source that takes precedence over `checks`, or None.
    """

    def __init__(self, checks: FirstChecks, source: Callable[[], HealthSource | None]) -> None:
        self._checks, self._source = checks, source
        self._originals: list[tuple[type, str, Any]] = []

    def install(self) -> None:
        """Changes moto's classes."""
        from moto.elbv2.models import ELBv2Backend, FakeTargetGroup

        self._wrap(FakeTargetGroup, "health_for", self._health_for)
        self._wrap(FakeTargetGroup, "register", self._register)
        self._wrap(FakeTargetGroup, "deregister", self._deregister)
        self._wrap(ELBv2Backend, "set_rule_priorities", self._set_rule_priorities)
        for name in _ROUTING:
            self._wrap(ELBv2Backend, name, self._routing)

    def restore(self) -> None:
        """Restores moto's own methods."""
        for owner, name, original in reversed(self._originals):
            setattr(owner, name, original)
        self._originals.clear()

    def _wrap(self, owner: type, name: str, replacement: Callable[..., Any]) -> None:
        """Replaces a method; `replacement` receives the original method and its arguments."""
        original = getattr(owner, name)
        self._originals.append((owner, name, original))

        def called(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever moto's method takes and gives
            return replacement(original, *arguments, **named)

        setattr(owner, name, called)

    def _health_for(self, original: Callable[..., Any], group: Any, target: Any, *rest: Any) -> Any:  # noqa: ANN401
        answer = original(group, target, *rest)
        if target["Id"] not in group.targets:
            answer.status, answer.reason = _NOT_REGISTERED
        elif (source := self._source()) is not None:
            answer.status, answer.reason = source(group.arn, str(answer.instance_id), int(answer.port))
        else:
            interval_s = float(group.health_check_interval_seconds)
            answer.status, answer.reason = self._checks.state(group.arn, str(answer.instance_id), interval_s)
        answer.reason = answer.reason or None
        answer.description = _DESCRIPTIONS.get(answer.reason or "")
        return answer

    def _register(self, original: Callable[..., Any], group: Any, targets: Any) -> None:  # noqa: ANN401
        original(group, targets)
        for target in targets:
            self._checks.registered(group.arn, target["Id"])

    def _deregister(self, original: Callable[..., Any], group: Any, targets: Any) -> None:  # noqa: ANN401
        original(group, targets)
        for target in targets:
            self._checks.deregistered(group.arn, target["Id"])

    def _routing(self, original: Callable[..., Any], backend: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        answer = original(backend, *arguments, **named)
        self._checks.routed(set(_referenced(backend)))
        return answer

    @staticmethod
    def _set_rule_priorities(original: Callable[..., Any], backend: Any, rule_priorities: Any) -> Any:  # noqa: ANN401
        """Frees the priorities of all rules that are moved, then lets moto move them."""
        before = {}
        for entry in rule_priorities:
            for rule in backend.describe_rules(listener_arn=None, rule_arns=[entry["RuleArn"]]):
                before[rule.arn] = (rule, rule.priority)
        for rule, priority in before.values():
            rule.priority = -priority  # no request can contain it
        try:
            return original(backend, rule_priorities)
        except Exception:
            for rule, priority in before.values():
                rule.priority = priority
            raise


def _referenced(backend: Any) -> Iterator[str]:  # noqa: ANN401 - moto's
    """Yields the ARNs of the target groups that rules refer to."""
    for balancer in list(backend.load_balancers.values()):
        for listener in list(balancer.listeners.values()):
            for rule in list(listener.rules.values()):
                for action in rule.actions:
                    if action.data.get("TargetGroupArn"):
                        yield action.data["TargetGroupArn"]
                    for entry in action.data.get("ForwardConfig", {}).get("TargetGroups", []):
                        yield entry["TargetGroupArn"]
