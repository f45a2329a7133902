"""Checks of the device plugins, which make accelerators known to Kubernetes, and of Container Insights."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import NODE_POOLS, NODES
from controller.objects import Object, condition, items, mapping, name_of, text
from controller.policy import text as words
from controller.signals.node_labels import POOL_LABEL
from failover_setup.doctor.cluster.components import INSIGHTS_AGENT, INSIGHTS_OPERATOR, NEURON_PLUGIN, NVIDIA_PLUGIN, Component, step
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.cluster.presence import absent, described, runs, stopped
from failover_setup.doctor.cluster.workload import tolerates
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown, warning

_NVIDIA = ("nvidia.com/gpu",)
_NEURON = ("aws.amazon.com/neuron", "aws.amazon.com/neuroncore", "aws.amazon.com/neurondevice")


def nvidia_device_plugin(observed: ClusterObservation) -> Iterator[Finding]:
    """The NVIDIA device plugin runs on every node of the units' NodePools with NVIDIA accelerators, and these offer GPUs."""
    yield from _plugin(observed, NVIDIA_PLUGIN, _NVIDIA, neuron=False)


def neuron_device_plugin(observed: ClusterObservation) -> Iterator[Finding]:
    """The Neuron device plugin runs on every node of the units' NodePools with Inferentia or Trainium, and these offer Neuron devices."""
    yield from _plugin(observed, NEURON_PLUGIN, _NEURON, neuron=True)


def _plugin(observed: ClusterObservation, component: Component, resources: tuple[str, ...], *, neuron: bool) -> Iterator[Finding]:
    workload, pools = observed.daemon_set(component), observed.pools(neuron=neuron)
    bare, offering = _nodes(observed, pools, resources)
    if workload is None:
        if pools and offering and not bare:
            yield ok(f"not installed, but the nodes offer {resources[0]}: their image includes the plugin")
        elif observed.applications and not pools:
            yield ok("not installed, and no unit needs it")
        elif observed.auto_mode:
            yield unknown("EKS Auto Mode includes the plugin in its nodes: the cluster does not show it")
        else:
            yield absent(observed, component, Level.PROBLEM if pools else Level.WARNING)
        return
    wrong = list(runs(component, workload))
    for pool, taint in _taints(observed, pools):
        if not tolerates(workload.tolerations, taint):
            key = f"{text(taint, 'key')}={text(taint, 'value')}:{text(taint, 'effect')}"
            wrong.append(
                problem(f"it does not tolerate the taint {key} of NodePool {pool}", f"add the toleration to its values: {step(component)}")
            )
    if bare:
        wrong.append(
            problem(
                f"{len(bare)} ready node(s) of the units' NodePools offer no {resources[0]}: {words.listing(bare[:3])}",
                f"check the plugin's pod there; its node affinity must select them: {step(component)}",
            )
        )
    yield from wrong or [ok(described(workload) if workload.wanted else f"{workload.where}: no node needs it at present")]


def _taints(observed: ClusterObservation, pools: list[str]) -> Iterator[tuple[str, Object]]:
    """The taints that keep pods away from the nodes of these NodePools."""
    for pool in observed.objects(NODE_POOLS):
        if name_of(pool) in pools:
            for taint in items(pool, "spec", "template", "spec", "taints"):
                if isinstance(taint, dict) and text(taint, "effect") != "PreferNoSchedule":
                    yield name_of(pool), taint


def _nodes(observed: ClusterObservation, pools: list[str], resources: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The ready nodes of these NodePools that offer none of the resources, and those that offer one."""
    bare: list[str] = []
    offering: list[str] = []
    for node in observed.objects(NODES):
        if mapping(node, "metadata", "labels").get(POOL_LABEL) not in pools or condition(node, "Ready").get("status") != "True":
            continue
        allocatable = mapping(node, "status", "allocatable")
        (offering if any(str(allocatable.get(one, "0")) != "0" for one in resources) else bare).append(name_of(node))
    return sorted(bare), sorted(offering)


def container_insights(observed: ClusterObservation) -> Iterator[Finding]:
    """The CloudWatch Observability add-on runs: its operator, and an agent on every node."""
    operator, agent = observed.deployment(INSIGHTS_OPERATOR), observed.daemon_set(INSIGHTS_AGENT)
    wrong: list[Finding] = []
    if operator is None:
        wrong.append(absent(observed, INSIGHTS_OPERATOR, Level.WARNING))
    else:
        wrong += [*stopped(INSIGHTS_OPERATOR, operator), *runs(INSIGHTS_OPERATOR, operator)]
    if agent is not None:
        wrong += runs(INSIGHTS_AGENT, agent)
    elif operator is not None:
        wrong.append(
            warning(
                "its agent is missing: the operator has created no DaemonSet",
                f"kubectl -n {operator.where.partition('/')[0]} logs deployment/{operator.where.partition('/')[2]}",
            )
        )
    yield from wrong or [ok("; ".join(described(one) for one in (operator, agent) if one is not None))]
