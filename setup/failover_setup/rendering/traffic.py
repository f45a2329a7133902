"""Services and the Ingress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from controller.policy.model import Application, Backend, CapacityWeights, Mode
from controller.policy.routing import needed, stickiness, targets_at_rest
from controller.routing.annotations import MARKER
from controller.routing.attributes import ALGORITHM, LEAST_OUTSTANDING
from controller.routing.ingress import adapter as port
from controller.routing.ingress.standby import completed
from controller.routing.names import ATTRIBUTES, setting
from failover_setup.application import ApplicationFile
from failover_setup.rendering.parts import PORT_NAME, READINESS, Object, manifest, unit_selector
from failover_setup.stack import StackFile

_DEFAULT_PORT: Final = 80
MARGIN_S: Final = 30
"""Added to the longest request for registration and answers in transit, seconds."""


def services(file: ApplicationFile, stack: StackFile) -> Iterator[Object]:
    """One Service per unit over its own pods, and the capacity Service over the pods of all units by their shared label."""
    application = file.to_policy()
    for unit in file.spec.units:
        yield _service(file, unit.service.to_policy(), unit_selector(unit), {})
    attributes = capacity_attributes(application, stack)
    annotations = {} if file.spec.route else {ATTRIBUTES: ",".join(f"{key}={value}" for key, value in attributes.items())}
    yield _service(file, application.capacity, {stack.shared_label: file.metadata.name}, annotations)


def attributes_of(stack: StackFile) -> dict[str, str]:
    """The attributes of every target group."""
    return {"deregistration_delay.timeout_seconds": f"{min(3600, stack.request_s + MARGIN_S)}"}


def capacity_attributes(application: Application, stack: StackFile) -> dict[str, str]:
    """Those of the capacity Service's target group. The replicas of one unit are alike, so its own Service needs no other algorithm."""
    even = application.policy.capacity_weights is CapacityWeights.READY_THROUGHPUT
    return attributes_of(stack) | ({ALGORITHM: LEAST_OUTSTANDING} if even else {})


def _service(file: ApplicationFile, backend: Backend, selector: Mapping[str, str], annotations: dict[str, str]) -> Object:
    named = isinstance(backend.port, str)
    port = {"name": backend.port if named else PORT_NAME, "port": _DEFAULT_PORT if named else backend.port, "targetPort": PORT_NAME}
    spec = {"type": "ClusterIP", "selector": dict(selector), "ports": [port]}
    return manifest("v1", "Service", backend.service, file, annotations=annotations, spec=spec)


def ingress(file: ApplicationFile, stack: StackFile, mode: Mode) -> Object:
    """The live rule with its action, and a standby rule for every Service that receives traffic in some mode.

    Args:
        file: The application file.
        stack: Its stack.
        mode: The mode of the action.
    """
    application = file.to_policy()
    annotations = {
        setting("scheme"): stack.load_balancer.scheme,
        setting("target-type"): "ip",
        # The AWS sample uses /health, which answers while the model still loads.
        setting("healthcheck-path"): READINESS,
        setting("healthcheck-interval-seconds"): "10",
        setting("healthcheck-timeout-seconds"): "9",
        setting("healthy-threshold-count"): "2",
        setting("unhealthy-threshold-count"): "10",
        setting("success-codes"): "200-301",
        ATTRIBUTES: ",".join(f"{key}={value}" for key, value in attributes_of(stack).items()),
        setting("load-balancer-attributes"): f"idle_timeout.timeout_seconds={stack.request_s + MARGIN_S}",
        port.field(application): port.write(application, targets_at_rest(application, mode), stickiness(application, mode)),
        **({MARKER: str(mode)} if mode is Mode.CAPACITY else {}),
        **stack.load_balancer.annotations,
    }
    spec = {"ingressClassName": "alb", "rules": completed(application.route.part, [], needed(application))}
    return manifest("networking.k8s.io/v1", "Ingress", application.route.name, file, annotations=annotations, spec=spec)
