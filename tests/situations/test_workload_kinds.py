"""A unit of any kind of workload is proven short, and gets its floors, at the times of a Deployment."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from controller.policy.model import Application, WorkloadKind
from tests.situations import stage
from tests.situations.catalogue import SITUATIONS
from tests.situations.situation import Situation
from tests.situations.stage import Played, Stage

_LWS = "leaderworkerset.sigs.k8s.io"
_NAMES = ("all zones, one answer", "all zones, one a call", "one zone", "spot and on-demand out", "spot interrupted", "partial grants")
_CHOSEN = [one for one in SITUATIONS if one.name in _NAMES]


class _OfKind(Stage):
    """A stage on which every Deployment is a workload of another kind."""

    kind = WorkloadKind.ROLLOUT

    def _emit(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        if kind == "Deployment":
            super()._emit(str(self.kind), change, _workload(self.kind, obj))
        elif kind == "Pod" and "ownerReferences" in obj["metadata"]:
            super()._emit(kind, change, {**obj, "metadata": {**obj["metadata"], **_owned(self.kind, obj["metadata"])}})
        else:
            super()._emit(kind, change, obj)


def _workload(kind: WorkloadKind, obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = obj["spec"], obj["status"] | {"replicas": obj["spec"]["replicas"]}  # a StatefulSet that creates its pods at once
    if kind is WorkloadKind.LEADER_WORKER_SET:
        spec = {"replicas": spec["replicas"], "leaderWorkerTemplate": {"size": 1, "workerTemplate": spec["template"]}}
    return {**obj, "spec": spec, "status": status}


def _owned(kind: WorkloadKind, metadata: dict[str, Any]) -> dict[str, Any]:
    """Labels and owner of a pod, as the kind's controllers write them."""
    name = metadata["labels"]["app"]
    labels, parent, owner = metadata["labels"], "StatefulSet", name
    if kind is WorkloadKind.ROLLOUT:
        labels, parent, owner = {**labels, "rollouts-pod-template-hash": "7f"}, "ReplicaSet", f"{name}-7f"
    elif kind is WorkloadKind.LEADER_WORKER_SET:
        labels = {f"{_LWS}/name": name, f"{_LWS}/group-index": metadata["name"], f"{_LWS}/worker-index": "0"}
    return {"labels": labels, "ownerReferences": [{"kind": parent, "name": owner, "controller": True}]}


@cache
def _as_deployments(name: str) -> Played:
    return stage.play(next(one for one in _CHOSEN if one.name == name))


def test_the_chosen_situations_are_there() -> None:
    assert len(_CHOSEN) == len(_NAMES)


@pytest.mark.parametrize("kind", [kind for kind in WorkloadKind if kind is not WorkloadKind.DEPLOYMENT])
@pytest.mark.parametrize("situation", _CHOSEN, ids=lambda one: one.name)
def test_a_unit_of_any_kind_is_proven_short_when_a_deployment_is(
    situation: Situation, kind: WorkloadKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proofs, mode changes, floors and alerts, each with its time."""
    wanted = _as_deployments(situation.name)
    plain = stage.application_of

    def of_kind(one: Situation) -> Application:
        app = plain(one)
        return replace(app, units=tuple(replace(unit, workload_kind=kind) for unit in app.units))

    monkeypatch.setattr(stage, "application_of", of_kind)
    monkeypatch.setattr(_OfKind, "kind", kind)
    found = _OfKind(situation).play()
    assert (found.proofs, found.changes, found.writes) == (wanted.proofs, wanted.changes, wanted.writes)
    assert {key: at for key, (at, _) in found.alerts.items()} == {key: at for key, (at, _) in wanted.alerts.items()}
