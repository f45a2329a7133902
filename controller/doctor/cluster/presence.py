"""What is asked of every component: that it is there, runs, and is not too old."""

from __future__ import annotations

from collections.abc import Iterator

from controller.clients.kube import DEPLOYMENTS, Resource
from controller.doctor.cluster.components import Component, step
from controller.doctor.cluster.observe import ClusterSeen
from controller.doctor.cluster.workload import Workload, older, shown
from controller.doctor.report import Finding, Level, ok, problem, unknown, warning
from controller.policy import text as words


def absent(seen: ClusterSeen, component: Component, level: Level) -> Finding:
    """The finding about a component that was not seen.

    Args:
        seen: The cluster.
        component: What is missing.
        level: How bad that is, where all namespaces could be looked at.
    """
    if seen.homes:
        looked = words.listing(seen.homes)
        return unknown(f"{component.title} is not in {looked}; other namespaces may not be listed", f"see {step(component)}")
    return Finding(level, f"{component.title} is not installed", f"install {component.pinned or 'it'}: {step(component)}")


def runs(component: Component, workload: Workload) -> Iterator[Finding]:
    """Whether a component that was seen runs and is new enough; nothing where both are so."""
    where, kubectl = workload.where, f"kubectl -n {workload.where.partition('/')[0]} get pods"
    if not workload.ready and workload.wanted:
        yield problem(f"{component.title} ({where}) has no ready pod, {workload.wanted} wanted", f"see why: {kubectl}")
    elif workload.ready < workload.wanted:
        yield warning(f"{component.title} ({where}) has {workload.ready} of {workload.wanted} pods ready", f"see why: {kubectl}")
    elif not workload.settled:
        yield warning(f"{component.title} ({where}) is being changed right now", "look again in a minute")
    if older(workload.version, component.at_least):
        yield problem(
            f"{component.title} is {shown(workload.version)}; versions before {shown(component.at_least)} {component.reason}",
            f"upgrade it to {component.pinned}: {step(component)}",
        )


def stopped(component: Component, workload: Workload) -> Iterator[Finding]:
    """Whether somebody has scaled a Deployment to nothing."""
    if not workload.wanted:
        yield problem(f"{component.title} ({workload.where}) is scaled to 0", f"kubectl -n {_scale(workload.where)} --replicas=2")


def _scale(where: str) -> str:
    namespace, _, name = where.partition("/")
    return f"{namespace} scale deployment {name}"


def deployed(seen: ClusterSeen, component: Component, level: Level) -> Iterator[Finding]:
    """All of that for a Deployment: what is wrong, or one line that says how it is.

    Args:
        seen: The cluster.
        component: Which.
        level: How bad its absence is.
    """
    workload = seen.deployment(component)
    if workload is None:
        yield absent(seen, component, level)
        return
    wrong = [*stopped(component, workload), *runs(component, workload)]
    yield from wrong or [ok(described(workload))]


def described(workload: Workload) -> str:
    """A component that runs, in words."""
    return f"{workload.where}: {workload.ready} of {workload.wanted} pods ready, version {shown(workload.version)}"


def missing_altogether(seen: ClusterSeen, component: Component, *wanted: Resource) -> bool:
    """Whether a Deployment and all kinds of a component are missing: then its absence is told once and that is enough."""
    surely = seen.deployment(component) is None and not seen.homes and DEPLOYMENTS.name not in seen.unreadable
    return surely and not any(kind.name in seen.served for kind in wanted)


def kinds(seen: ClusterSeen, *wanted: Resource, component: Component) -> Iterator[Finding]:
    """Whether the API server serves kinds of a component, in the version that is read here."""
    missing: dict[str, list[Resource]] = {}
    for kind in wanted:
        if kind.name not in seen.served:
            missing.setdefault(kind.api_version, []).append(kind)
    for version, lacking in missing.items():
        others = sorted(one for one in seen.groups if one.partition("/")[0] == lacking[0].group and one != version)
        there = f"; the group is served as {words.listing(others)}" if others else ""
        yield problem(
            f"{words.listing(kind.plural for kind in lacking)} of {version} are not served{there}",
            f"install its custom resource definitions (helm does not upgrade those in a chart's crds/): {step(component)}",
        )
    if not missing:
        yield ok(words.listing(f"{kind.plural}.{kind.api_version}" for kind in wanted))
