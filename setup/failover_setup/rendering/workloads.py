"""The namespace, the ServiceAccount, and for each unit the Deployment and its PodDisruptionBudget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from controller.policy.model import ReturnProbe
from failover_setup.application import ApplicationFile, UnitFile
from failover_setup.rendering import vllm
from failover_setup.rendering.faults import COUNTER, image_of, model_of
from failover_setup.rendering.nodes import pool_types, pool_zones
from failover_setup.rendering.parts import (
    CACHE,
    GRPC_PORT,
    HEALTH,
    INSTANCE_TYPE,
    POOL,
    PORT,
    PORT_NAME,
    PROBE_S,
    READINESS,
    RESTRICTED,
    ZONE,
    Object,
    allowed_types,
    maker,
    manifest,
    resources,
    unit_selector,
)
from failover_setup.stack import StackFile, VllmFile

READINESS_GATES: Final = "elbv2.k8s.aws/pod-readiness-gate-inject"

DEREGISTER_S: Final = 15
"""Time from a pod's deletion until the load balancer sends it no new requests, seconds. The server keeps serving in it."""
DRAIN_S: Final = 10
"""The server's own drain after SIGTERM, seconds."""
QUEUE_LIMITS: Final = 3
"""A request may wait this many times the unit's latency limit for its batch. A burst passes; a longer queue only makes answers late."""
FLUSH_S: Final = 5
"""Time for its last metrics, seconds."""
NODE_START_S: Final = 600
"""Time for a node to launch and join, in addition to the container's own start, before a rollout counts as stuck, seconds."""


def workloads(file: ApplicationFile, stack: StackFile) -> Iterator[Object]:
    """ServiceAccount, Deployments and PodDisruptionBudgets."""
    annotations = {"eks.amazonaws.com/role-arn": stack.role_arn} if stack.role_arn else None
    yield manifest("v1", "ServiceAccount", service_account(file, stack), file, annotations=annotations)
    for unit in file.spec.units:
        yield _deployment(file, stack, unit)
        yield _budget(file, unit)


def namespace(file: ApplicationFile, stack: StackFile) -> Iterator[Object]:
    """The namespace with only the label for readiness gates, because it may be shared."""
    labels = {"labels": {READINESS_GATES: "enabled"}} if stack.readiness_gates else {}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": file.metadata.namespace, **labels}}


def service_account(file: ApplicationFile, stack: StackFile) -> str:
    """The ServiceAccount of the pods."""
    return stack.service_account or file.metadata.name


def load_s(unit: UnitFile, stack: StackFile) -> int:
    """Longest time until a container of the unit is ready, seconds: the file's, but what its engine takes to compile at least."""
    profile = unit.stack.vllm
    return unit.stack.load_s or max(stack.load_s, vllm.engine_for(unit, profile).load if profile is not None else 0)


def _deployment(file: ApplicationFile, stack: StackFile, unit: UnitFile) -> Object:
    """A unit's Deployment. It omits replicas if a ScaledObject sets them, so that applying it again does not reset them."""
    template = {
        "metadata": {"labels": {**unit_selector(unit), stack.shared_label: file.metadata.name}},
        "spec": _pod(file, stack, unit),
    }
    spec: Object = {} if unit.scaled_object else {"replicas": unit.min_replicas}
    spec |= {
        # A new pod needs its own node. The old pod stays until the new one is ready, so a rollout in a shortage waits and keeps serving.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "progressDeadlineSeconds": NODE_START_S + 2 * load_s(unit, stack),
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": dict(unit_selector(unit))},
        "template": template,
    }
    return manifest("apps/v1", "Deployment", unit.runs.name, file, labels=dict(unit_selector(unit)), spec=spec)


def _pod(file: ApplicationFile, stack: StackFile, unit: UnitFile) -> Object:
    """The pod template's spec. No spread over zones: with it Karpenter requests one zone, and a refusal proves only that one short."""
    spec: Object = {
        "serviceAccountName": service_account(file, stack),
        "automountServiceAccountToken": False,  # AWS credentials come in a separate volume
        "nodeSelector": {POOL: unit.node_pool},
        **_narrowed(file, unit),
        "tolerations": [{"key": maker(unit).resource, "operator": "Exists", "effect": "NoSchedule"}],
        "terminationGracePeriodSeconds": _end_s(stack),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(file, stack, unit)],
        "volumes": [{"name": "cache", "emptyDir": {}}],
    }
    return spec if unit.stack.vllm is None else _with_vllm(spec, stack, unit, unit.stack.vllm)


def _end_s(stack: StackFile) -> int:
    """Longest time from a pod's deletion until its server has ended, seconds."""
    return DEREGISTER_S + DRAIN_S + stack.request_s + FLUSH_S


def _with_vllm(spec: Object, stack: StackFile, unit: UnitFile, profile: VllmFile) -> Object:
    """The pod with vLLM. The adapter keeps the server's name, port, probes and variables, so Services and counters stay the same."""
    (server,) = spec["containers"]
    variables = [one for one in server["env"] if one["name"] != vllm.TOKEN]
    if not any(one["name"] == vllm.BODY_LIMIT["name"] for one in variables):
        variables.append(vllm.BODY_LIMIT)
    adapter = {**server, "args": ["adapter", *unit.stack.args], "env": variables, "resources": vllm.ADAPTER_RESOURCES}
    times = {"load_s": load_s(unit, stack), "outlast_s": _end_s(stack)}
    engine = vllm.engine(unit, profile, server["resources"], region=stack.region, **times)
    return {
        **spec,
        "terminationGracePeriodSeconds": _end_s(stack) + vllm.ENGINE_END_S,
        "initContainers": [vllm.fetching(server["image"], server["env"])],
        "containers": [adapter, engine],
        "volumes": [*spec["volumes"], vllm.VOLUME],
    }


def _narrowed(file: ApplicationFile, unit: UnitFile) -> Object:
    """Node affinity for a unit that may use only part of a shared NodePool."""
    sharing = [one for one in file.spec.units if one.node_pool == unit.node_pool]
    wanted = [
        {"key": key, "operator": "In", "values": own}
        for key, own, offered in (
            (INSTANCE_TYPE, sorted(allowed_types(unit)), pool_types(sharing)),
            (ZONE, sorted(unit.zones), pool_zones(sharing)),
        )
        if own and own != offered
    ]
    if not wanted:
        return {}
    terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def _container(file: ApplicationFile, stack: StackFile, unit: UnitFile) -> Object:
    ready = {"httpGet": {"path": READINESS, "port": PORT_NAME}}
    container: Object = {
        "name": "server",
        "image": image_of(unit, stack),
        "env": _variables(stack, unit, file.spec.metrics.namespace),
        "ports": [{"name": PORT_NAME, "containerPort": PORT}, {"name": "grpc", "containerPort": GRPC_PORT}],
        # No other probe runs until the model is loaded and warm. Then readiness controls traffic, and health controls restarts.
        "startupProbe": {
            **ready,
            "periodSeconds": PROBE_S,
            "timeoutSeconds": 5,
            "failureThreshold": math.ceil(2 * load_s(unit, stack) / PROBE_S),
        },
        "readinessProbe": {**ready, "periodSeconds": PROBE_S, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {
            "httpGet": {"path": HEALTH, "port": PORT_NAME},
            "periodSeconds": PROBE_S,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # The server keeps running while the load balancer deregisters the pod, and gets SIGTERM only then.
        "lifecycle": {"preStop": {"sleep": {"seconds": DEREGISTER_S}}},
        "resources": resources(unit),
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "cache", "mountPath": CACHE}],
    }
    if unit.stack.args:
        container["args"] = list(unit.stack.args)
    return container


def _variables(stack: StackFile, unit: UnitFile, space: str) -> list[Object]:
    """The model server's variables; those of the file override the others."""
    model, revision = model_of(unit, stack)
    allowed_s = 2 * load_s(unit, stack)
    made: dict[str, Any] = {
        "MODEL_SERVER_APP": unit.counter_metric.removesuffix(COUNTER) or unit.name,
        "MODEL_SERVER_TASK": stack.task,
        "MODEL_SERVER_BACKEND": unit.framework,
        "MODEL_SERVER_MODEL": model,
        "MODEL_SERVER_REVISION": revision,
        "MODEL_SERVER_COMPILED_MODEL": unit.stack.compiled_model,
        "MODEL_SERVER_COMPILED_REVISION": unit.stack.compiled_revision,
        "MODEL_SERVER_CACHE_DIR": CACHE,
        "MODEL_SERVER_NODE_POOL": unit.node_pool,
        # It gives up just before the start-up probe would, so that it can report why.
        "MODEL_SERVER_DOWNLOAD_TIMEOUT": str(allowed_s * 3 // 4),
        "MODEL_SERVER_LOAD_TIMEOUT": str(allowed_s - PROBE_S),
        "MODEL_SERVER_REQUEST_TIMEOUT": str(stack.request_s),
        "MODEL_SERVER_MAX_QUEUE_SECONDS": f"{min(stack.request_s, QUEUE_LIMITS * unit.latency_limit_s):g}",
        "MODEL_SERVER_DRAIN_SECONDS": str(DRAIN_S),
        "MODEL_SERVER_FINISH_SECONDS": str(stack.request_s),
        "MODEL_SERVER_CLOUDWATCH": "true" if space else "",
        "MODEL_SERVER_CLOUDWATCH_NAMESPACE": space,
        "AWS_REGION": stack.region,
    }
    values: list[Object] = [{"name": name, "value": value} for name, value in {**made, **unit.stack.env}.items() if value]
    values.append({"name": "MODEL_SERVER_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    if stack.hub_token is not None:
        reference = {"name": stack.hub_token.name, "key": stack.hub_token.key}
        values.append({"name": vllm.TOKEN, "valueFrom": {"secretKeyRef": reference}})
    return values


def _budget(file: ApplicationFile, unit: UnitFile) -> Object:
    """Allows one pod to be away, and no eviction beyond: in a shortage no node replaces a drained one.

    The budget counts a canary, which the controller requests through the ScaledObject, as a pod that is away. So it has a place of its own
    (docs/decisions/0039-a-canary-blocks-no-eviction.md).
    """
    spec = {
        "maxUnavailable": 2 if unit.probe is not ReturnProbe.NONE and unit.scaled_object else 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",  # a pod that does not serve must not block the drain of its node
        "selector": {"matchLabels": dict(unit_selector(unit))},
    }
    return manifest("policy/v1", "PodDisruptionBudget", unit.runs.name, file, spec=spec)
