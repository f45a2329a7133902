"""The fault state: which faults are active. Faults set it, and the parts of the world obey it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class FaultState:
    """Everything that can be wrong. By default nothing is.

    Attributes:
        conflicts: Number of further writes that the API server answers with 409 and does not apply.
        lost_answers: Number of further writes that take effect although the caller gets a time-out.
        writes_fail: Why every write fails; "" if writes work.
        state_unreadable: Whether the stored memory is unreadable.
        save_conflicts: Number of further saves of the memory that are refused.
        saves_time_out: Whether every save of the memory is carried out or refused as ever, and the caller gets a time-out.
        stalled: Kinds of objects whose watch delivers nothing and reports no error.
        stale_s: Age of what reads of every kind return, seconds.
        rewrites: Whether a mutating webhook keeps the routing action as it is in every write of the routing object.
        alters: Whether a mutating webhook gives each target the weight of the next one in every write of the routing action.
        others_wait: Whether many other applications wait for a pass of the same process.
        crash: "before" or "after": the process dies at its next action, before or after it takes effect; "": it does not.
        cloudwatch_late_s: Extra lag of CloudWatch, seconds.
        cloudwatch_absent: Whether CloudWatch publishes no new value.
        cloudwatch_throttled: Whether the controller's polls of CloudWatch get no answer.
        elbv2_throttled: Whether the controller's calls of ELBv2 get no answer.
        lbc_slow: Factor on the lag of the load-balancer controller.
        lbc_stopped: Whether the load-balancer controller does nothing.
        lbc_loses: Number of further changes of the routing object that it misses.
        lbc_blocked: The error that it reports about another, unreadable Ingress of the group, or about the Gateway; "" if it can read all.
        deleted: Services that somebody has deleted.
        pools_deleted: NodePools that somebody has deleted.
        pools_unready: NodePools whose node class somebody has deleted: their nodes stay, and Karpenter launches no others.
        renamed: Units whose Deployment has another name: its pods are in the Service, and it is not the one that the application names.
        lbc_strict: Whether the load-balancer controller builds nothing for its group while any rule names a Service that does not exist
            (``--tolerate-non-existent-backend-service=false``).
        route_refused: Whether no listener takes the route, so that its rules stay as they are.
        targets_stuck: Whether new pods are not registered with their target groups.
        sick: Units whose pods fail the load balancer's health check although they serve.
        broken: Units whose pods fail every request and every health check and are still ready for Kubernetes.
        karpenter_silent: Whether Karpenter does nothing.
        never_joins: Whether launched instances never become nodes.
        create_errors: Whether launches fail for another reason than capacity: no event, and the NodeClaim lingers.
    """

    conflicts: int = 0
    lost_answers: int = 0
    writes_fail: str = ""
    state_unreadable: bool = False
    save_conflicts: int = 0
    saves_time_out: bool = False
    stalled: set[str] = field(default_factory=set)
    stale_s: float = 0.0
    rewrites: bool = False
    alters: bool = False
    others_wait: bool = False
    crash: str = ""
    cloudwatch_late_s: float = 0.0
    cloudwatch_absent: bool = False
    cloudwatch_throttled: bool = False
    elbv2_throttled: bool = False
    lbc_slow: float = 1.0
    lbc_stopped: bool = False
    lbc_loses: int = 0
    lbc_blocked: str = ""
    deleted: set[str] = field(default_factory=set)
    pools_deleted: set[str] = field(default_factory=set)
    pools_unready: set[str] = field(default_factory=set)
    renamed: set[str] = field(default_factory=set)
    lbc_strict: bool = False
    route_refused: bool = False
    targets_stuck: bool = False
    sick: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    karpenter_silent: bool = False
    never_joins: bool = False
    create_errors: bool = False
