"""Floods a view with what a stranger may create, as the production process holds it, and prints the highest memory of this process in MiB.

``python -m tests.signals.flood NAME``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import kubernetes.client  # noqa: F401 - a part of the running process

import controller.service.wiring  # noqa: F401 - likewise
from controller.clients.kube import EVENTS, NODE_CLAIMS, NODE_POOLS, PODS, Resource
from controller.clock import format_rfc3339
from controller.foreign import decode
from controller.signals.cluster import ClusterView
from failover_testbed.clocks import ManualClock
from tests.signals.samples import ice_event, moment, node_claim, waiting_pod

T0 = moment("2026-08-25T10:00:00Z")
LACKING = "no instance type has enough resources, requirements=karpenter.sh/nodepool In [{}]"
Flood = Iterator[tuple[Resource, dict[str, Any]]]


def _said(pod: str, message: str) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "shop", "name": pod}
    event = {"kind": "Event", "involvedObject": about, "reason": "FailedScheduling", "source": {"component": "karpenter"}}
    return {**event, "metadata": {"namespace": "shop", "name": pod}, "message": message, "lastTimestamp": format_rfc3339(T0)}


def _invented(number: int) -> str:
    """32 kB that name 350 NodePools, none of them twice."""
    return "; ".join(LACKING.format(f"x-{number}-{place}") for place in range(350))


def refusals() -> Flood:
    """Of NodeClaims that never were."""
    yield from ((EVENTS, ice_event(f"pool-{number}-aaaaa", T0 + number / 1e4)) for number in range(40_000))


def scheduling() -> Flood:
    """Of pods that wait, and can use any NodePool."""
    for number in range(5_000):
        yield PODS, waiting_pod(f"p-{number}")
        yield EVENTS, _said(f"p-{number}", _invented(number))


def early() -> Flood:
    """Of pods that never were."""
    yield from ((EVENTS, _said(f"p-{number}", _invented(number))) for number in range(5_000))


def claims() -> Flood:
    """That name types without end."""
    for number in range(10_000):
        yield NODE_CLAIMS, node_claim(f"pool-{number}-aaaaa", f"pool-{number}", T0, types=tuple(f"t{number}.x{one}" for one in range(300)))


def pods() -> Flood:
    """With labels without end."""
    for number in range(15_000):
        yield PODS, waiting_pod(f"p-{number}", labels={f"label-{one}": f"value-{number}-{one}" for one in range(200)})


def messages() -> Flood:
    """As large as etcd takes them, and larger when they are written as JSON."""
    for number in range(60):
        yield EVENTS, _said(f"p-{number}", "\x01" * 700_000 + _invented(number))


def names() -> Flood:
    """As long as a name can be, and longer."""
    for number in range(20_000):
        yield EVENTS, ice_event(f"{number}-" + "x" * (240 if number % 2 else 4000) + "-aaaaa", T0)
        yield EVENTS, _said(f"{number}-" + "x" * 240, LACKING.format("y" * 240))


FLOODS = {flood.__name__: flood for flood in (refusals, scheduling, early, claims, pods, messages, names)}


def main(name: str) -> None:
    """Delivers the flood, and one refusal of a NodePool that exists in the midst of it, which must survive."""
    for service in ("elbv2", "ec2", "cloudwatch"):
        boto3.client(service, region_name="us-west-2")
    view = ClusterView(ManualClock(T0), lambda: None)
    view.listed(NODE_POOLS, None, [{"metadata": {"name": "inf2"}, "spec": {}}])
    view.changed(EVENTS, None, "ADDED", ice_event("inf2-aaaaa", T0 - 5))
    for kind, obj in FLOODS[name]():
        view.changed(kind, None, "ADDED", decode(json.dumps(obj).encode()))
    assert len(view.pool("inf2", T0).failures) == 1
    # Not `ru_maxrss`: the kernel keeps the parent's there.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(int(peak.split()[1]) / 1024)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
