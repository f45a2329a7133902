"""What Argo CD and Flux make of an application's status: Argo CD's health check, run by a real Lua."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import LuaRuntime

from controller.clients.kube import FAILOVER_APPLICATIONS

GITOPS = Path(__file__).parents[2] / "deploy" / "gitops"


def _health(status: dict[str, Any] | None) -> tuple[str, str]:
    """Status and message, as Argo CD asks for them."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    obj = {"metadata": {"generation": 2}} | ({} if status is None else {"status": status})
    check = lua.execute(f"return function(obj)\n{(GITOPS / 'argocd-health.lua').read_text()}\nend")
    found = check(lua.table_from(obj, recursive=True))
    return found["status"], found["message"]


def _status(accepted: str = "True", verified: str | None = "True", generation: int = 2, mode: str = "cost") -> dict[str, Any]:
    conditions = [("Accepted", accepted, "spec.units: found"), *([("Verified", verified, "listener differs")] if verified else [])]
    made = [{"type": kind, "status": status, "message": why, "observedGeneration": generation} for kind, status, why in conditions]
    return {"mode": mode, "why": "sd21-inf2 gets no nodes", "conditions": made}


@pytest.mark.parametrize(
    ("status", "wanted", "says"),
    [
        pytest.param(None, "Progressing", "not judged", id="no-status"),
        pytest.param(_status(generation=1), "Progressing", "not judged", id="earlier-generation"),
        pytest.param(_status("False"), "Degraded", "spec.units: found", id="refused"),
        pytest.param(_status(verified="False"), "Progressing", "listener differs", id="not-verified"),
        pytest.param(_status(verified="Unknown"), "Progressing", "listener differs", id="cannot-tell"),
        pytest.param(_status(verified=None), "Progressing", "not been asked", id="never-verified"),
        pytest.param(_status(), "Healthy", "mode cost", id="healthy"),
        pytest.param(_status(mode="capacity"), "Healthy", "mode capacity: sd21-inf2 gets no nodes", id="capacity"),
    ],
)
def test_a_sync_waits_for_the_load_balancer_and_fails_by_a_refusal(status: dict[str, Any] | None, wanted: str, says: str) -> None:
    """A sync that is green before would roll out the next wave onto an application that nobody controls."""
    health, message = _health(status)
    assert health == wanted
    assert says in message


def test_flux_asks_about_the_kind_that_is_installed() -> None:
    """An expression about another kind is never evaluated, and the Kustomization is ready at once."""
    (check,) = yaml.safe_load((GITOPS / "flux-health.yaml").read_text())["healthCheckExprs"]
    assert (check["apiVersion"], check["kind"]) == (FAILOVER_APPLICATIONS.api_version, FAILOVER_APPLICATIONS.kind)
