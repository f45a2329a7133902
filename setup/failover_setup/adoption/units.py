"""The deployment units behind the Services of the action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from controller.catalog.instances import FRAMEWORKS, Maker, family_of
from controller.clock import parse_rfc3339
from controller.objects import Object, condition, dig, items, mapping, text
from controller.policy.model import WorkloadKind
from controller.signals.launchable import needs_of
from failover_setup.adoption.facts import Fact, assumed, missing, read
from failover_setup.adoption.measured import Busiest
from failover_setup.adoption.nodes import instance_type, node_pool, price
from failover_setup.adoption.observe import Observation
from failover_setup.adoption.routing import Routing, selected, unit_weight
from failover_setup.adoption.scaling import Scaling, latency_metric, scaling

_SEED_BACKENDS: Final = {"xla": "neuron"}
_LIMIT_S: Final = 0.9  # of the application file
_ROOM: Final = 1.25
_LONGEST: Final = 100  # of texts for people
_MODELS: Final = ("MODEL_SERVER_MODEL", "MODEL_ID")
_BACKENDS: Final = ("MODEL_SERVER_BACKEND", "DEVICE")


def workload_of(observed: Observation, service: str) -> Fact:
    """Kind and name of the workload behind a unit's Service."""
    found = selected(observed, service)
    if len(found) == 1:
        return read(found[0], f"Service {service} selects its pods")
    if found:
        return missing(f"Service {service} selects the pods of {', '.join(one.name for one in found)}; a unit has one workload")
    return missing(f"Service {service} {'selects the pods of no workload' if service in observed.services else 'does not exist'}")


def unit(
    observed: Observation, routing: Routing, service: str, port: int | str, measured: Mapping[str, Busiest]
) -> tuple[dict[str, Fact], Scaling]:
    """Infers one unit.

    Args:
        observed: The objects of the stack.
        routing: The live routing.
        service: The unit's Service.
        port: Its port literal.
        measured: CloudWatch's values, by counter.

    Returns:
        The facts by key in the order of the file, and the values of its ScaledObject.
    """
    workload = workload_of(observed, service)
    obj = observed.workloads.get(workload.value, {})
    pods = list(_pods(observed, obj))
    needs = needs_of(mapping(obj, "spec", "template", "spec"))
    pool = node_pool(observed, obj, pods) if obj else missing("its workload is not known")
    instance = instance_type(observed, pool.value, obj, pods, needs.maker)
    scaled = (
        scaling(observed, workload.value, routing.mode) if workload.value else Scaling({"throughput": missing("its workload is not known")})
    )
    facts: dict[str, Fact | None] = {
        "name": read(service, "its Service's name"),
        "model": _first_variable(obj, _MODELS),
        "device": read(family_of(instance.value), "the instance type") if instance.value else None,
        "framework": _framework(obj, needs.maker, service),
        "service": read({"name": service, "port": port}, routing.label if len(routing.part.targets) > 1 else "it selects only this unit"),
        **_named(workload),
        "nodePool": pool,
        "instanceType": instance,
        "pricePerHour": price(instance.value, needs),
        "throughput": scaled.facts["throughput"],
        **_latency(scaled.counter, measured.get(scaled.counter)),
        "weight": unit_weight(routing, service),
        **{key: scaled.facts.get(key) for key in ("scaledObject", "minReplicas", "maxReplicas", "counterMetric")},
        "latencyMetric": _latency_metric(scaled.counter, measured),
        "coldStartSeconds": _cold_start(pods),
    }
    return {key: fact for key, fact in facts.items() if fact is not None}, scaled


def _named(workload: Fact) -> dict[str, Fact]:
    """The field that names a unit's workload: a Deployment has one of its own."""
    owner = workload.value
    if owner is None or owner.kind == WorkloadKind.DEPLOYMENT:
        return {"deployment": replace(workload, value=owner and owner.name)}
    return {"workload": replace(workload, value={"kind": str(owner.kind), "name": owner.name})}


def _pods(observed: Observation, workload: Object) -> Iterator[Object]:
    selector = mapping(workload, "spec", "selector", "matchLabels")
    for pod in observed.pods if selector else ():
        if selector.items() <= mapping(pod, "metadata", "labels").items():
            yield pod


def _variable(workload: Object, names: Sequence[str]) -> tuple[str, str]:
    """Name and value of the first of these variables that a container has. None of them is a secret; no other variable is read."""
    for container in items(workload, "spec", "template", "spec", "containers"):
        values = {text(one, "name"): text(one, "value") for one in items(container, "env")}
        for name in names:
            if values.get(name):
                return name, values[name]
    return "", ""


def _first_variable(workload: Object, names: Sequence[str]) -> Fact | None:
    name, value = _variable(workload, names)
    return read(value[:_LONGEST], f"variable {name}") if value else None


def _framework(workload: Object, maker: Maker | None, service: str) -> Fact | None:
    name, value = _variable(workload, _BACKENDS)
    value = _SEED_BACKENDS.get(value, value)
    if value in FRAMEWORKS:
        return read(value, f"variable {name}")
    if maker is Maker.NEURON:
        return read("neuron", "its pods request Neuron devices")
    named = [one for one in FRAMEWORKS if one in service.split("-")]
    return assumed(named[0], "its name") if len(named) == 1 else None


def _latency(counter: str, measured: Busiest | None) -> dict[str, Fact]:
    """Latency at the breaking point, estimated by the latency in the unit's busiest period."""
    if measured is None or not measured.latency_s:
        metric = latency_metric(counter) or "its latency metric"
        return {"latencySeconds": missing(f"CloudWatch has no value of {metric} in the last day; enter the latency at its breaking point")}
    latency_s = round(measured.latency_s, 3) or 0.001
    busy = f"{measured.requests:.0f} requests" if measured.requests is not None else "requests unknown"
    facts = {"latencySeconds": assumed(latency_s, f"average when busiest in the last day ({busy}); higher at its breaking point")}
    if latency_s >= _LIMIT_S:
        facts["latencyLimitSeconds"] = assumed(
            round(latency_s * _ROOM, 2), f"the default of {_LIMIT_S} is below that; enter the longest latency that users accept"
        )
    return facts


def _latency_metric(counter: str, measured: Mapping[str, Busiest]) -> Fact | None:
    name = latency_metric(counter)
    if not name:
        return None
    seen = counter in measured and measured[counter].latency_s is not None
    return (
        read(name, "CloudWatch has values of it")
        if seen
        else assumed(name, "named after the counter as in the AWS sample; CloudWatch shows no value")
    )


def _cold_start(pods: Sequence[Object]) -> Fact | None:
    """The default. Observed times are only stated: they differ for a pod on a free node, or one that became ready again."""
    times = sorted(took for pod in pods if (took := _took_s(pod)) is not None)
    if not times:
        return None
    between = f"{times[0]:.0f} s" if len(times) == 1 else f"{times[0]:.0f} to {times[-1]:.0f} s"
    return assumed(600, f"the default; {len(times)} pod(s) took {between} to become ready, some on existing nodes")


def _took_s(pod: Object) -> float | None:
    """Seconds from a pod's creation until it last became ready; None if it is not ready or was restarted."""
    ready = condition(pod, "Ready")
    if text(ready, "status") != "True" or any(dig(one, "restartCount") for one in items(pod, "status", "containerStatuses")):
        return None
    created, since = parse_rfc3339(text(pod, "metadata", "creationTimestamp")), parse_rfc3339(text(ready, "lastTransitionTime"))
    return since - created if created is not None and since is not None and since >= created else None
