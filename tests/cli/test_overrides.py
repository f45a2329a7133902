"""`pause`, `pin` and `resume` as a person runs them: each override has its own end, reason and author."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from controller.cli.main import main
from controller.clients.kube import FAILOVER_APPLICATIONS, KubeSession
from controller.clock import SystemClock, format_rfc3339
from controller.routing.annotations import OVERRIDES
from failover_testbed.kube_api import Identity
from tests.support.cluster import KIND, NAMESPACE, Cluster, application_document, apply, write_application


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A healthy application in real time."""
    made = Cluster(SystemClock())
    apply(made, application_document())
    yield made
    made.close()


def _run(cluster: Cluster, folder: Path, *words: str) -> Result:
    write_application(folder)
    kubeconfig = cluster.api.kubeconfig("controller", folder / "cli.kubeconfig")
    common = ["--kubeconfig", str(kubeconfig), "--applications", str(folder / "sd21.yaml")]
    command = 2 if words[0] == "notify" else 1
    words = (*words, "--yes") if words[0] in {"pause", "pin", "resume"} and not {"--yes", "--dry-run", "--ask"} & {*words} else words
    words = tuple(one for one in words if one != "--ask")
    return CliRunner().invoke(
        main, [*words[:command], *common, *words[command:]], env={"FAILOVERCTL_AWS__APIS": "[]"}, catch_exceptions=False
    )


_SHOWN = ("Mode  ", "Short  ", "Load  ", "Overloaded  ", "Price  ", "What it would do", "shop/sd21: the ")
"""How lines begin that are shown before the question."""


def _done(result: Result) -> list[str]:
    """The lines after the question: what was done, and what follows."""
    return [line for line in result.output.splitlines() if not line.startswith(_SHOWN)]


def _overrides(cluster: Cluster) -> dict[str, Any]:
    annotations = cluster.store.get("Ingress", "sd21", namespace=NAMESPACE)["metadata"]["annotations"]
    return {key.partition("/")[2]: value for key, value in annotations.items() if key in OVERRIDES and not key.endswith("-until")}


def test_a_pin_beside_a_pause_overwrites_neither_its_reason_nor_its_author(cluster: Cluster, tmp_path: Path) -> None:
    """And `resume` says what it removed, each with its reason."""
    assert _run(cluster, tmp_path, "pause", "--for", "2h", "--why", "maintenance", "--by", "ann").exit_code == 0
    result = _run(cluster, tmp_path, "pin", "capacity", "--why", "load test", "--by", "bob")
    assert "pinned to mode capacity until" in result.output
    assert "load test (bob)" in result.output
    assert "The pin does nothing yet: paused until 20" in result.output
    assert ": maintenance (ann). `failoverctl resume` removes both; pin again after it." in result.output
    assert _overrides(cluster) == {
        "pause-reason": "maintenance",
        "paused-by": "ann",
        "pinned-mode": "capacity",
        "pin-reason": "load test",
        "pinned-by": "bob",
    }
    lines = _done(_run(cluster, tmp_path, "resume"))
    assert [line.split(" until ")[0] for line in lines] == ["shop/sd21: removed the pause", "shop/sd21: removed the pin to mode capacity"]
    assert [line.rpartition(": ")[2] for line in lines] == ["maintenance (ann)", "load test (bob)"]
    assert _overrides(cluster) == {}
    assert _run(cluster, tmp_path, "resume").output == "shop/sd21: there is no pause and no pin\n"


@pytest.mark.parametrize("words", [("pin", "cost", "--why", "x"), ("pause", "--why", "x")])
def test_without_a_terminal_nothing_is_written_unasked(cluster: Cluster, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A script says --yes; --dry-run shows what would come and ends well."""
    refused = _run(cluster, tmp_path, *words, "--ask")
    assert refused.exit_code == 1
    assert "Mode        stays cost" in refused.output
    assert "--yes: found no terminal to ask on; allowed: --yes to write without asking, or --dry-run" in refused.output
    shown = _run(cluster, tmp_path, *words, "--dry-run")
    assert shown.exit_code == 0
    assert shown.output.splitlines()[-1] == "Nothing has been written."
    assert _overrides(cluster) == {}


def test_resume_may_lift_the_pause_alone_and_names_its_author_first(cluster: Cluster, tmp_path: Path) -> None:
    """A pin that somebody else set stays, and without --yes nothing is lifted."""
    _run(cluster, tmp_path, "pause", "--why", "maintenance", "--by", "ann")
    _run(cluster, tmp_path, "pin", "capacity", "--why", "load test", "--by", "bob")
    asked = _run(cluster, tmp_path, "resume", "--ask")
    assert asked.exit_code == 1
    assert ": maintenance (ann)\n" in asked.output.partition("Mode  ")[0]
    lifted = _run(cluster, tmp_path, "resume", "--pause")
    assert "Mode        changes to capacity at once" in lifted.output, "the pin counts again"
    assert _overrides(cluster) == {"pinned-mode": "capacity", "pin-reason": "load test", "pinned-by": "bob"}
    assert _run(cluster, tmp_path, "resume", "--pause").output == "shop/sd21: there is no pause\n"


@pytest.mark.parametrize(
    ("age_s", "says"), [(None, False), (30.0, False), (400.0, True)], ids=["nothing published", "it runs", "it has ended"]
)
def test_a_pin_that_nobody_carries_out_says_so(cluster: Cluster, tmp_path: Path, age_s: float | None, *, says: bool) -> None:
    """Who forces a failover must not wait for a controller that does not run."""
    if age_s is not None:
        status = json.dumps({"at": format_rfc3339(SystemClock().now() - age_s)})
        stored = {"metadata": {"name": "failoverctl-status", "namespace": "failover-system"}, "data": {"status": status}}
        cluster.store.create("ConfigMap", stored)
    lines = _done(_run(cluster, tmp_path, "pin", "capacity", "--why", "drill"))
    assert len(lines) == 1 + says, lines
    assert ("the controller has published no status since 20" in lines[-1]) is says


def test_a_pin_of_an_application_that_is_no_object_says_so(cluster: Cluster, tmp_path: Path) -> None:
    """The controller runs objects: nothing would ever come of it."""
    cluster.store.delete(KIND, "sd21", namespace=NAMESPACE)
    _publish(cluster)
    line = _run(cluster, tmp_path, "pin", "capacity", "--why", "drill").output.splitlines()[-1]
    assert line == "The pin does nothing yet: the cluster has no FailoverApplication shop/sd21; apply it with kubectl."


def test_a_pin_is_set_where_one_may_not_read_the_object(tmp_path: Path) -> None:
    """Who is paged may patch the Ingress, and perhaps no more."""
    made = Cluster(SystemClock(), identity=Identity("controller", deny=lambda access: access.resource == FAILOVER_APPLICATIONS.plural))
    try:
        _publish(made)
        done = _run(made, tmp_path, "pin", "capacity", "--why", "drill")
        assert done.exit_code == 0, done.output
        assert "nothing yet" not in done.output
    finally:
        made.close()


def _publish(cluster: Cluster, **status: Any) -> None:
    """What a controller that runs has published."""
    document = json.dumps({"at": format_rfc3339(SystemClock().now()), **status})
    metadata = {"name": "failoverctl-status", "namespace": "failover-system"}
    if cluster.store.list("ConfigMap", namespace="failover-system"):
        cluster.store.patch("ConfigMap", metadata["name"], {"data": {"status": document}}, namespace=metadata["namespace"])
    else:
        cluster.store.create("ConfigMap", {"metadata": metadata, "data": {"status": document}})


def test_a_pin_says_where_it_may_not_read_whether_a_controller_runs(tmp_path: Path) -> None:
    """The permission to patch an Ingress comes without the one to read the controller's namespace."""
    identity = Identity("controller", deny=lambda access: access.resource == "configmaps")
    cluster = Cluster(SystemClock(), identity=identity)
    try:
        lines = _run(cluster, tmp_path, "pin", "capacity", "--why", "drill").output.splitlines()
    finally:
        cluster.close()
    assert lines[-1].startswith("Whether a controller carries it out is not known: ")
    assert "403" in lines[-1]


def test_a_pin_beside_an_override_that_cannot_be_read_says_that_nothing_comes_of_it(cluster: Cluster, tmp_path: Path) -> None:
    """It counts as a pause."""
    (key,) = (one for one in OVERRIDES if one.endswith("paused-until"))
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {key: "tomorrow"}}}, namespace=NAMESPACE, manager="kubectl")
    output = _run(cluster, tmp_path, "pin", "capacity", "--why", "drill").output
    assert "The pin does nothing yet: an override cannot be read, which counts as a pause: failoverctl.dev/paused-until: found" in output


def test_a_pin_of_an_action_that_no_rule_uses_says_how_to_correct_it(cluster: Cluster, tmp_path: Path) -> None:
    rules = cluster.store.get("Ingress", "sd21", namespace=NAMESPACE)["spec"]["rules"]
    rules[0]["http"]["paths"][0]["backend"]["service"]["name"] = "weighted"
    cluster.store.patch("Ingress", "sd21", {"spec": {"rules": rules}}, namespace=NAMESPACE)
    output = _run(cluster, tmp_path, "pin", "capacity", "--why", "test").output
    assert "The pin does nothing yet: no rule of the Ingress uses the action weighted-routing, its rules use weighted: correct " in output


def test_resume_names_also_what_was_written_while_it_ran(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's pause may come between its read and its write. It never removes what it has not read, and gives up in the end."""
    assert _run(cluster, tmp_path, "pause", "--for", "2h", "--why", "maintenance", "--by", "ann").exit_code == 0
    request, theirs = KubeSession.request, iter(["surge", *[f"surge {number}" for number in range(9)]])

    def overtaken(self: KubeSession, verb: str, *args: Any, **kwargs: Any) -> Any:
        if verb == "PATCH" and (why := next(theirs, "")) in expected:
            pause = {"failoverctl.dev/pause-reason": why, "failoverctl.dev/paused-by": "bob"}
            cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": pause}}, namespace=NAMESPACE)
        return request(self, verb, *args, **kwargs)

    monkeypatch.setattr(KubeSession, "request", overtaken)
    expected = {"surge"}
    assert _run(cluster, tmp_path, "resume").output.endswith(": surge (bob)\n")
    assert _overrides(cluster) == {}
    assert _run(cluster, tmp_path, "pause", "--for", "2h", "--why", "maintenance", "--by", "ann").exit_code == 0
    expected = {f"surge {number}" for number in range(9)}
    failed = _run(cluster, tmp_path, "resume")
    assert failed.exit_code == 1
    assert "has been modified" in failed.output
    assert _overrides(cluster)["paused-by"] == "bob"


def test_what_resume_says_of_a_reason_is_one_short_line(cluster: Cluster, tmp_path: Path) -> None:
    """Anyone who may annotate the Ingress wrote it."""
    forged = "x\r\nshop/sd21: removed the pin to mode capacity" + "y" * 20_000
    assert _run(cluster, tmp_path, "pause", "--for", "2h", "--why", "maintenance", "--by", "ann").exit_code == 0
    (key,) = (one for one in OVERRIDES if one.endswith("pause-reason"))
    cluster.store.patch("Ingress", "sd21", {"metadata": {"annotations": {key: forged}}}, namespace=NAMESPACE, manager="kubectl")
    output = _run(cluster, tmp_path, "resume").output
    assert output.count("\n") == 4, "what there is, what would come of it in two lines, what was removed"
    assert len(output) < 2000


def test_an_override_says_whose_it_replaces(cluster: Cluster, tmp_path: Path) -> None:
    """Two people act at once in a bad night: the second must learn of the first."""
    assert len(_done(_run(cluster, tmp_path, "pin", "cost", "--why", "too expensive", "--by", "ann"))) == 1
    line = _done(_run(cluster, tmp_path, "pin", "capacity", "--why", "users wait", "--by", "bob"))[1]
    assert line.startswith("It replaces the pin to mode cost until 20")
    assert line.endswith(": too expensive (ann)")
    assert len(_done(_run(cluster, tmp_path, "pause", "--why", "drill", "--by", "ann"))) == 1, "a pin stays beside it"
    line = _done(_run(cluster, tmp_path, "pause", "--why", "works", "--by", "bob"))[1]
    assert line.startswith("It replaces the pause until 20")
    assert line.endswith(": drill (ann)")


def test_a_reason_and_an_author_are_written_on_one_line(cluster: Cluster, tmp_path: Path) -> None:
    """A terminal obeys control characters, and a mark of the writing direction reorders what stands beside it."""
    words = ("pause", "--why", "drill\nat \x1b[31mnoon\u202e", "--by", "a\tnn")
    assert _run(cluster, tmp_path, *words).output.endswith(": drill at [31mnoon (a nn)\n")
    assert _overrides(cluster) == {"pause-reason": "drill at [31mnoon", "paused-by": "a nn"}


@pytest.mark.parametrize(("option", "most"), [("--why", 500), ("--by", 200)])
def test_a_reason_and_an_author_are_no_longer_than_what_is_shown(cluster: Cluster, tmp_path: Path, option: str, most: int) -> None:
    words = {"--why": "x", "--by": "y", option: "z" * (most + 1)}
    result = _run(cluster, tmp_path, "pin", "cost", *(word for pair in words.items() for word in pair))
    assert result.exit_code == 1
    assert f"Invalid value for {option}: found {most + 1} characters; allowed: at most {most}" in result.output
    assert _overrides(cluster) == {}


def test_an_override_has_an_author_without_being_asked(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the API server does not say who we are, it is the local user."""
    monkeypatch.setenv("LOGNAME", "carol")
    assert "(carol)" in _run(cluster, tmp_path, "pause", "--why", "drill").output
    assert _overrides(cluster)["paused-by"] == "carol"
