"""A drill from its command to its report: the real Karpenter, API server and load-balancer controller; AWS, with FIS, is emulated."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from controller.clock import format_rfc3339
from controller.policy.model import Verdict
from failover_harness.waiting import wait_for
from tests.cluster.life import LEADING
from tests.cluster.manifests import SYSTEM
from tests.drill.drills import page
from tests.support import closing
from tests.support.applications import COST_TARGETS
from tests.world.balanced import verdict
from tests.world.drilling import Reported, drill, drillable, driller_of, needed, restrict
from tests.world.whole import WholeStack

COST = {target.service: target.weight for target in COST_TARGETS}
_ENDS_S = 720.0
"""Until the command has ended: the shortage, until Karpenter has requested a node again, until that node serves."""
_FIRST = "sd21-inf2"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("whole", "minutes"), [(False, 2), (True, 6)], ids=["EC2 refuses each offering", "EC2 refuses the request as a whole"]
)
def test_a_drill_passes_and_its_report_is_what_happened(
    unscaled: WholeStack, tmp_path: Path, request: pytest.FixtureRequest, *, whole: bool, minutes: int
) -> None:
    """Karpenter makes an Event of the one refusal, and of the other a create error that stays on the NodeClaim."""
    unscaled.capacity.fails_whole = whole
    with unscaled.controller(**LEADING) as service, driller_of(unscaled) as account, page() as url:
        wait_for("cost mode is verified", lambda: verdict(service, unscaled) is Verdict.YES, 60, unscaled.report)
        wait_for("a drill may begin", lambda: drillable(unscaled), 120, unscaled.report)
        zone, before = restrict(unscaled, _FIRST), len(unscaled.front.writes())
        with drill(unscaled, account, *needed(url, zone, tmp_path), "--duration", f"{minutes}m") as running:
            wait_for("EC2 refuses", lambda: unscaled.aws.fis.zones() == (zone,) or running.poll() is not None, 60)
            unscaled.scale(_FIRST, 2)
            output, progress = running.communicate(timeout=_ENDS_S)
        assert running.returncode == 0, f"{progress}\n{output}\n{unscaled.report()}"
        writes = [one for one in unscaled.front.writes()[before:] if one.action == "ModifyRule"]
        assert len(writes) == 2, unscaled.changes(before)
        assert unscaled.live() == COST
        with drill(unscaled, account, "--check-left") as running:
            assert running.communicate(timeout=60)[0] == f"Drills of {unscaled.key} have left nothing.\n"
    reported = Reported(json.loads(output))
    closing.say(request.config, f"report of {request.node.name}", reported.again().text())
    away, back = (format_rfc3339(one.at) for one in writes)
    happened = {
        "begun": reported.at("the experiment begins"),
        "refused": reported.at("EC2 first refuses Karpenter an instance"),
        "proven and written": reported.at("the controller writes capacity mode: ShortageProven"),
        "ModifyRule": away,
        "targets healthy": reported.at("the load balancer shows capacity mode"),
        "ended": reported.at("the experiment has ended: completed"),
        "return written": reported.at("the controller writes cost mode"),
        "ModifyRule again": back,
        "targets healthy again": reported.at("the load balancer shows cost mode"),
    }
    assert reported.document["verdict"] == "passed"
    assert all(first <= second for first, second in pairwise(happened.values())), happened
    assert (tmp_path / "drill.html").read_text() == reported.again().html()
    assert json.loads(json.dumps(reported.again().document())) == reported.document
    fis = unscaled.aws.client("fis")
    assert fis.list_experiment_templates()["experimentTemplates"] == []
    assert [one["state"]["status"] for one in fis.list_experiments()["experiments"]] == ["completed"]
    user = f"system:serviceaccount:{SYSTEM}:{account}"
    assert {one.verb for one in unscaled.plane.audit(user)} == {"get", "list"}, "a drill changes nothing in the cluster"
