"""`failoverctl drill` as a process, with the permissions that its page names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from controller.cli.published import overdue, read_status
from controller.clients.kube import MERGE_PATCH, NODE_POOLS
from controller.clock import parse_rfc3339
from controller.errors import NotFound
from controller.signals.node_labels import ZONE_LABEL
from failover_setup.drill.report import Check, Report
from tests.cluster.manifests import SYSTEM, kubectl
from tests.cluster.processes import PROGRAM, environment
from tests.drill.drills import ROLE
from tests.world.whole import WholeStack

_READ: Final = "--verb=get,list"
_CLUSTER: Final = "--resource=events,nodepools.karpenter.sh,nodeclaims.karpenter.sh,failoverapplications.failoverctl.dev"


@contextmanager
def driller_of(stack: WholeStack) -> Iterator[str]:
    """A ServiceAccount with the permissions that the page names and no other, by name."""
    name, account = f"drill-{stack.namespace}", f"--serviceaccount={SYSTEM}:drill-{stack.namespace}"
    kubectl(stack.plane, "-n", SYSTEM, "create", "serviceaccount", name)
    kubectl(stack.plane, "-n", SYSTEM, "create", "role", name, _READ, "--resource=configmaps")
    kubectl(stack.plane, "-n", SYSTEM, "create", "rolebinding", name, f"--role={name}", account)
    kubectl(stack.plane, "create", "clusterrole", name, _READ, _CLUSTER)
    kubectl(stack.plane, "create", "clusterrolebinding", name, f"--clusterrole={name}", account)
    yield name
    kubectl(stack.plane, "-n", SYSTEM, "delete", "rolebinding,role,serviceaccount", name)
    kubectl(stack.plane, "delete", "clusterrolebinding,clusterrole", name)


def drillable(stack: WholeStack) -> bool:
    """Whether the controller has published that it runs, and remembers cost mode."""
    found = read_status(stack.session, SYSTEM)
    if found.status is None or overdue(found.status, time.time()):
        return False
    with suppress(NotFound):
        return bool(stack.memory().get("mode") == "cost")
    return False


@contextmanager
def drill(stack: WholeStack, account: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the command for the stack's application; kills it on exit where it still runs.

    Args:
        stack: Whose application.
        account: Who runs it.
        words: Its options.
    """
    variables = {**os.environ, **environment(stack, account=account), **stack.aws.environment()}
    command = [PROGRAM, "drill", stack.key, *words]
    with subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def needed(url: str, zone: str, folder: Path) -> tuple[str, ...]:
    """The options of a drill, without its duration. Its page goes into a folder."""
    roles = ("--karpenter-role", ROLE, "--fis-role", f"{ROLE}-fis")
    return ("--url", url, "--zone", zone, *roles, "--html", str(folder / "drill.html"), "-o", "json", "--yes")


def restrict(stack: WholeStack, unit: str) -> str:
    """Leaves a unit's NodePool the zone in which its node runs, as the page says; returns the zone."""
    pool = stack.units[unit].node_pool
    nodes = stack.session.request("GET", "/api/v1/nodes", query=(("labelSelector", f"karpenter.sh/nodepool={pool}"),))["items"]
    (zone,) = {str(one["metadata"]["labels"][ZONE_LABEL]) for one in nodes}
    found = stack.session.get(NODE_POOLS, None, pool)["spec"]["template"]["spec"]["requirements"]
    requirements = [*(one for one in found if one["key"] != ZONE_LABEL), {"key": ZONE_LABEL, "operator": "In", "values": [zone]}]
    body = json.dumps({"spec": {"template": {"spec": {"requirements": requirements}}}})
    stack.session.request("PATCH", NODE_POOLS.path(None, pool), body=body, content_type=MERGE_PATCH)
    return zone


@dataclass(frozen=True, slots=True)
class Reported:
    """The report as the command wrote it for machines.

    Attributes:
        document: The document.
    """

    document: dict[str, Any]

    def at(self, what: str) -> str:
        """When the only moment was that begins so, RFC 3339."""
        (found,) = [one["at"] for one in self.document["timeline"] if one["what"].startswith(what)]
        return str(found)

    def again(self) -> Report:
        """The same report, which makes its other forms."""
        rest = {key: self.document[key] for key in ("application", "requests", "cost", "interrupted")}
        moments = tuple((parse_rfc3339(one["at"]) or 0.0, one["what"]) for one in self.document["timeline"])
        return Report(timeline=moments, checks=tuple(Check(**one) for one in self.document["checks"]), **rest)
