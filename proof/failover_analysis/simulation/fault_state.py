"""What is wrong with the world at the moment. Faults set it, and the parts of the world obey it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class FaultState:
    """All that can be wrong; by default nothing is.

    Attributes:
        conflicts: Writes to the API server that are yet to be answered 409 without effect.
        lost_answers: Writes that are yet to take effect and be answered by a time-out.
        writes_fail: Why every write fails, "" where they do not.
        state_unreadable: Whether stored memory cannot be read.
        save_conflicts: Saves of the memory that are yet to be refused.
        stalled: Kinds of objects whose watch delivers nothing, and does not say so.
        stale_s: How far behind reads of every kind are, seconds.
        crash: "" or "before" or "after": the process dies at its next action, on that side of it.
        cloudwatch_late_s: What is added to CloudWatch's lag, seconds.
        cloudwatch_absent: Whether it shows no new value.
        cloudwatch_throttled: Whether our polls get no answer.
        elbv2_throttled: The same of our looks at the load balancer.
        lbc_slow: Factor on the lag of the load-balancer controller.
        lbc_stopped: Whether it does nothing at all.
        lbc_loses: Changes of the Ingress that it is yet to overlook.
        lbc_blocked: What it says of another Ingress of its group that it cannot read, "" where it can read all.
        targets_stuck: Whether new pods are not registered with their target groups.
        sick: Units whose pods the load balancer's health check fails on, although they serve.
        broken: Units whose pods fail every request and every health check, and are still called ready.
        karpenter_silent: Whether Karpenter does nothing.
        never_joins: Whether instances that are launched never become nodes.
        create_errors: Whether launches fail outside the capacity class: no event, the NodeClaim lingers.
    """

    conflicts: int = 0
    lost_answers: int = 0
    writes_fail: str = ""
    state_unreadable: bool = False
    save_conflicts: int = 0
    stalled: set[str] = field(default_factory=set)
    stale_s: float = 0.0
    crash: str = ""
    cloudwatch_late_s: float = 0.0
    cloudwatch_absent: bool = False
    cloudwatch_throttled: bool = False
    elbv2_throttled: bool = False
    lbc_slow: float = 1.0
    lbc_stopped: bool = False
    lbc_loses: int = 0
    lbc_blocked: str = ""
    targets_stuck: bool = False
    sick: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    karpenter_silent: bool = False
    never_joins: bool = False
    create_errors: bool = False
