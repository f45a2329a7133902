"""Changes of what the controller watches that are no reason to change a mode."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from benchmarks.fleet import Member
from benchmarks.noise import event
from controller.clients.kube import EVENTS, INGRESSES, MERGE_PATCH, NODE_CLAIMS, PODS, KubeSession, Object, Resource
from controller.errors import RemoteError


class Churn:
    """Changes what the controller watches, without a reason to change a mode: pods, NodeClaims, events and an annotation.

    Args:
        session: An administrator's.
        members: The applications.
        every_s: Seconds between the beginnings of two rounds of changes.
        nodes: Pods, and NodeClaims, at a time. They are there when it begins.
        rounds: Rounds in which one NodeClaim comes and goes; a pod does in each.
    """

    def __init__(self, session: KubeSession, members: Sequence[Member], every_s: float = 0.5, nodes: int = 20, rounds: int = 1) -> None:
        self._session, self._members, self._rng = session, members, random.Random(20261127)
        self._every_s, self._nodes, self._rounds = every_s, nodes, rounds
        self._stop, self._there = threading.Event(), {PODS: deque[str](), NODE_CLAIMS: deque[str]()}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.changes = 0

    def __enter__(self) -> Self:
        for number in range(self._nodes):
            name, member = f"churn-0-{number:06d}", self._rng.choice(self._members)
            self._create_pod(name, member)
            self._create_claim(name, member)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        """Rounds at fixed times, late ones made up for: what is remembered of the last hour depends on no other work of the machine."""
        begun, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, begun + (number + 1) * self._every_s - time.monotonic())):
            number += 1
            with suppress(RemoteError):  # while the API server is away
                self._change(number, self._rng.choice(self._members))

    def _change(self, number: int, member: Member) -> None:
        """A pod and perhaps a NodeClaim more, an event, another annotation of an Ingress; and the oldest pod and NodeClaim less."""
        self._create_pod(f"churn-{number:06d}", member)
        if number % self._rounds == 0:
            self._create_claim(f"churn-{number:06d}", member)
            self.changes += 1
        self._session.create(EVENTS, "default", event(number, "default", self._rng), field_manager="churn")
        annotated = json.dumps({"metadata": {"annotations": {"bench/number": str(number)}}})
        self._session.request("PATCH", INGRESSES.path(member.namespace, member.name), body=annotated, content_type=MERGE_PATCH)
        self.changes += 3
        for there in self._there.values():
            while len(there) > self._nodes:
                self._session.request("DELETE", there.popleft(), query=(("gracePeriodSeconds", "0"),))
                self.changes += 1

    def _create_pod(self, name: str, member: Member) -> None:
        """A pod of an application's inf2 unit."""
        container = {"name": "server", "image": "server:1"}
        labels = {"app": f"{member.name}-inf2", "pod-template-hash": "5655dd594d"}
        pod = {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": name, "containers": [container]}}
        self._made(PODS, member.namespace, pod)

    def _create_claim(self, name: str, member: Member) -> None:
        """A NodeClaim of an application's NodePool."""
        reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
        spec = {"nodeClassRef": reference, "requirements": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}
        kind = {"apiVersion": NODE_CLAIMS.api_version, "kind": NODE_CLAIMS.kind}
        self._made(NODE_CLAIMS, None, {**kind, "metadata": {"name": name, "labels": {"karpenter.sh/nodepool": member.pool}}, "spec": spec})

    def _made(self, resource: Resource, namespace: str | None, body: Object) -> None:
        self._session.request("POST", resource.path(namespace), body=json.dumps(body))
        self._there[resource].append(resource.path(namespace, body["metadata"]["name"]))
