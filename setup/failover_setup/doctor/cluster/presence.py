"""The checks common to all components: that each is installed, runs, and is not too old."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import DEPLOYMENTS, Resource
from controller.policy import text as words
from failover_setup.doctor.cluster.components import Component, step
from failover_setup.doctor.cluster.observe import ClusterObservation
from failover_setup.doctor.cluster.workload import Workload, older, shown
from failover_setup.doctor.report import Finding, Level, ok, problem, unknown, warning


def absent(observed: ClusterObservation, component: Component, level: Level) -> Finding:
    """The finding about a component that was not found.

    Args:
        observed: The cluster.
        component: The missing component.
        level: How bad that is if all namespaces were listed; otherwise the finding is "cannot tell".
    """
    if observed.homes:
        listed = words.listing(observed.homes)
        return unknown(f"{component.title} is not in {listed}; other namespaces may not be listed", f"see {step(component)}")
    return Finding(level, f"{component.title} is not installed", f"install {component.pinned or 'it'}: {step(component)}")


def runs(component: Component, workload: Workload) -> Iterator[Finding]:
    """Findings about a component that does not fully run or is too old; none if all is well."""
    where, kubectl = workload.where, f"kubectl -n {workload.where.partition('/')[0]} get pods"
    if not workload.ready and workload.wanted:
        yield problem(f"{component.title} ({where}) has no ready pod, {workload.wanted} wanted", f"find out why: {kubectl}")
    elif workload.ready < workload.wanted:
        yield warning(f"{component.title} ({where}) has {workload.ready} of {workload.wanted} pods ready", f"find out why: {kubectl}")
    elif not workload.settled:
        yield warning(f"{component.title} ({where}) is being updated", "run doctor again in a minute")
    if older(workload.version, component.at_least):
        yield problem(
            f"{component.title} is {shown(workload.version)}; versions before {shown(component.at_least)} {component.reason}",
            f"upgrade it to {component.pinned}: {step(component)}",
        )


def stopped(component: Component, workload: Workload) -> Iterator[Finding]:
    """A finding if a Deployment is scaled to 0."""
    if not workload.wanted:
        yield problem(f"{component.title} ({workload.where}) is scaled to 0", f"kubectl -n {_scale(workload.where)} --replicas=2")


def _scale(where: str) -> str:
    namespace, _, name = where.partition("/")
    return f"{namespace} scale deployment {name}"


def deployed(observed: ClusterObservation, component: Component, level: Level) -> Iterator[Finding]:
    """All checks of a component that is a Deployment: its faults, or one line about its state.

    Args:
        observed: The cluster.
        component: The component.
        level: How bad its absence is.
    """
    workload = observed.deployment(component)
    if workload is None:
        yield absent(observed, component, level)
        return
    wrong = [*stopped(component, workload), *runs(component, workload)]
    yield from wrong or [ok(described(workload))]


def described(workload: Workload) -> str:
    """The state of a running component, in words."""
    return f"{workload.where}: {workload.ready} of {workload.wanted} pods ready, version {shown(workload.version)}"


def missing_altogether(observed: ClusterObservation, component: Component, *wanted: Resource) -> bool:
    """Whether a component's Deployment and all its kinds are missing. Its absence is then reported once, not again for its kinds."""
    surely = observed.deployment(component) is None and not observed.homes and DEPLOYMENTS.name not in observed.unreadable
    return surely and not any(kind.name in observed.served for kind in wanted)


def kinds(observed: ClusterObservation, *wanted: Resource, component: Component) -> Iterator[Finding]:
    """Checks that the API server serves kinds of a component, in the version that the controller reads."""
    missing: dict[str, list[Resource]] = {}
    for kind in wanted:
        if kind.name not in observed.served:
            missing.setdefault(kind.api_version, []).append(kind)
    for version, lacking in missing.items():
        others = sorted(one for one in observed.groups if one.partition("/")[0] == lacking[0].group and one != version)
        there = f"; the group is served as {words.listing(others)}" if others else ""
        yield problem(
            f"{words.listing(kind.plural for kind in lacking)} of {version} are not served{there}",
            f"install its custom resource definitions (helm does not upgrade those in a chart's crds/): {step(component)}",
        )
    if not missing:
        yield ok(words.listing(f"{kind.plural}.{kind.api_version}" for kind in wanted))
