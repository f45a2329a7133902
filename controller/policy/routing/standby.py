"""The Services that must stay registered with the load balancer, so that a mode change is one change of the live rule."""

from __future__ import annotations

from controller.policy.model import Application, Backend, RoutingObservation, RoutingStyle, Snapshot


def needed(application: Application) -> tuple[Backend, ...]:
    """The Services that receive traffic in some mode. Each must be registered with the load balancer in every mode."""
    units = tuple(unit.backend for unit in application.units)
    return units if application.routing_style is RoutingStyle.IN_PLACE else (application.capacity, *units)


def lacking(application: Application, routing: RoutingObservation) -> tuple[Backend, ...]:
    """The Services that a mode change would leave without a registered target group.

    Args:
        application: Its routing style says what is needed.
        routing: What is observed. With the in-place style the action itself keeps the units registered, because it always names all of
            them. With the single-service style a mode change drops what the action names now.
    """
    in_place = application.routing_style is RoutingStyle.IN_PLACE
    named = {Backend(target.service, target.port) for target in routing.targets} if in_place else set[Backend]()
    return tuple(backend for backend in needed(application) if backend.service not in routing.standby and backend not in named)


def existence(snapshot: Snapshot) -> dict[Backend, bool | None]:
    """Whether each Service of the application exists with its port; None where that is not known."""
    application = snapshot.application
    found = {unit.backend: snapshot.units[unit.name].service_exists for unit in application.units}
    found[application.capacity] = snapshot.routing.capacity_exists
    return found
