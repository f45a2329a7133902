"""The checks of an installation without a server: the table of permissions, the policies' objects, JUnit and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from controller.cli.main import main
from failover_setup.doctor.installed.admission import _about, _fault
from failover_setup.doctor.installed.checks import OF_APPLICATION, OF_INSTALLATION, OF_WRITE, Row
from failover_setup.doctor.installed.junit import junit
from failover_setup.doctor.installed.permissions import Permission, excessive, needed
from failover_setup.doctor.report import Check, Finding, Result, ok, problem, unknown
from tests.support.applications import application
from tools.permissions import APPLICATION, CLUSTER, ROOT, granted, granted_for_routes

SYSTEM: Final = "failover-system"
APP: Final = application()
CHECKS: Final[tuple[Check[Any], ...]] = (*OF_INSTALLATION, *OF_APPLICATION, *OF_WRITE)
USER: Final = "system:serviceaccount:failover-system:failoverctl"


def _documented(*more: Any) -> set[Permission]:
    """Those of docs/permissions.md, with the application's namespace in its place."""
    spaces = {CLUSTER: "", APPLICATION: APP.namespace}
    every = (*granted(), *more)
    return {Permission(one.verb, one.group, one.resource, spaces.get(one.place, one.place), "".join(one.names)) for one in every}


def _needed(**how: bool) -> set[Permission]:
    found = needed([APP], SYSTEM, cluster_wide=False, **how)
    return {one for one in found if one.group != "failoverctl.dev"}  # the objects' own role is beside the table


def test_it_asks_for_exactly_what_the_page_of_permissions_lists() -> None:
    """Both are made from one source; here they meet."""
    assert sorted(map(str, _needed() ^ _documented())) == []


def test_a_dry_run_only_reads() -> None:
    """Its manifests have no verb that writes."""
    assert {one.verb for one in _needed(dry_run=True)} == {"get", "list", "watch"}
    assert _needed(dry_run=True) == {one for one in _documented() if one.verb in {"get", "list", "watch"}}


def test_what_is_documented_is_never_called_excessive() -> None:
    """And what somebody could do with more rights is, in each namespace."""
    wide = excessive(needed([APP], SYSTEM, cluster_wide=False))
    assert wide & (_documented() | _documented(*granted_for_routes())) == set()
    for one in (
        Permission("delete", "networking.k8s.io", "ingresses", APP.namespace),
        Permission("get", "", "secrets", SYSTEM),
        Permission("update", "coordination.k8s.io", "leases", SYSTEM),
        Permission("*", "*", "*"),
    ):
        assert one in wide


def _policy(**spec: Any) -> dict[str, Any]:
    rules = [{"resources": ["ingresses"]}]
    conditions = [{"name": "controller", "expression": f"request.userInfo.username == '{USER}'"}]
    matched = {"matchConditions": conditions, "matchConstraints": {"resourceRules": rules}}
    return {"metadata": {"name": "p"}, "spec": {"failurePolicy": "Fail", **matched, **spec}}


def _binding(*actions: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": list(actions), **spec}}


@pytest.mark.parametrize(
    ("policies", "bindings", "fault"),
    [
        ([_policy()], [_binding("Deny")], ""),
        ([_policy()], [_binding("Audit"), _binding("Deny")], ""),
        ([], [_binding("Deny")], "no policy is about ingresses"),
        ([_policy()], [], "p has no binding"),
        ([_policy()], [_binding("Audit", "Warn")], "does not deny everywhere (validationActions: Audit, Warn)"),
        ([_policy()], [_binding("Deny", matchResources={"namespaceSelector": {}})], "does not deny everywhere"),
        ([_policy(failurePolicy="Ignore")], [_binding("Deny")], "failurePolicy Ignore"),
    ],
)
def test_a_policy_counts_that_is_bound_everywhere_and_denies(policies: Sequence[Any], bindings: Sequence[Any], fault: str) -> None:
    """Each way in which one is there and refuses nothing."""
    found = _fault("ingresses", policies, bindings)
    assert (fault in found) if fault else found == ""


def test_a_policy_about_another_account_is_not_ours() -> None:
    """A second installation has policies with the same label."""
    assert _about(USER, [_policy()]) == [_policy()]
    assert _about(f"{USER}-2", [_policy()]) == []


# --- JUnit ------------------------------------------------------------------------------------------------------------------------------


def _row(finding: Finding, about: str = "") -> Row:
    return Row(about, Result(CHECKS[0], finding), 0.25)


def test_junit_has_the_shape_that_ci_systems_read() -> None:
    """The root and each suite count their cases; a case has at most one outcome, with a message."""
    rows = [_row(ok("fine")), _row(problem("bad", "change it")), _row(unknown("why not"), "shop/sd21")]
    root = ET.fromstring(junit(rows, "https://api.example", 0.0))
    assert (root.tag, [one.tag for one in root]) == ("testsuites", ["testsuite", "testsuite"])
    assert [root.attrib[name] for name in ("tests", "failures", "errors", "skipped", "time")] == ["3", "1", "0", "1", "0.750"]
    for suite in root:
        assert {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"} <= suite.attrib.keys()
        assert int(suite.attrib["tests"]) == len(suite)
        assert {case.tag for case in suite} == {"testcase"}
        for case in suite:
            assert case.attrib.keys() == {"classname", "name", "time"}
            assert {one.tag for one in case} <= {"failure", "skipped", "system-out"}
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert (failure.attrib["message"], "fix: change it" in str(failure.text)) == ("bad", True)


@pytest.mark.parametrize("foreign", ["<a href='x'>&\"]]>", "\x00\x1b[31m\x0b", "\ud800\ufffe\uffff", "x" * 100_000, "a\nb\u2028c", "💡"])
@pytest.mark.parametrize("made", [ok, unknown, lambda text: problem(text, text)])
def test_foreign_text_is_escaped_and_bounded(foreign: str, made: Any) -> None:
    """Whatever a stranger wrote, a parser reads the file, and it can be encoded."""
    text = junit([_row(made(foreign), foreign)], foreign, 0.0)
    root = ET.fromstring(text.encode())
    assert len(list(root.iter("testcase"))) == 1
    assert len(text) < 40_000
    assert not {"\x00", "\x1b", "\ufffe"} & set("".join(root.itertext()))


# --- the command line -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "json"], "found neither --yes nor --read-only"),
        ([], "found neither --yes nor --read-only"),
        (["--yes", "--read-only"], "--yes: found --read-only too"),
        (["--strickt"], "No such option"),
        (["--read-only", "--applications", "absent.yaml"], "absent.yaml"),
    ],
)
def test_wrong_usage_is_two(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 is kept for a check that failed."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["verify-install", *words])
    assert (done.exit_code, said in done.output) == (2, True), done.output


def test_the_page_has_every_check() -> None:
    """Each with what it proves."""
    page = (ROOT / "docs" / "verify-install.md").read_text()
    assert [name for name in (check.name for check in CHECKS) if f"\n| `{name}` | " not in page] == []
