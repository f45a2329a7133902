"""The whole controller over HTTP: watches, decision, patches, state, messages."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.policy.model import Mode, Plan
from controller.ports import MessageKind
from controller.routing.annotations import NUDGED_AT
from controller.routing.ingress.action import parse_action
from controller.routing.names import action_key
from controller.service.executor import Executor, Outcome
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.kube_api import Identity
from tests.support.applications import SERVICES
from tests.support.cluster import (
    ACTION,
    KIND,
    NAMESPACE,
    Cluster,
    Collector,
    application_document,
    auto_binding,
    edit,
    make_service,
    running,
)

SHORT_WAITS = {"holdMinSeconds": 30, "holdMaxSeconds": 30, "quietSeconds": 60, "dwellCapacitySeconds": 30}
"""A policy that falls back soon."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application; a second of the machine is twenty of the cluster."""
    made = Cluster(AcceleratedClock(20))
    yield made
    made.close()


def _fail_over(cluster: Cluster) -> None:
    """inf2 runs out while pods wait for it, and the controller fails over."""
    cluster.pend("sd21-inf2", 2)
    cluster.refuse("inf2", "inf2.xlarge")
    wait_for("capacity mode", lambda: cluster.mode() == "capacity")


def _services(cluster: Cluster) -> list[str]:
    return [target.service for target in parse_action(cluster.ingress()["metadata"]["annotations"][ACTION])[0]]


def test_it_fails_over_on_a_proven_shortage_and_falls_back_on_the_proven_return(cluster: Cluster, tmp_path: Path) -> None:
    """The main job: one patch to capacity mode, KEDA raised, people notified; one patch back once everything is proven."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS, sinks=(collector,))) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        _fail_over(cluster)
        assert _services(cluster) == ["sd21-all"]
        wait_for("KEDA's adjusted target", lambda: _target(cluster, "sd21-inf2") == "89.2")
        cluster.launch("inf2", "inf2.xlarge")
        cluster.schedule_all("sd21-inf2")
        wait_for("cost mode", lambda: cluster.mode() == "cost")
        assert len(_services(cluster)) == 5
        wait_for("both messages", lambda: len([m for m in collector.messages if m.kind is not MessageKind.ALERT]) >= 2)
    assert len(cluster.patches()) == 2
    kinds = [(m.kind, m.reason) for m in collector.messages if m.kind in {MessageKind.FAILOVER, MessageKind.FALLBACK}]
    assert kinds == [(MessageKind.FAILOVER, "ShortageProven"), (MessageKind.FALLBACK, "ReturnProven")]
    assert {"ShortageProven", "ReturnProven"} <= set(cluster.events())


def _target(cluster: Cluster, unit: str) -> str:
    scaled = cluster.store.get("ScaledObject", f"{unit}-hpa", namespace=NAMESPACE)
    trigger = scaled["spec"]["triggers"][0]
    assert trigger["authenticationRef"] == {"name": "keda-aws"}, "the trigger must keep what the controller does not own"
    return str(trigger["metadata"]["targetMetricValue"])


def test_one_zone_out_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """A refusal of a claim pinned to one zone suspects, and proves nothing while demand is young."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2")
        cluster.refuse("inf2", "inf2.xlarge", zones=("us-west-2a",))
        wait_for("the suspicion", lambda: service.controller.views()[0].decision.reason == "ShortageSuspected")
    assert cluster.patches() == []


@pytest.mark.parametrize("mode", ["cost", "capacity"])
def test_a_restart_in_either_mode_switches_nothing(cluster: Cluster, tmp_path: Path, mode: str) -> None:
    """The second process reads mode and memory and goes on where the first one stopped."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        if mode == "capacity":
            _fail_over(cluster)
    before = cluster.ingress()["metadata"]["annotations"][ACTION]
    count = len(cluster.patches())
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a decision of the second process", lambda: bool(service.controller.views()) and _fresh(service))
        view = service.controller.views()[0]
        assert str(view.decision.mode) == mode
    assert cluster.ingress()["metadata"]["annotations"][ACTION] == before
    assert len(cluster.patches()) == count
    assert len(view.memory.mode_changes) == (1 if mode == "capacity" else 0)


def _fresh(service: object) -> bool:
    view = service.controller.views()[0]  # type: ignore[attr-defined]
    return str(view.decision.reason) != "SignalsStale"


def test_a_dry_run_needs_read_permissions_only_and_writes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """It decides like the real one and leaves no trace."""
    with running(make_service(cluster, tmp_path, dry_run=True, token="reader")) as service:
        wait_for("the first decision", lambda: bool(service.controller.views()))
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("the decision to fail over", lambda: service.controller.views()[0].decision.verb == "failover")
        made = service.controller.views()[0].plan
    assert [action.kind for action in made.due if action.kind == "route"] == ["route"]
    writes = [r for r in cluster.api.audit.records() if r.user == "reader" and r.access.verb not in {"get", "list", "watch"}]
    assert writes == []


@pytest.mark.parametrize(
    ("group", "source"),
    [
        pytest.param("karpenter.sh", "karpenter", id="without Karpenter"),
        pytest.param("keda.sh", "keda", id="without KEDA"),
        pytest.param("elbv2.k8s.aws", "target-group-bindings", id="without target group bindings"),
    ],
)
def test_a_missing_kind_is_a_named_degradation(tmp_path: Path, group: str, source: str) -> None:
    """The controller runs on, says what it lacks, and does nothing it cannot justify."""
    cluster = Cluster(AcceleratedClock(20), without_groups=frozenset({group}))
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
            wait_for("its name", lambda: any(source in text for text in service.controller.views()[0].decision.degraded))
            status = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{service.http_port}/status").read())
            assert any(source in text for text in status["applications"]["shop/sd21"]["degraded"])
    finally:
        cluster.close()
    assert cluster.patches() == []


def test_on_auto_mode_it_fails_over_and_lacks_nothing(tmp_path: Path) -> None:
    """Neither the load-balancer controller's kind nor Karpenter's node classes are there: no source is degraded, no list is refused."""
    only = frozenset({"elbv2.k8s.aws", "karpenter.k8s.aws"})
    cluster = Cluster(AcceleratedClock(20), without_groups=only, auto_mode=True)
    try:
        for service_name in (*SERVICES, "sd21-all"):
            cluster.store.create("TargetGroupBinding", auto_binding(service_name))
        cluster.open_gate("sd21-all-0", auto_binding("sd21-all")["metadata"]["name"], "eks.amazonaws.com")
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
            assert not [text for text in service.controller.views()[0].decision.degraded if "target-group-bindings" in text]
            _fail_over(cluster)
    finally:
        cluster.close()
    paths = [record.access.path for record in cluster.api.audit.records() if record.user == "controller"]
    assert not [path for path in paths if "elbv2.k8s.aws" in path and path.endswith("targetgroupbindings")]


def test_without_keda_it_still_switches(tmp_path: Path) -> None:
    """Routing does not need KEDA; what is left undone is said."""
    cluster = Cluster(AcceleratedClock(20), without_groups=frozenset({"keda.sh"}))
    try:
        with running(make_service(cluster, tmp_path)) as service:
            wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
            _fail_over(cluster)
            assert any("was not found" in text for text in service.controller.views()[0].plan.refused)
    finally:
        cluster.close()


def test_a_foreign_change_is_restored_and_reported(cluster: Cluster, tmp_path: Path) -> None:
    """Somebody overwrites the action in capacity mode; the mode marker still says what it should be."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        wrong = '{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"sd21-inf2","servicePort":80}]}}'
        cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {ACTION: wrong}}}, namespace=NAMESPACE, manager="argocd")
        wait_for("the right action", lambda: _services(cluster) == ["sd21-all"])
        wait_for("the message", lambda: any(m.reason == "RoutingDrifted" for m in collector.messages))
    drift = next(m for m in collector.messages if m.reason == "RoutingDrifted")
    assert "argocd" in drift.why


def test_a_broken_edit_keeps_the_old_application_running_and_says_so(cluster: Cluster, tmp_path: Path) -> None:
    """A bad generation is refused and reported; the report is resolved when it is corrected."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        accepted = partial(service._telemetry.registry.get_sample_value, "failoverctl_config_ok")
        assert accepted() == 1
        edit(cluster, "weight: 40", "weight: 40.5")
        wait_for("the refusal", lambda: any(m.reason == "ConfigRefused" for m in collector.messages))
        assert "weight" in service.status()["configError"]
        assert accepted() == 0
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode with the old generation", lambda: cluster.mode() == "capacity")
        edit(cluster, "weight: 40.5", "weight: 40")
        wait_for("the reload", lambda: any(m.reason == "ConfigReloaded" for m in collector.messages))
        assert service.status()["configError"] == ""
        assert accepted() == 1


def test_an_action_with_another_name_does_not_take_the_one_that_the_rule_uses(cluster: Cluster, tmp_path: Path) -> None:
    """Of an action that is mistyped in the application file. An apply removes the annotations that it does not name any more."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        edit(cluster, "action: weighted-routing", "action: weighted-routng")
        wait_for("the alert", lambda: any(m.reason == "RoutingUnknown" for m in collector.messages))
        assert _services(cluster) == ["sd21-all"]
        edit(cluster, "action: weighted-routng", "action: weighted-routing")
        wait_for("the mode again", lambda: service.controller.views()[0].mode is Mode.CAPACITY)
    assert len(cluster.patches()) == 1


def test_another_port_of_a_service_waits_for_its_target_group(cluster: Cluster, tmp_path: Path) -> None:
    """80 and http are two target groups: the other one is empty until a rule names it."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        cluster.store.patch(KIND, "sd21", {"spec": {"capacityService": {"port": "http"}}}, namespace=NAMESPACE)
        wait_for("the alert", lambda: any("no standby rule keeps port http of sd21-all" in m.why for m in collector.messages))
        assert len(cluster.patches()) == 1
        rules = cluster.store.get("Ingress", "sd21", namespace=NAMESPACE)["spec"]["rules"]
        rules[-1]["http"]["paths"][0]["backend"]["service"]["port"] = {"name": "http"}
        cluster.store.patch("Ingress", "sd21", {"spec": {"rules": rules}}, namespace=NAMESPACE)
        wait_for("the next reason", lambda: "no target group for sd21-all yet" in service.controller.views()[0].decision.sentence)
        assert len([one for one in cluster.patches() if NUDGED_AT not in one]) == 1, "only the load-balancer controller is nudged"
        binding = cluster.store.get("TargetGroupBinding", "k8s-sd21-all", namespace=NAMESPACE)
        binding["spec"]["serviceRef"]["port"] = "http"
        metadata = {"name": "k8s-sd21-all-http", "namespace": NAMESPACE, "labels": binding["metadata"]["labels"]}
        cluster.store.create("TargetGroupBinding", {"metadata": metadata, "spec": binding["spec"]})
        wait_for("the port in the action", lambda: len(cluster.patches()) == 2)


def test_an_action_that_a_rule_still_uses_stays_where_the_file_names_another(cluster: Cluster, tmp_path: Path) -> None:
    """Traffic moves to a rule with the new name before the old rule goes: until then both are answered."""
    key = action_key("weighted-routing-2")
    with running(make_service(cluster, tmp_path, policy=SHORT_WAITS)) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        live, *rules = cluster.ingress()["spec"]["rules"]
        new = json.loads(json.dumps(live).replace("weighted-routing", "weighted-routing-2").replace('"/"', '"/v2"'))
        cluster.store.patch("Ingress", "sd21", {"spec": {"rules": [live, new, *rules]}}, namespace=NAMESPACE)
        edit(cluster, "action: weighted-routing", "action: weighted-routing-2")
        wait_for("the action with the new name", lambda: key in cluster.ingress()["metadata"]["annotations"])
        assert _services(cluster) == ["sd21-all"]
        cluster.store.patch("Ingress", "sd21", {"spec": {"rules": [new, *rules]}}, namespace=NAMESPACE)
        cluster.launch("inf2", "inf2.xlarge")
        cluster.schedule_all("sd21-inf2")
        wait_for("cost mode", lambda: cluster.mode() == "cost")
    assert ACTION not in cluster.ingress()["metadata"]["annotations"]


def test_a_restart_with_a_broken_object_controls_the_other_applications(cluster: Cluster, tmp_path: Path) -> None:
    """One bad application must not leave all others without a controller: it is named, and a rollout stops at the replica that lacks it."""
    collector = Collector()
    service = make_service(cluster, tmp_path, sinks=(collector,))
    broken = {"metadata": {"name": "broken", "namespace": NAMESPACE}, "spec": {"units": []}, "status": {"mode": "cost"}}
    cluster.store.create(KIND, application_document() | broken)
    cluster.store.update_status(KIND, "broken", {"mode": "cost"}, namespace=NAMESPACE)
    with running(service):
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        assert service._telemetry.registry.get_sample_value("failoverctl_config_ok") == 0
        assert f"{NAMESPACE}/broken" in service.status()["configError"]
        wait_for("the refusal", lambda: any(one.reason == "ConfigRefused" for one in collector.messages))
        assert service._ready().startswith("an application has a fault")
        assert service._healthy() == ""
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode of the sound one", lambda: cluster.mode() == "capacity")
        cluster.store.delete(KIND, "broken", namespace=NAMESPACE)
        wait_for("readiness", lambda: service._ready() == "")
        wait_for("the metric", lambda: service._telemetry.registry.get_sample_value("failoverctl_config_ok") == 1)
    (refusal,) = [one for one in collector.messages if one.reason == "ConfigRefused"]
    assert refusal.title == "applications refused; the applications without a fault run, and nothing controls the others"


def test_health_readiness_and_metrics_answer(cluster: Cluster, tmp_path: Path) -> None:
    """The endpoints that a Deployment's probes and Prometheus use."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        base = f"http://127.0.0.1:{service.http_port}"
        assert urllib.request.urlopen(f"{base}/healthz").read() == b"ok"
        assert urllib.request.urlopen(f"{base}/readyz").read() == b"ok"
        mode = 'failoverctl_mode{application="shop/sd21",mode="cost"} 1.0'
        # A decision is seen a moment before the metrics that follow from it.
        wait_for("the mode as a metric", lambda: mode in urllib.request.urlopen(f"{base}/metrics").read().decode())


def test_karpenter_that_cannot_be_observed_is_a_critical_alert(tmp_path: Path) -> None:
    """Without its events no shortage is ever seen: people must know, although nothing else is wrong."""
    identity = Identity("controller", deny=lambda access: access.resource == "events" and access.namespace == "default")
    cluster, collector = Cluster(AcceleratedClock(20), identity=identity), Collector()
    try:
        with running(make_service(cluster, tmp_path, sinks=(collector,))):
            wait_for("the alert", lambda: any("karpenter cannot be observed" in m.why for m in collector.messages))
    finally:
        cluster.close()


def _floors(cluster: Cluster) -> dict[str, int]:
    """The raised floors by unit."""
    found = {name: cluster.store.get("ScaledObject", f"{name}-hpa", namespace=NAMESPACE)["spec"]["minReplicaCount"] for name in SERVICES}
    return {name: floor for name, floor in found.items() if floor > 1}


def test_a_unit_that_is_removed_with_a_raised_floor_is_reported_until_somebody_lowers_it(cluster: Cluster, tmp_path: Path) -> None:
    """Also after a restart, when no application file says any more what the floor was."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        wait_for("a raised floor", lambda: bool(_floors(cluster)))
        unit, floor = next(iter(_floors(cluster).items()))
        left = [one for one in application_document()["spec"]["units"] if one["name"] != unit]
        cluster.store.patch(KIND, "sd21", {"spec": {"units": left}}, namespace=NAMESPACE)
        words = f"ScaledObject {unit}-hpa keeps the minReplicaCount {floor} that the controller raised from 1"
        wait_for("the alert", lambda: any(words in one.why for one in collector.messages))
    assert _floors(cluster)[unit] == floor, "it is left alone"
    collector = Collector()
    service = make_service(cluster, tmp_path, sinks=(collector,))
    cluster.store.patch(KIND, "sd21", {"spec": {"units": left}}, namespace=NAMESPACE)
    with running(service):
        wait_for("the alert after a restart", lambda: any(words in one.why for one in collector.messages))
        patch = {"spec": {"minReplicaCount": 1}}
        cluster.store.patch("ScaledObject", f"{unit}-hpa", patch, namespace=NAMESPACE, manager="kubectl-patch")
        wait_for("its end", lambda: not [one for one in service.controller.views()[0].decision.alerts if one.key.startswith("left/")])


def test_an_application_that_is_removed_names_the_floors_that_stay_raised(cluster: Cluster, tmp_path: Path) -> None:
    """Nothing lowers them any more. Those that another application names are its own."""
    collector = Collector()
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        wait_for("a raised floor", lambda: bool(_floors(cluster)))
        service.controller.configure({})
        wait_for("the message", lambda: any(one.title == "sd21: floors stay raised" for one in collector.messages))
    (said,) = [one for one in collector.messages if one.title == "sd21: floors stay raised"]
    for unit in _floors(cluster):
        assert f"{unit}-hpa (before: 1)" in said.why
        assert f"kubectl -n {NAMESPACE} patch scaledobject {unit}-hpa " in said.next


def test_floors_that_the_pass_raises_in_which_an_application_is_removed_are_named_too(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server has them before the controller knows that it does."""
    collector, written = Collector(), Executor.execute
    with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:

        def execute(self: Executor, plan: Plan, epoch: int, *, routing_alone: bool = False) -> Outcome:
            outcome = written(self, plan, epoch, routing_alone=routing_alone)
            if _floors(cluster):
                service.controller.configure({})
            return outcome

        monkeypatch.setattr(Executor, "execute", execute)
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        _fail_over(cluster)
        wait_for("the message", lambda: any(one.title == "sd21: floors stay raised" for one in collector.messages))
    assert [one.kind for one in collector.messages if one.reason == "ShortageProven"] == [MessageKind.FAILOVER]


def test_an_application_that_is_removed_leaves_no_alert_open(tmp_path: Path) -> None:
    """What watches it elsewhere would page for it for ever: nothing else would resolve the alert."""
    cluster, collector = Cluster(SystemClock(), standby=False), Collector()
    try:
        with running(make_service(cluster, tmp_path, sinks=(collector,))) as service:
            wait_for("the alert", lambda: any(one.kind is MessageKind.ALERT for one in collector.messages))
            service.controller.configure({})
            opened = {one.dedup_key for one in collector.messages if one.kind is MessageKind.ALERT}
            wait_for("the resolutions", lambda: opened <= {one.dedup_key for one in collector.messages if one.kind is MessageKind.RESOLVED})
    finally:
        cluster.close()


def test_a_reload_during_a_round_does_not_end_the_loop(cluster: Cluster, tmp_path: Path) -> None:
    """An application that is taken away while its pass is under way is no error."""
    with running(make_service(cluster, tmp_path)) as service:
        wait_for("a decision", lambda: bool(service.controller.views()) and _fresh(service))
        controller = service.controller
        applications = {one.key: one for one in controller.applications()}
        for _ in range(50):
            controller.configure({})
            controller.configure(applications)
        wait_for("decisions again", lambda: bool(controller.views()))
