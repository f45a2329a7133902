"""`failoverctl verify-install` on the embedded environment, as `demo --serve` shows it: a load-balancer controller and ELBv2."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import INGRESSES, MERGE_PATCH, KubeSession, connect
from controller.errors import Unavailable
from controller.routing.annotations import VERIFYING
from failover_harness.waiting import wait_for
from failover_setup.doctor.installed import reconcile
from failover_setup.doctor.installed.checks import OF_WRITE
from failover_testbed.clocks import AcceleratedClock
from failover_testbed.demo.environment import Environment, Role
from failover_testbed.demo.scenario import FOLDER, load_scenario

PROGRAM = str(Path(sys.executable).parent / "failoverctl")
WRITE = {check.name for check in OF_WRITE}


@pytest.fixture(scope="module")
def env(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """Of the seed scenario, or of the one that a test names. One at a time: a process has one emulated AWS."""
    with Environment(load_scenario(FOLDER / f"{getattr(request, 'param', 'seed')}.yaml"), AcceleratedClock(1)) as started:
        yield started


@pytest.fixture(scope="module")
def session(env: Environment) -> Iterator[KubeSession]:
    made = connect(kubeconfig=str(env.kubeconfig("admin")))
    yield made
    made.close()


def _words(env: Environment, *words: str, role: Role = "admin") -> list[str]:
    common = ["--kubeconfig", str(env.kubeconfig(role)), "--applications", str(env.scenario.applications_path)]
    return ["verify-install", *common, *words]


def _variables(env: Environment) -> dict[str, str]:
    return {**env.environment(), "FAILOVERCTL_AWS__APIS": '["elbv2"]'}


def _run(env: Environment, *words: str, role: Role = "admin") -> Result:
    return CliRunner().invoke(main, _words(env, *words, role=role), env=_variables(env), catch_exceptions=False)


def _results(done: Result) -> dict[str, tuple[str, str]]:
    """What came of each check, and what it saw."""
    return {one["check"]: (one["result"], one["seen"]) for one in json.loads(done.stdout)["checks"]}


def _path(env: Environment) -> str:
    (application,) = env.scenario.applications.values()
    return INGRESSES.path(application.namespace, application.route.name)


def _annotations(env: Environment, session: KubeSession) -> dict[str, Any]:
    found: dict[str, Any] = session.request("GET", _path(env))["metadata"]["annotations"]
    return found


def _pause(env: Environment, *, paused: bool) -> None:
    """Whether the load-balancer controller does nothing."""
    lbc = env._parts.lbc  # type: ignore[union-attr]
    lbc.faults = replace(lbc.faults, paused=paused)


def test_the_write_is_noticed_changes_no_rule_and_leaves_nothing(env: Environment, session: KubeSession) -> None:
    """ELBv2 agrees with the Ingress, and every annotation is as before."""
    before = _annotations(env, session)
    done = _run(env, "--yes", "-o", "json")
    results = _results(done)
    assert {results[name][0] for name in WRITE | {"routing-verified"}} == {"passed"}, done.output
    assert "healthy targets: " in results["routing-verified"][1]
    assert "SuccessfullyReconciled" in results["load-balancer-controller-reconciles"][1]
    assert _annotations(env, session) == before


@pytest.mark.parametrize("env", ["route"], indirect=True)
def test_a_route_is_verified_as_an_ingress_is(env: Environment) -> None:
    """The load-balancer controller reports on the Gateway."""
    results = _results(_run(env, "--yes", "-o", "json"))
    assert {results[name][0] for name in WRITE | {"routing-verified"}} == {"passed"}, results


def test_no_controller_runs_here_and_the_rows_say_so(env: Environment, tmp_path: Path) -> None:
    """Exit code 1; JUnit has the failure, and the checks of a ServiceAccount that is not known are skipped."""
    done = _run(env, "--read-only", "--junit", str(tmp_path / "junit.xml"))
    assert done.exit_code == 1, done.output
    assert "✖ failed" in done.output
    cases = {one.attrib["name"]: one for one in ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")}
    assert cases["controller-leads"].find("failure") is not None
    for name in ("permissions-granted", "admission-policies", "changes-refused"):
        skipped = cases[name].find("skipped")
        assert skipped is not None
        assert "has no pod with the label" in skipped.attrib["message"]


def test_a_reader_writes_nothing(env: Environment, session: KubeSession) -> None:
    """With a read-only identity the write is skipped, and what it is not allowed is said."""
    before = session.request("GET", _path(env))["metadata"]["resourceVersion"]
    for words, said in ((("--read-only",), "--read-only"), (("--yes",), "cannot patch")):
        results = _results(_run(env, *words, "-o", "json", role="read-only"))
        assert {results[name][0] for name in WRITE} == {"skipped"}
        assert all(said in results[name][1] for name in WRITE), results
    assert session.request("GET", _path(env))["metadata"]["resourceVersion"] == before


def test_without_a_load_balancer_controller_it_fails_and_removes_the_annotation(
    env: Environment, session: KubeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event comes. Where the last one is recent, the next may have been lost, so that the row is skipped until some minutes are over."""
    monkeypatch.setattr(reconcile, "RECONCILED_S", 1.0)
    _pause(env, paused=True)
    try:
        recent = _results(_run(env, "--yes", "-o", "json"))
        monkeypatch.setattr(reconcile, "_SPARED_S", 0.0)
        quiet = _results(_run(env, "--yes", "-o", "json"))
    finally:
        _pause(env, paused=False)
    name = "load-balancer-controller-reconciles"
    assert (recent[name][0], quiet[name][0]) == ("skipped", "failed"), (recent, quiet)
    assert VERIFYING not in _annotations(env, session)


def _started(env: Environment, session: KubeSession) -> subprocess.Popen[str]:
    """The command as a process that has just written, and waits for a load-balancer controller that does nothing."""
    _pause(env, paused=True)
    command = [PROGRAM, *_words(env, "--yes", "-o", "json")]
    process = subprocess.Popen(command, env=_variables(env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for("the write", lambda: VERIFYING in _annotations(env, session))
    return process


@pytest.fixture
def started(env: Environment, session: KubeSession) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        made.append(_started(env, session))
        return made[-1]

    yield start
    for one in made:
        one.kill()
        one.communicate(timeout=30)
    _pause(env, paused=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_removes_the_annotation(
    env: Environment, session: KubeSession, started: Callable[[], subprocess.Popen[str]], number: signal.Signals
) -> None:
    """Ctrl-C, the end of a CI job, a terminal that is closed."""
    process = started()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert VERIFYING not in _annotations(env, session), said
    assert process.returncode != 0


def test_what_a_killed_run_left_is_removed_by_the_next(
    env: Environment, session: KubeSession, started: Callable[[], subprocess.Popen[str]]
) -> None:
    """SIGKILL leaves the annotation, which nobody reads. A read-only run names it, and a run with the write removes it."""
    action = _annotations(env, session)
    process = started()
    process.kill()
    process.communicate(timeout=30)
    assert _annotations(env, session).keys() - action.keys() == {VERIFYING}
    assert VERIFYING in _results(_run(env, "--read-only", "-o", "json"))["routing-action-kept"][1]
    _pause(env, paused=False)
    results = _results(_run(env, "--yes", "-o", "json"))
    assert "an earlier run that was killed is removed" in results["load-balancer-controller-reconciles"][1]
    assert _annotations(env, session) == action


def test_a_write_that_another_is_before_is_made_again(env: Environment, session: KubeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version in the patch is of an object that somebody has changed since."""
    sent: list[Any] = []
    request = KubeSession.request

    def interfered(self: KubeSession, method: str, path: str, **rest: Any) -> Any:
        if method == "PATCH" and VERIFYING in str(rest.get("body")) and not sent:
            sent.append(rest)
            other = json.dumps({"metadata": {"annotations": {"example.org/other": "1"}}})
            request(session, "PATCH", path, body=other, content_type=MERGE_PATCH)
        return request(self, method, path, **rest)

    monkeypatch.setattr(KubeSession, "request", interfered)
    results = _results(_run(env, "--yes", "-o", "json"))
    assert results["routing-action-kept"][0] == "passed", results
    assert VERIFYING not in _annotations(env, session)


def test_an_answer_that_is_lost_leaves_nothing(env: Environment, session: KubeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write arrived, its answer did not: it is removed all the same, and the row failed."""
    lost: list[Any] = []
    request = KubeSession.request

    def broken(self: KubeSession, method: str, path: str, **rest: Any) -> Any:
        answer = request(self, method, path, **rest)
        if method == "PATCH" and VERIFYING in str(rest.get("body")) and not lost:
            lost.append(rest)
            raise Unavailable(f"PATCH {path}: the connection broke")
        return answer

    monkeypatch.setattr(KubeSession, "request", broken)
    results = _results(_run(env, "--yes", "-o", "json"))
    assert results["routing-action-kept"][0] == "failed"
    assert VERIFYING not in _annotations(env, session)
