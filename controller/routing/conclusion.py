"""The conclusion with exact requests: from here on a plan has the bytes that are shown and applied.

`decide`, `plan` and the routing port are composed here and nowhere else: the service, the commands `plan` and `status`, the simulation,
replay and research all call `conclude`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controller.policy.decision import Conclusion
from controller.policy.decision import conclude as conclude_values
from controller.policy.model import Alert, Memory, Plan, Snapshot
from controller.routing.kinds import routing_port


def conclude(memory: Memory, snapshot: Snapshot, *, alerts: Iterable[Alert] = (), preview: bool = False) -> Conclusion:
    """Decides, plans what the decision asks for, and writes the requests; arguments as those of `controller.policy.decision.conclude`."""
    made = conclude_values(memory, snapshot, alerts=alerts, preview=preview)
    return replace(made, plan=exact(made.plan, snapshot))


def exact(made: Plan, snapshot: Snapshot) -> Plan:
    """The plan whose routing action, if it has any, is the request that writes it.

    Args:
        made: As the policy made it.
        snapshot: What it was made from.
    """
    port, action = routing_port(snapshot.application), made.routing
    if action is None:
        return made
    sent = port.request(snapshot, made.decision)
    whole = replace(
        action,
        resource=port.resource.name,
        object_kind=port.resource.kind,
        content_type=sent.content_type,
        query=sent.query,
        body=sent.body,
        after=sent.action,
    )
    return replace(made, actions=tuple(whole if one is action else one for one in made.actions))
