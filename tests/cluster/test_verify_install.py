"""`failoverctl verify-install` on the real API server: RBAC and policies as documented, too wide, too narrow and not enforced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from controller.routing.annotations import VERIFYING
from failover_harness.control_plane.control_plane import ControlPlane
from failover_harness.waiting import wait_for
from tests.cluster.life import LEADING
from tests.cluster.manifests import KUSTOMIZE, SYSTEM, apply_folder, kubectl
from tests.cluster.stack import Stack
from tests.cluster.verifying import ROLE, Results, verified, verifier_of

POLICY: Final = "failoverctl-ingresses"
OF_RBAC: Final = ("permissions-granted", "permissions-denied")
OF_ADMISSION: Final = ("admission-policies", "changes-refused", "change-allowed")


@pytest.fixture
def verifier(stack: Stack) -> Iterator[str]:
    """See `verifier_of`."""
    with verifier_of(stack) as name:
        yield name


def _comes(stack: Stack, account: str, expected: Callable[[Results], bool]) -> Results:
    """The results once they are as expected: the API server takes up policies and roles some seconds late."""
    last: list[Results] = []

    def as_expected() -> bool:
        last.append(verified(stack, account)[1])
        return expected(last[-1])

    try:
        wait_for("the results", as_expected, deadline_s=60)
    except AssertionError as error:
        error.add_note(str(last[-1]))
        raise
    return last[-1]


def _all(*names: str, result: str = "passed") -> Callable[[Results], bool]:
    return lambda found: all(found[name][0] == result for name in names)


def test_an_installation_as_documented_passes(stack: Stack, verifier: str) -> None:
    """With the documented permissions alone: the leader, its version, RBAC and the policies. Nothing is stored."""
    with stack.controller(**LEADING):
        before = stack.ingress()["metadata"]["annotations"]
        names = ("controller-leads", "controller-version", *OF_RBAC, *OF_ADMISSION)
        results = _comes(stack, verifier, _all(*names))
        assert f"a fixed response in place of the forward by {POLICY}" in results["changes-refused"][1]
        assert stack.ingress()["metadata"]["annotations"] == before


def test_the_write_neither_disturbs_the_controller_nor_stays(stack: Stack, verifier: str) -> None:
    """Here is no load-balancer controller, so that the row fails after its time; the controller raises no alert and writes nothing."""
    with stack.controller(**LEADING) as service:
        writes = len(stack.writes("ingresses"))
        code, results = verified(stack, verifier, "--yes")
        assert (code, results["routing-action-kept"][0]) == (1, "passed"), results
        assert results["load-balancer-controller-reconciles"][0] == "failed"
        assert VERIFYING not in stack.ingress()["metadata"]["annotations"]
        (view,) = service.controller.views()
        assert [one.key for one in view.decision.alerts if "writer" in one.key or "override" in one.key] == []
        assert len(stack.writes("ingresses")) == writes


@contextmanager
def _restored(plane: ControlPlane) -> Iterator[None]:
    """Applies the manifests again afterwards."""
    try:
        yield
    finally:
        apply_folder(plane, KUSTOMIZE / "base")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(("delete", "validatingadmissionpolicybinding", POLICY), "has no binding", id="no binding"),
        pytest.param(("delete", "validatingadmissionpolicy", POLICY), "no policy is about ingresses", id="no policy"),
        pytest.param(
            ("patch", "validatingadmissionpolicybinding", POLICY, "--type=merge", '-p={"spec":{"validationActions":["Audit"]}}'),
            "does not deny everywhere (validationActions: Audit)",
            id="only audits",
        ),
    ],
)
def test_a_policy_that_does_not_enforce_fails(stack: Stack, verifier: str, change: tuple[str, ...], seen: str) -> None:
    """Both what the objects say and what the API server does."""
    with _restored(stack.plane):
        kubectl(stack.plane, *change)
        results = _comes(stack, verifier, _all("admission-policies", "changes-refused", result="failed"))
        assert seen in results["admission-policies"][1]
        assert "refuses a foreign annotation" in results["changes-refused"][1]
        assert results["change-allowed"][0] == "passed"


def test_rbac_that_is_too_wide_fails(stack: Stack, verifier: str) -> None:
    """Somebody bound `edit` to the controller: it may read Secrets and delete routing objects."""
    kubectl(
        stack.plane, "-n", stack.namespace, "create", "rolebinding", "wide", "--clusterrole=edit", f"--serviceaccount={SYSTEM}:failoverctl"
    )
    results = _comes(stack, verifier, _all("permissions-denied", result="failed"))
    assert results["permissions-granted"][0] == "passed"
    assert f"in {stack.namespace}" in results["permissions-denied"][1]


def test_rbac_that_is_too_narrow_fails(stack: Stack, verifier: str) -> None:
    """The namespace has no binding: the policies cannot be asked, because RBAC refuses first."""
    kubectl(stack.plane, "-n", stack.namespace, "delete", "rolebinding", "--all")
    results = _comes(stack, verifier, _all("permissions-granted", result="failed"))
    assert f"in {stack.namespace}" in results["permissions-granted"][1]
    assert results["permissions-denied"][0] == "passed"
    assert results["changes-refused"][0] == "skipped"


def test_who_may_not_impersonate_gets_the_permission_named(stack: Stack, verifier: str) -> None:
    """The other checks go on."""
    kubectl(stack.plane, "-n", SYSTEM, "delete", "rolebinding", verifier)
    try:
        results = _comes(stack, verifier, _all("changes-refused", "change-allowed", result="skipped"))
    finally:
        account = f"--serviceaccount={SYSTEM}:{verifier}"
        kubectl(stack.plane, "-n", SYSTEM, "create", "rolebinding", verifier, f"--role={ROLE}", account)
    assert "these credentials may not act as" in results["changes-refused"][1]
    assert results["permissions-granted"][0] == "passed"
