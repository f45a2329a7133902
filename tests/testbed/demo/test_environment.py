"""The whole environment with the production service on it, over HTTP."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controller.clients.kube import INGRESSES, connect
from controller.errors import Forbidden
from controller.policy.model import Mode, Snapshot, Verb, Verdict, WorkloadKind
from controller.policy.reasons import Reason
from controller.service.controller import View
from controller.service.wiring import Service
from controller.settings import load_settings
from failover_harness.waiting import wait_for
from failover_testbed.cluster import routes
from failover_testbed.cluster.routes import Routing
from failover_testbed.demo.clock import PacedClock
from failover_testbed.demo.environment import Environment
from failover_testbed.demo.scenario import FOLDER, load_scenario

pytestmark = pytest.mark.timeout(240)  # on a slow machine the clock of a scenario waits

SCENARIO = """\
apiVersion: failoverctl.dev/v1alpha1
kind: Scenario
name: short
description: A shortage at once.
applications: {applications}
factor: {factor}
durationSeconds: {duration}
demand: {{points: [{{atSeconds: 0, requests: 900}}, {{atSeconds: 10, requests: 900}}, {{atSeconds: 60, requests: 1500}}]}}
events:
  - {{atSeconds: 0, shortage: {{instanceTypes: [inf2.xlarge]}}}}
"""


@contextmanager
def environment(folder: Path, *, factor: float, duration: float, kind: WorkloadKind = WorkloadKind.DEPLOYMENT) -> Iterator[Environment]:
    """The environment; every unit's workload is of one kind."""
    path, applications = folder / "short.yaml", folder / "applications.yaml"
    seed = (FOLDER / "applications" / "seed.yaml").read_text()
    applications.write_text(re.sub(r"deployment: (\S+)", rf"workload: {{kind: {kind}, name: \1}}", seed))
    path.write_text(SCENARIO.format(applications=applications, factor=factor, duration=duration))
    with Environment(load_scenario(path), PacedClock(factor)) as started:
        yield started


@contextmanager
def service(env: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[View], bool], float], View]]:
    """The production service on an environment; yields a function that waits for a view."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "HTTP__HOST": "127.0.0.1",
        "HTTP__PORT": str(port),
        "AWS__LATENCY_STAT": "Average",
        "AWS__APIS": '["elbv2", "cloudwatch"]',  # loading EC2's client takes longer than all the rest
    }
    for name, value in env.environment().items():
        monkeypatch.setenv(name, value)
    for name, value in settings.items():
        monkeypatch.setenv(f"FAILOVERCTL_{name}", value)
    seen: list[View] = []
    woken = threading.Event()

    def tap(controller: object) -> None:
        seen[:] = subject.controller.views()
        woken.set()

    session = connect(kubeconfig=str(env.kubeconfig()))
    clock = env._clock
    subject = Service(load_settings(), session, clock, tap=tap)
    thread = threading.Thread(target=subject.run)
    thread.start()

    def wait(condition: Callable[[View], bool], seconds: float) -> View:
        deadline = time.monotonic() + seconds
        while True:
            for view in seen:
                if condition(view):
                    return view
            assert time.monotonic() < deadline, [view.decision for view in seen]
            woken.wait(0.1)
            woken.clear()

    try:
        yield wait
    finally:
        subject.stop()
        thread.join(15)
        session.close()


def test_the_production_service_sees_fresh_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All watched and polled sources have data, and none is stale."""
    with environment(tmp_path, factor=3, duration=600) as env, service(env, monkeypatch) as wait:
        view = wait(lambda view: view.snapshot.routing.verification is not None and view.snapshot.units["sd21-inf2"].demand is not None, 90)
        snapshot = view.snapshot
        assert not [source.name for source in snapshot.sources if source.required and (source.absent or source.stale(snapshot.now))]
        assert not [source.name for source in snapshot.sources if source.absent and source.name != "ec2"]
        assert view.decision.mode is Mode.COST
        assert set(snapshot.routing.standby) == set(snapshot.routing.bound or ()) == {*snapshot.units, "sd21-all"}
        assert snapshot.routing.verification is not None
        assert snapshot.routing.verification.verdict is Verdict.YES, snapshot.routing.verification.problem
        observed = snapshot.units["sd21-inf2"]
        assert (observed.ready, observed.service_exists) == (4, True)
        assert observed.demand is not None
        assert observed.demand.value == pytest.approx(360, rel=0.01)
        assert observed.latency is not None
        assert observed.scaler is not None
        assert (observed.scaler.target, observed.scaler.trigger_index) == ("105", 0)
        assert observed.pool.exists


def test_a_shortage_is_failed_over_without_a_failed_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with environment(tmp_path, factor=40, duration=400) as env, service(env, monkeypatch) as wait:
        view = wait(lambda view: view.memory.mode is Mode.CAPACITY, 120)
        last = view.memory.mode_changes[-1]
        assert (last.to, last.reason) == (Mode.CAPACITY, Reason.SHORTAGE_PROVEN)
        assert "sd21-inf2 cannot get capacity (capacity: InsufficientInstanceCapacity)" in last.detail
        wait(lambda _: any(change.weights == {"sd21-all": 1} for change in env.facts().routing), 60)
        facts = env.facts()
        assert facts.failed == 0, facts.failures
        assert facts.served > 0
        assert [write.action for write in facts.writes if write.action.endswith("Rule")] == ["ModifyRule"]
        assert facts.problem == ""
        progress = env.progress()
        assert progress.faults == ("no capacity for inf2.xlarge in every zone: InsufficientInstanceCapacity",)
        inf2 = next(unit for unit in progress.units if unit.unit == "sd21-inf2")
        assert inf2.pending > 0
        assert view.decision.verb in {Verb.HOLD, Verb.FAILOVER}


@pytest.mark.parametrize("kind", [kind for kind in WorkloadKind if kind is not WorkloadKind.DEPLOYMENT])
def test_units_of_every_kind_are_proven_short_and_get_their_floors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: WorkloadKind
) -> None:
    """KEDA raises the receiving units through the scale of their workloads, and no request fails. A group of two pods is one replica."""
    with environment(tmp_path, factor=20, duration=400, kind=kind) as env, service(env, monkeypatch) as wait:
        before = wait(lambda view: view.snapshot.units["sd21-inf2"].ready == 4, 120).snapshot
        assert not [source.name for source in before.sources if source.required and source.absent]
        view = wait(lambda view: view.memory.mode is Mode.CAPACITY, 120)
        last, short = view.memory.mode_changes[-1], view.snapshot.units["sd21-inf2"]
        assert (last.to, last.reason) == (Mode.CAPACITY, Reason.SHORTAGE_PROVEN)
        assert "sd21-inf2 cannot get capacity (capacity: InsufficientInstanceCapacity)" in last.detail
        assert {pod.pools for pod in short.pending} == {("amd-neuron-inf2",)}
        wait(lambda view: (view.snapshot.units["sd21-inf2"].desired or 0) - view.snapshot.units["sd21-inf2"].unplaced == 4, 60)
        wait(lambda view: _floor(view.snapshot, "sd21-inf2") == 5, 60)  # the canary beside the four replicas that have nodes
        others = {name: one.desired or 0 for name, one in before.units.items() if name != "sd21-inf2"}
        wait(lambda view: any((view.snapshot.units[name].ready or 0) > desired for name, desired in others.items()), 120)
        facts = env.facts()
        assert facts.failed == 0, facts.failures


def _floor(snapshot: Snapshot, unit: str) -> int | None:
    """The floor of ours of a unit, once its replicas have followed."""
    scaler, desired = snapshot.units[unit].scaler, snapshot.units[unit].desired
    return scaler.min_replicas if scaler and scaler.floor_ours and desired and desired >= scaler.min_replicas else None


def test_it_ends_by_itself_stops_twice_and_lets_readers_only_read(tmp_path: Path) -> None:
    with environment(tmp_path, factor=60, duration=30) as env:
        session = connect(kubeconfig=str(env.kubeconfig("read-only")))
        assert session.get(INGRESSES, "default", "sd21")["metadata"]["name"] == "sd21"
        with pytest.raises(Forbidden):
            session.request("DELETE", INGRESSES.path("default", "sd21"))
        session.close()
        assert env.finished.wait(120)
        facts = env.facts()
        assert facts.elapsed_s == 30
        assert [(change.at_s, change.answer) for change in facts.routing] == [(0, "")]
        folder = env.kubeconfig().parent
        env.stop()
    assert not folder.exists()
    with pytest.raises(RuntimeError, match="not running"):
        env.progress()


@pytest.mark.parametrize("routing", ["HTTPRoute", "GRPCRoute"])
def test_requests_follow_a_route(routing: Routing) -> None:
    """The cluster is in a steady state behind a Gateway; a patch of the main rule moves all requests, and none fails."""
    with Environment(load_scenario(FOLDER / "seed.yaml"), PacedClock(20), routing=routing) as env:
        (application,) = (routes.routed_by(one, routing) for one in env.scenario.applications.values())
        wait_for("requests are served", lambda: env.progress().served > 0)
        assert env.progress().weights[application.key] == {unit.backend.service: unit.weight for unit in application.units}
        rules = env.api.store.get(routing, application.route.name, namespace=application.namespace)["spec"]["rules"]
        rules[0]["backendRefs"] = routes.backends(application, Mode.CAPACITY)
        env.api.store.patch(routing, application.route.name, {"spec": {"rules": rules}}, namespace=application.namespace)
        wait_for("capacity mode", lambda: env.progress().weights[application.key] == {application.capacity.service: 1})
        assert env.progress().failed == 0
