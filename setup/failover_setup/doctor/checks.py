"""The checks of an application in display order, each with the reason why it matters.

A check is a function from an observation to findings; the first line of its docstring states what it requires. To add a check, write the
function, add a line here and run `make docs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from controller.clients.kube import (
    ENDPOINT_SLICES,
    EVENTS,
    GATEWAYS,
    INGRESSES,
    REFERENCE_GRANTS,
    SCALED_OBJECTS,
    SERVICES,
    TARGET_GROUP_BINDINGS,
)
from controller.routing.kinds import KINDS
from controller.routing.port import Remedy
from controller.signals.workload_kinds import WORKLOADS
from failover_setup.doctor import action, ingress, route, scaling, services, standby
from failover_setup.doctor.observe import Observation
from failover_setup.doctor.report import Check, Result

_INGRESS: Final = (INGRESSES.kind,)
_ROUTES: Final = tuple(kind for kind, port in KINDS.items() if GATEWAYS in port.reads)

CHECKS: Final[tuple[Check[Observation], ...]] = (
    Check(ingress.ingress, "Every mode change is a change of this one object.", of=_INGRESS, missing=True),
    Check(route.route, "Every mode change is a change of this one rule.", of=_ROUTES, missing=True),
    Check(route.gateways, "A mode change reaches the traffic through the load balancer of each Gateway.", (GATEWAYS,), _ROUTES),
    Check(
        route.accepted, "A route that is not accepted is not what the load balancer has, and no mode is changed on it.", (EVENTS,), _ROUTES
    ),
    Check(ingress.ingress_class, "Only the AWS Load Balancer Controller reads the action.", of=_INGRESS),
    Check(
        ingress.live_rule,
        "The first rule that matches a request routes it. And a rule before the live rule changes the live rule's priority.",
        of=_INGRESS,
    ),
    Check(
        action.action,
        "If the load-balancer controller refuses an action, it keeps the old routing. If the action or its only Service is missing, "
        "every request is answered with 503.",
    ),
    Check(
        action.stickiness,
        "If it is left out, the load-balancer controller keeps whatever AWS has. And a sticky client stays on a target group whose "
        "weight is 0, even one without targets, until its cookie expires.",
    ),
    Check(action.mode_marker, "While the mode is unknown the controller changes nothing."),
    Check(action.field_owner, "Two writers of one field undo each other's changes."),
    Check(action.override, "A pause or a pin also applies in a real shortage."),
    Check(
        ingress.target_type,
        "With other targets the load balancer checks nodes, not pods: it does not notice that a Service has no pod.",
        (SERVICES,),
    ),
    Check(
        ingress.health_check,
        "If the path answers while the model still loads, the load balancer sends requests for minutes to pods that cannot serve them.",
        (SERVICES, *WORKLOADS.values()),
    ),
    Check(
        ingress.algorithm,
        "If the replicas get another share of the requests than KEDA's targets assume, KEDA scales up the wrong units.",
        (SERVICES,),
    ),
    Check(ingress.ingress_group, "A group is built as a whole: one broken Ingress in the group blocks every mode change.", of=_INGRESS),
    Check(
        ingress.load_balancer,
        "While the load-balancer controller cannot build or deploy, no mode change reaches the traffic.",
        (EVENTS,),
        _INGRESS,
    ),
    Check(
        services.services,
        "A mode change to a Service that does not exist would answer every request with 503, so it is refused.",
        (SERVICES,),
        (),
    ),
    Check(services.workloads, "The controller reads a unit's demand and readiness from its workload.", (*WORKLOADS.values(),), ()),
    Check(services.known_to_work, "A unit whose server cannot start costs nodes and serves nothing.", (*WORKLOADS.values(),), ()),
    Check(services.selectors, "Capacity mode uses only the pods that its Service selects.", (SERVICES, *WORKLOADS.values()), ()),
    Check(services.endpoints, "An empty target group answers 503.", (ENDPOINT_SLICES,), ()),
    Check(
        standby.standby_rules,
        "Without it a mode change points the live rule at an empty target group: 503 for 5 to 30 s, so it is refused.",
    ),
    Check(
        standby.rule_services,
        "One rule for a Service that does not exist can stop every change of the Ingress and of its group, mode changes included.",
        (SERVICES,),
        _INGRESS,
    ),
    Check(
        route.granted,
        "Without it the load-balancer controller leaves the backend out, and no change to it is written.",
        (REFERENCE_GRANTS,),
        _ROUTES,
    ),
    Check(
        route.backends,
        "A backend that is not there is left out, and the others get its requests.",
        (SERVICES,),
        _ROUTES,
    ),
    Check(ingress.standby_reach, "A mode change does not move traffic that bypasses the action.", of=_INGRESS),
    Check(route.bypass, "A mode change does not move traffic that bypasses the rule.", of=_ROUTES),
    Check(
        standby.target_group_bindings,
        "A mode change to a target group that does not exist yet is refused.",
        (TARGET_GROUP_BINDINGS,),
        _INGRESS,
    ),
    Check(route.target_groups, "A mode change to a target group that does not exist yet is refused.", (TARGET_GROUP_BINDINGS,), _ROUTES),
    Check(
        standby.quotas,
        "Beyond a quota the load-balancer controller stops with its work half done.",
        (ENDPOINT_SLICES, SCALED_OBJECTS),
        _INGRESS,
    ),
    Check(
        scaling.metric_period,
        "KEDA and the controller know a period's demand after its end: a longer period makes both react later.",
        (),
        (),
    ),
    Check(
        scaling.scaled_objects,
        "The controller scales up the receiving side through them, and leaves alone what it cannot set.",
        (SCALED_OBJECTS,),
        (),
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """The findings about one application.

    Attributes:
        observed: What was examined.
        results: At least one for each check that applies, in the order of the checks.
        remedy: Which standby rules the routing object lacks, and which of them may be added now.
    """

    observed: Observation
    results: tuple[Result, ...]
    remedy: Remedy


def examine(observed: Observation) -> Report:
    """Runs every check that applies. Without a routing object only the checks that do not need one do."""
    results = tuple(
        Result(check, finding)
        for check in CHECKS
        if check.applies(observed.application.route.kind, exists=bool(observed.obj))
        for finding in check.findings(observed, observed.unreadable)
    )
    return Report(observed, results, standby.remedy_of(observed) if observed.obj else Remedy())
