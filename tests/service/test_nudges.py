"""The nudge on the Ingress itself, over HTTP: annotations that come and go with the action's patch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.policy.model import Verdict, Verification
from controller.routing.annotations import NUDGED_AT
from controller.signals.external import ExternalSources
from controller.signals.snapshots import ExternalSignals
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from tests.support.cluster import Cluster, make_service, running
from tests.support.constants import set_constant


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
            wait_for("its memory", lambda: service.controller.views()[0].memory.nudged.times >= 1)
        written = [json.loads(body)["metadata"]["annotations"] for body in cluster.patches()]
        place = next(index for index, values in enumerate(written) if NUDGED_AT in values)
        nudge, before = written[place], written[place - 1]
        assert place > 0
        assert nudge == {**before, NUDGED_AT: nudge[NUDGED_AT]}
    finally:
        cluster.close()
