"""The end of the process, when everything that it waits for takes as long as it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.service import http, leadership, recorder, status, wiring
from controller.service.wiring import SHUTDOWN_GRACE_S

DEPLOY = Path(__file__).parents[2] / "deploy"
MARGIN_S = 10.0  # the interpreter's own end, on a busy node


def longest_s(grace_s: float) -> float:
    """How long the stages take at most, in their order, seconds."""
    passes_s = wiring._LAST_WRITES_S + status.PUBLISH_S + leadership._JOIN_S + leadership.REQUEST_S
    before_s = passes_s + recorder._CLOSE_S
    return before_s + max(wiring._LAST_MESSAGES_S, grace_s - before_s) + http._STOP_S


def grace_s(manifest: str) -> float:
    """The pod's grace period in a manifest, or in a template of the chart."""
    for line in (DEPLOY / manifest).read_text().splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "terminationGracePeriodSeconds":
            found: Any = yaml.safe_load(value)
            return float(found)
    raise AssertionError(f"{manifest} has no terminationGracePeriodSeconds")


@pytest.mark.parametrize("manifest", ["chart/templates/deployment.yaml", "kustomize/base/deployment.yaml"])
def test_the_pod_is_not_killed_before_its_last_message(manifest: str) -> None:
    """The API server hangs, and so does every sink: the stages took 37 s of a grace period of 30 s."""
    assert longest_s(SHUTDOWN_GRACE_S) + MARGIN_S <= grace_s(manifest)


def test_a_longer_time_for_messages_is_theirs_alone() -> None:
    """`SHUTDOWN_GRACE_S` is for all stages together: nothing is added to it but the end of the HTTP server."""
    assert longest_s(600) == 600 + http._STOP_S
