"""ReferenceGrants: what lets a route name Services of another namespace. They are in the namespace of the Services.

Without one the load-balancer controller leaves such a backend out, as if there were no such Service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.clients.kube import REFERENCE_GRANTS, SERVICES
from controller.objects import Object, entries, text
from controller.policy.model import Application
from controller.policy.routing import needed
from controller.routing.port import Beside

_GROUP: Final = REFERENCE_GRANTS.group


def ungranted(application: Application, beside: Beside) -> Iterator[str]:
    """The Services of an application that its route needs a grant for and has none, each once.

    Args:
        application: The application.
        beside: Where the grants are found. None of them counts as none is there.
    """
    if application.routing_namespace == application.namespace:
        return
    there, source = beside.all(REFERENCE_GRANTS, application.namespace), _from(application)
    grants = [one for one in there if source in map(_source, entries(one, "spec", "from"))]
    for backend in needed(application):
        if not any(_allows(one, backend.service) for one in grants):
            yield backend.service


def grant_spec(application: Application) -> Mapping[str, Any]:
    """The ``spec`` of a grant that lets an application's route name its Services, and no other."""
    group, kind, namespace = _from(application)
    services = [{"group": SERVICES.group, "kind": SERVICES.kind, "name": one.service} for one in needed(application)]
    return {"from": [{"group": group, "kind": kind, "namespace": namespace}], "to": services}


def _from(application: Application) -> tuple[str, str, str]:
    return _GROUP, application.route.kind, application.routing_namespace


def _source(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return text(entry, "group"), text(entry, "kind"), text(entry, "namespace")


def _allows(grant: Object, service: str) -> bool:
    """Whether a grant is for a Service: for all of its namespace, where it names none."""
    allowed = ((text(one, "group"), text(one, "kind"), text(one, "name") or service) for one in entries(grant, "spec", "to"))
    return (SERVICES.group, SERVICES.kind, service) in allowed
