"""The checks of an application, in the order in which they are shown, and what each is for.

A check is a function from what was seen to findings; its docstring's first line says what it asks for. To add one: the function, a line
here, `make docs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from controller.clients.kube import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, SCALED_OBJECTS, SERVICES, TARGET_GROUP_BINDINGS
from controller.doctor import action, ingress, scaling, services, standby
from controller.doctor.observe import Seen
from controller.doctor.report import Check, Result
from controller.policy.model import Backend
from controller.policy.standby import completed, lacking, standby_patch
from controller.signals.objects import items

CHECKS: Final[tuple[Check[Seen], ...]] = (
    Check(ingress.ingress, "Everything is switched on this one object.", of_ingress=False),
    Check(ingress.ingress_class, "Only the AWS Load Balancer Controller reads the action."),
    Check(
        ingress.live_rule,
        "Requests follow the first rule that matches. And a rule that is put before the live one changes the priority of that one.",
    ),
    Check(
        action.action,
        "The load-balancer controller keeps the old routing when it refuses an action, and answers everything with 503 when the action or "
        "its only Service is missing.",
    ),
    Check(
        action.stickiness,
        "Left out is not off: it is then not compared with AWS. And a sticky client stays on a target group whose weight is 0, even one "
        "without a target, until its cookie ends.",
    ),
    Check(action.mode_marker, "While the mode is unknown nothing is switched."),
    Check(action.field_owner, "Two writers of one field undo each other's switches."),
    Check(action.override, "A pause or a pin holds also in a real shortage."),
    Check(
        ingress.target_type,
        "With other targets the load balancer checks nodes, not pods: it does not notice that a Service has none.",
        (SERVICES,),
    ),
    Check(
        ingress.health_check,
        "A path that answers while the model still loads sends requests to pods that cannot serve them for minutes.",
        (SERVICES, DEPLOYMENTS),
    ),
    Check(
        ingress.algorithm,
        "Where replicas get another share of the requests than KEDA aims at, it grows the wrong units.",
        (SERVICES,),
    ),
    Check(ingress.ingress_group, "A group is built as a whole: one broken Ingress in the group blocks every switch."),
    Check(ingress.load_balancer, "While the load-balancer controller cannot build or deploy, no switch reaches the traffic.", (EVENTS,)),
    Check(services.services, "A switch to a Service that does not exist is a 503 for everybody, and is refused.", (SERVICES,), False),
    Check(services.deployments, "Demand and readiness of a unit are read from its Deployment.", (DEPLOYMENTS,), False),
    Check(
        services.selectors, "Capacity mode serves from the pods that its Service selects, and no others.", (SERVICES, DEPLOYMENTS), False
    ),
    Check(services.endpoints, "An empty target group answers 503.", (ENDPOINT_SLICES,), False),
    Check(
        standby.standby_rules,
        "Without it a switch points the live rule at an empty target group: 503 for 5 to 30 s, so it is refused.",
    ),
    Check(ingress.standby_reach, "What is reached past the action is not moved by a switch."),
    Check(
        standby.target_group_bindings,
        "A switch to a target group that does not exist yet is refused.",
        (TARGET_GROUP_BINDINGS,),
    ),
    Check(standby.quotas, "What AWS does not take stops the load-balancer controller halfway.", (ENDPOINT_SLICES, SCALED_OBJECTS)),
    Check(
        scaling.scaled_objects,
        "The receiving side is raised through them; what cannot be set is left to whoever sets it.",
        (SCALED_OBJECTS,),
        False,
    ),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of one application.

    Attributes:
        seen: What was looked at.
        results: Every check has at least one, in their order; those that have nothing to ask are left out.
        missing: The Services for which a standby rule is to be added.
    """

    seen: Seen
    results: tuple[Result, ...]
    missing: tuple[Backend, ...]

    @property
    def patch(self) -> list[dict[str, Any]]:
        """The JSON patch that adds what is missing; [] where nothing is."""
        return standby_patch(self.seen.application.action, self._rules, self.missing) if self.missing else []

    @property
    def rules(self) -> list[Any]:
        """The whole ``spec.rules`` with it."""
        return list(completed(self.seen.application.action, self._rules, self.missing))

    @property
    def _rules(self) -> list[Any]:
        return items(self.seen.ingress, "spec", "rules")


def examine(seen: Seen) -> Report:
    """Makes every check that has something to ask."""
    results = tuple(
        Result(check, finding)
        for check in CHECKS
        if seen.ingress or not check.of_ingress
        for finding in check.findings(seen, seen.unreadable)
    )
    missing = lacking(seen.application, seen.routing) if seen.ingress else ()
    return Report(seen, results, missing)
