"""The first refusal of a drill, as Karpenter reports it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.clients.kube import connect
from controller.clock import parse_rfc3339
from failover_setup.drill.timeline import Observer
from failover_testbed.kube_api import EmulatedKubeApi, Identity
from tests.drill.drills import KEY

AT = "2026-12-02T12:00:00Z"


@pytest.fixture
def api() -> Iterator[EmulatedKubeApi]:
    with EmulatedKubeApi(tokens={"admin": Identity("admin")}) as started:
        yield started


def _observer(api: EmulatedKubeApi, folder: Path) -> Observer:
    return Observer(connect(kubeconfig=str(api.kubeconfig("admin", folder / "kubeconfig"))), "failover-system", KEY)


def _fail(api: EmulatedKubeApi, name: str, reason: str, message: str) -> None:
    """A NodeClaim whose launch fails."""
    launched = {"type": "Launched", "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": AT}
    api.store.create("NodeClaim", {"metadata": {"name": name}, "spec": {}})
    api.store.update_status("NodeClaim", name, {"conditions": [launched]})


def _event(message: str) -> dict[str, Any]:
    about = {"kind": "NodeClaim", "name": "inf2-abcde"}
    return {
        "metadata": {"name": "inf2-abcde.1", "namespace": "default"},
        "involvedObject": about,
        "reason": "InsufficientCapacityError",
        "message": message,
        "lastTimestamp": AT,
    }


def test_the_event_of_a_refusal_is_the_first(api: EmulatedKubeApi, tmp_path: Path) -> None:
    observer = _observer(api, tmp_path)
    assert observer.read().refused_at is None
    api.store.create("Event", _event("insufficient capacity"))
    seen = observer.read()
    assert (seen.refused_at, seen.refusal) == (parse_rfc3339(AT), "insufficient capacity")


def test_a_create_error_is_one_as_well_and_what_passes_is_none(api: EmulatedKubeApi, tmp_path: Path) -> None:
    """Karpenter took the answer of FIS as a create error, of which no Event speaks (aws/karpenter-provider-aws#6168)."""
    _fail(api, "before", "LaunchFailed", "from before the drill")
    observer = _observer(api, tmp_path)
    _fail(api, "throttled", "RequestLimitExceeded", "Request limit exceeded")
    assert observer.read().refused_at is None
    _fail(api, "failed", "LaunchFailed", "Instance launch failed")
    seen = observer.read()
    assert (seen.refused_at, seen.refusal) == (parse_rfc3339(AT), "LaunchFailed: Instance launch failed")
