"""The gradual return and the nudge on the Ingress itself, over HTTP: annotations that come and go with the action's patch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.clock import AcceleratedClock
from controller.policy.model import Verdict, Verification
from controller.routing.annotations import MARKER, NUDGED_AT, RETURN_STEP
from controller.signals.external import ExternalSources
from controller.signals.snapshots import ExternalSignals
from failover_harness.waiting import wait_for
from tests.support.cluster import Cluster, Collector, make_service, running
from tests.support.constants import set_constant

RETURN = {"holdMinSeconds": 30, "holdMaxSeconds": 30, "quietSeconds": 60, "dwellCapacitySeconds": 30}


def _bookkeeping(cluster: Cluster) -> list[dict[str, str]]:
    """Our annotations beside the action, of each accepted patch."""
    keys = (MARKER, RETURN_STEP, NUDGED_AT)
    written = [json.loads(body)["metadata"]["annotations"] for body in cluster.patches()]
    return [{key: values[key] for key in keys if key in values} for values in written]


def _there_and_back(cluster: Cluster) -> None:
    cluster.pend("sd21-inf2", 2)
    cluster.refuse("inf2", "inf2.xlarge")
    wait_for("capacity mode", lambda: cluster.mode() == "capacity")
    cluster.launch("inf2", "inf2.xlarge")
    cluster.schedule_all("sd21-inf2")


def test_a_return_in_steps(tmp_path: Path) -> None:
    """Two steps and the last one; a second process in the middle goes on from the step that the Ingress shows."""
    cluster, collector = Cluster(AcceleratedClock(20)), Collector()
    policy = {**RETURN, "returnSteps": 3, "returnStepSeconds": 40}
    try:
        with running(make_service(cluster, tmp_path, policy=policy, sinks=(collector,))) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            _there_and_back(cluster)
            wait_for("the first step", lambda: cluster.ingress()["metadata"]["annotations"].get(RETURN_STEP) == "1")
            assert cluster.mode() == "capacity"
        with running(make_service(cluster, tmp_path, policy=policy, sinks=(collector,))):
            wait_for("cost mode", lambda: cluster.mode() == "cost")
        assert RETURN_STEP not in cluster.ingress()["metadata"]["annotations"]
        steps = [written.get(RETURN_STEP, "") for written in _bookkeeping(cluster)]
        assert steps == ["", "1", "2", ""]
        titles = [message.title for message in collector.messages if message.reason == "ReturnStep"]
        assert titles == [f"sd21: the way back to cost mode is at step {step} of 3" for step in (1, 2)]
    finally:
        cluster.close()


def test_a_new_shortage_takes_the_steps_back(tmp_path: Path) -> None:
    """Refused again half way: full capacity mode at once, and people are notified why."""
    cluster, collector = Cluster(AcceleratedClock(20)), Collector()
    policy = {**RETURN, "returnSteps": 3, "returnStepSeconds": 3000}
    try:
        with running(make_service(cluster, tmp_path, policy=policy, sinks=(collector,))) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            _there_and_back(cluster)
            wait_for("the first step", lambda: cluster.ingress()["metadata"]["annotations"].get(RETURN_STEP) == "1")
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the way back", lambda: RETURN_STEP not in cluster.ingress()["metadata"]["annotations"])
            wait_for("the message", lambda: any(message.reason == "ReturnReversed" for message in collector.messages))
        assert cluster.mode() == "capacity"
        (said,) = [message for message in collector.messages if message.reason == "ReturnReversed"]
        assert "sd21-inf2 cannot get capacity" in said.why
    finally:
        cluster.close()


def test_a_change_that_is_not_shown_is_nudged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once more the same action, with an annotation that changes; only that annotation differs between the two patches."""
    set_constant(monkeypatch, "NUDGE_S", 30.0)
    cluster = Cluster(AcceleratedClock(20))

    def unseen(self: ExternalSources, application: Any) -> ExternalSignals:
        action = cluster.ingress()["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.weighted-routing"]
        return ExternalSignals(verification=Verification(Verdict.NOT_YET, cluster.clock.now(), "80 /* forwards to something else", action))

    monkeypatch.setattr(ExternalSources, "of", unseen)
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("the first decision", lambda: bool(service.controller.views()))
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the nudge", lambda: NUDGED_AT in cluster.ingress()["metadata"]["annotations"], deadline_s=40)
            wait_for("its memory", lambda: service.controller.views()[0].memory.nudges >= 1)
        written = [json.loads(body)["metadata"]["annotations"] for body in cluster.patches()]
        place = next(index for index, values in enumerate(written) if NUDGED_AT in values)
        nudge, before = written[place], written[place - 1]
        assert place > 0
        assert nudge == {**before, NUDGED_AT: nudge[NUDGED_AT]}
    finally:
        cluster.close()
