"""The whole controller on FailoverApplication objects: from `kubectl apply` to the decision and back into the status."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from controller.errors import Unavailable
from controller.policy.model import ActionKind, Memory, Mode, Plan
from controller.ports import StoredMemory
from controller.service import object_status
from controller.service.application_objects import ObjectCatalog
from controller.service.controller import View
from controller.service.executor import Executor, Outcome
from controller.service.store import ConfigMapStore
from controller.service.wiring import Service
from failover_harness.waiting import wait_for
from failover_testbed.clocks import AcceleratedClock, ManualClock
from failover_testbed.kube_api import Identity
from tests.support.cluster import KIND, NAMESPACE, Cluster, Collector, application_document, running, settings_for


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application as an object; a second of the machine is a minute of the cluster."""
    made = Cluster(AcceleratedClock(60))
    made.store.create(KIND, application_document())
    yield made
    made.close()


def _service(cluster: Cluster, folder: Path) -> Service:
    return Service(settings_for(None), cluster.session(folder), cluster.clock)


def _status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.store.get(KIND, "sd21", namespace=NAMESPACE).get("status", {})
    return found


def _condition(cluster: Cluster, kind: str) -> tuple[str, str]:
    conditions = {one["type"]: one for one in _status(cluster).get("conditions", ())}
    return (conditions[kind]["status"], conditions[kind]["reason"]) if kind in conditions else ("", "")


def test_the_status_shows_the_failover_and_the_memory_holds_no_second_copy(cluster: Cluster, tmp_path: Path) -> None:
    """`kubectl get fapp` is what the engineer on call reads first."""
    with running(_service(cluster, tmp_path)):
        wait_for("cost mode in the status", lambda: _status(cluster).get("mode") == "cost")
        assert _condition(cluster, "Accepted") == ("True", "Accepted")
        assert _condition(cluster, "CapacityAvailable") == ("True", "NoShortage")
        before = _status(cluster)
        assert (before["observedGeneration"], before["short"]) == (1, "")
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode in the status", lambda: _status(cluster).get("mode") == "capacity")
        wait_for("the shortage", lambda: _condition(cluster, "CapacityAvailable") == ("False", "ShortageProven"))
        wait_for("the new weights alone", lambda: list(_status(cluster)["weights"]["set"]) == ["sd21-all"])
        assert _status(cluster)["short"] == "sd21-inf2"
    maps = [one["data"] for one in cluster.store.list("ConfigMap", namespace="failover-system") if "memory" in one["data"]]
    assert [sorted(one) for one in maps] == [["alerts", "epoch", "memory"]]


def test_a_faulty_edit_shows_in_the_object_and_the_old_generation_keeps_running(cluster: Cluster, tmp_path: Path) -> None:
    with running(_service(cluster, tmp_path)) as service:
        wait_for("the status", lambda: _status(cluster).get("mode") == "cost")
        cluster.store.patch(KIND, "sd21", {"spec": {"policy": {"patienceSeconds": "soon"}}}, namespace=NAMESPACE)
        wait_for("the refusal", lambda: _condition(cluster, "Accepted") == ("False", "Invalid"))
        message = next(one["message"] for one in _status(cluster)["conditions"] if one["type"] == "Accepted")
        assert message.startswith('spec.policy.patienceSeconds: found "soon" (text); allowed:')
        assert [one.policy.patience_s for one in service.controller.applications()] == [0]
        cluster.store.patch(KIND, "sd21", {"spec": {"policy": {"patienceSeconds": 5}}}, namespace=NAMESPACE)
        wait_for("the correction", lambda: [one.policy.patience_s for one in service.controller.applications()] == [5])
        cluster.store.delete(KIND, "sd21", namespace=NAMESPACE)
        wait_for("the end", lambda: service.controller.applications() == ())
        assert service._ready() == "", "an installation waits until it is ready, and the first application may come later"


def test_an_object_that_is_faulty_when_the_controller_starts_is_reported_once(cluster: Cluster, tmp_path: Path) -> None:
    """Nobody ran it, so that nothing is lost; but a team waits for it. The others run, and the replica is ready."""
    cluster.store.create(KIND, application_document() | {"metadata": {"name": "new", "namespace": NAMESPACE}, "spec": {"units": []}})
    collector = Collector()
    with running(Service(settings_for(None), cluster.session(tmp_path), cluster.clock, extra_sinks=(collector,))) as service:
        wait_for("the message", lambda: any(one.reason == "ConfigRefused" for one in collector.messages))
        wait_for("readiness", lambda: service._ready() == "")
        wait_for("a status", lambda: _status(cluster).get("mode") == "cost")
        assert service._telemetry.registry.get_sample_value("failoverctl_config_ok") == 0
        cluster.store.delete(KIND, "new", namespace=NAMESPACE)
        wait_for("the metric", lambda: service._telemetry.registry.get_sample_value("failoverctl_config_ok") == 1)
    (refused,) = [one for one in collector.messages if one.reason == "ConfigRefused"]
    assert refused.title == "applications refused; what was accepted before keeps running"
    assert f"{NAMESPACE}/new" in refused.why


def test_a_second_process_does_not_write_what_the_first_wrote(cluster: Cluster, tmp_path: Path) -> None:
    """A change of the leader in a large fleet would be a write for each application at once."""
    with running(_service(cluster, tmp_path)):
        wait_for("the status", lambda: _status(cluster).get("mode") == "cost")
        wait_for("fresh signals", lambda: _condition(cluster, "SignalsFresh")[0] == "True")
    written = len(_writes(cluster))
    with running(_service(cluster, tmp_path)) as second:
        wait_for("a decision", lambda: bool(second.controller.views()))
        wait_for("its turn", lambda: second._object_status is not None and bool(second._object_status._sent))
        assert len(_writes(cluster)) == written


def test_files_become_objects_and_back_in_capacity_mode_without_a_write_to_the_routing(cluster: Cluster, tmp_path: Path) -> None:
    """An upgrade in the middle of a shortage: mode, memory and hold go on, and the routing object is left alone."""
    file = tmp_path / "sd21.yaml"
    file.write_text(yaml.safe_dump(application_document()))

    def in_capacity_mode(path: Path | None) -> float:
        """Since when, after a few passes."""
        with running(Service(settings_for(path), cluster.session(tmp_path), cluster.clock)) as service:

            def views() -> list[View]:
                return service.controller.views()

            wait_for("capacity mode", lambda: [one.mode for one in views()] == [Mode.CAPACITY])
            seen = views()[0].snapshot.now
            wait_for("later passes", lambda: views()[0].snapshot.now > seen + 60)
            return views()[0].memory.mode_since

    cluster.pend("sd21-inf2", 2)
    cluster.refuse("inf2", "inf2.xlarge")
    since = in_capacity_mode(file)
    written = len(_writes(cluster, "ingresses"))
    assert written > 0
    assert [in_capacity_mode(path) for path in (None, file)] == [since, since]
    assert len(_writes(cluster, "ingresses")) == written


@pytest.mark.parametrize("died", ["before the patch", "before the save"])
def test_a_change_in_which_the_controller_with_files_died_is_made_once(
    died: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upgrade may come at any moment: the routing object says what was written, and nothing is written twice or lost."""
    file, tried = tmp_path / "sd21.yaml", threading.Event()
    file.write_text(yaml.safe_dump(application_document()))
    save, execute = ConfigMapStore.save, Executor.execute

    def unsaved(store: ConfigMapStore, application: str, memory: Memory, **words: Any) -> StoredMemory:
        if memory.mode is not Mode.CAPACITY:
            return save(store, application, memory, **words)
        tried.set()
        raise Unavailable("the process ends")

    def unsent(executor: Executor, plan: Plan, epoch: int, **words: Any) -> Outcome:
        if not any(one.kind is ActionKind.ROUTE for one in plan.actions):
            return execute(executor, plan, epoch, **words)
        tried.set()
        raise RuntimeError("the process ends")

    with monkeypatch.context() as patched:
        if died == "before the save":
            patched.setattr(ConfigMapStore, "save", unsaved)
        else:
            patched.setattr(Executor, "execute", unsent)
        with running(Service(settings_for(file), cluster.session(tmp_path), cluster.clock)):
            cluster.pend("sd21-inf2", 2)
            cluster.refuse("inf2", "inf2.xlarge")
            wait_for("the moment", tried.is_set)
    assert cluster.mode() == ("capacity" if died == "before the save" else "")
    with running(_service(cluster, tmp_path)) as service:
        wait_for("capacity mode", lambda: [one.mode for one in service.controller.views()] == [Mode.CAPACITY])
        wait_for("its memory", lambda: service.controller.views()[0].memory.mode is Mode.CAPACITY)
    assert len(cluster.patches()) == 1


def test_an_application_where_the_controller_may_read_nothing_stops_nobody_else(tmp_path: Path) -> None:
    """Who may edit one namespace must not keep all replicas from being ready: the next upgrade of the installation would fail."""
    identity = Identity("controller", deny=lambda access: access.namespace == "secret")
    made = Cluster(AcceleratedClock(60), identity=identity)
    made.store.create(KIND, application_document())
    document = application_document() | {"metadata": {"name": "theirs", "namespace": "secret"}}
    made.store.create(KIND, document)
    try:
        with running(_service(made, tmp_path)) as service:
            wait_for("both applications", lambda: len(service.controller.applications()) == 2)
            wait_for("the status", lambda: _status(made).get("mode") == "cost")
            wait_for("readiness", lambda: service._ready() == "")
    finally:
        made.close()


def _writes(cluster: Cluster, plural: str = "failoverapplications") -> list[object]:
    return [one for one in cluster.api.audit.records() if one.access.resource == plural and one.access.verb == "patch"]


def test_a_status_is_made_once_a_pass(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a millisecond: made anew in every turn, those of an idle fleet of a thousand would keep a fifth of a core busy."""
    with running(_service(cluster, tmp_path)) as service:
        wait_for("the status", lambda: _status(cluster).get("mode") == "cost")
        wait_for("fresh signals", lambda: _condition(cluster, "SignalsFresh")[0] == "True")
        catalog = service._catalog
        assert isinstance(catalog, ObjectCatalog)
        wait_for("the object with it", lambda: catalog.verdicts()[0].status == _status(cluster))
        verdicts, views = catalog.verdicts(), service.controller.views()
    made, clock = Mock(side_effect=object_status.object_status), ManualClock(0.0)
    monkeypatch.setattr(object_status, "object_status", made)
    with closing(cluster.session(tmp_path)) as session:
        writer = object_status.StatusWriter(session, clock)
        for _ in range(3):
            writer.write(verdicts, views, may=lambda _: True)
            clock.advance(object_status.SOONEST_S + 1)
    assert made.call_count == 1


def test_without_the_kind_the_controller_stays_up_and_says_what_to_do(tmp_path: Path) -> None:
    made = Cluster(AcceleratedClock(60), without_groups=frozenset({"failoverctl.dev"}))
    try:
        with running(_service(made, tmp_path)) as service:
            wait_for("the remedy", lambda: "install the CustomResourceDefinition" in service._catalog.error)
            assert service._healthy() == ""
            assert service._ready() == "no list of FailoverApplication objects yet"
    finally:
        made.close()


@pytest.mark.parametrize("status", [403, 404], ids=["permission", "kind"])
def test_applications_outlive_what_the_controller_needs_to_see_them(cluster: Cluster, tmp_path: Path, status: int) -> None:
    """A mistake in a ClusterRole or in the versions of the definition must not end the failover of a whole cluster. An alert names it."""
    collector = Collector()
    session = cluster.session(tmp_path)
    with running(Service(settings_for(None), session, cluster.clock, extra_sinks=(collector,))) as service:

        def shown() -> float | None:
            return service._telemetry.registry.get_sample_value("failoverctl_config_ok")

        wait_for("the status", lambda: _status(cluster).get("mode") == "cost" and shown() == 1)
        cluster.api.fail_next(1_000_000, status=status, matcher=lambda one: one.resource == "failoverapplications")
        cluster.api.drop_watches()
        wait_for("the remedy in a message", lambda: any("in a ClusterRole" in str(one) for one in collector.messages))
        assert shown() == 0
        cluster.pend("sd21-inf2", 2)
        cluster.refuse("inf2", "inf2.xlarge")
        wait_for("capacity mode", lambda: cluster.mode() == "capacity")
        assert [one.key for one in service.controller.applications()] == [f"{NAMESPACE}/sd21"]

        cluster.api.clear_failures()
        wait_for("the end of the alert", lambda: shown() == 1 and service._catalog.error == "")
        wait_for("the status", lambda: _status(cluster).get("mode") == "capacity")
        cluster.store.patch(KIND, "sd21", {"spec": {"policy": {"patienceSeconds": 5}}}, namespace=NAMESPACE)
        wait_for("an edit", lambda: [one.policy.patience_s for one in service.controller.applications()] == [5])
