"""Runs what `doctor` and `plan` print with a real shell and kubectl against the real API server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from controller.clients.kube import INGRESSES, JSON_PATCH
from tests.cluster.processes import command
from tests.cluster.stack import Stack


def _checks(stack: Stack) -> dict[str, str]:
    """The level of each check."""
    document: dict[str, Any] = json.loads(command(stack, "doctor", "sd21", "--output", "json").stdout)
    return {one["check"]: one["level"] for one in document["checks"]}


def _shell(stack: Stack, printed: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a person gets who pastes it."""
    config = folder / "kubeconfig"
    stack.plane.kubeconfig(config)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "KUBECONFIG": str(config), "HOME": str(folder), "PATH": path}
    return subprocess.run(["bash", "-c", printed], env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_the_printed_command_runs_as_it_stands(stack: Stack, tmp_path: Path) -> None:
    """The server accepts the rules and keeps the live one, and nothing is missing afterwards."""
    path = INGRESSES.path(stack.namespace, "sd21")
    before = stack.session.request("GET", path)["spec"]["rules"]
    body = json.dumps([{"op": "replace", "path": "/spec/rules", "value": before[:1]}])
    stack.session.request("PATCH", path, body=body, content_type=JSON_PATCH)
    assert _checks(stack)["standby-rules"] == "warning", "a problem, but for allowUnsafeSwitch of the stack"
    text = command(stack, "doctor", "sd21").stdout
    printed = text[text.index("kubectl -n ") : text.index("\nEND\n") + len("\nEND\n")]
    done = _shell(stack, printed, tmp_path)
    assert (done.returncode, done.stdout) == (0, "ingress.networking.k8s.io/sd21 patched\n"), done.stderr
    after = stack.session.request("GET", path)["spec"]["rules"]
    assert after[0] == before[0]
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert _checks(stack)["standby-rules"] == "ok"


def test_the_commands_of_a_plan_carry_it_out(stack: Stack, tmp_path: Path) -> None:
    """As the runbook about a controller that cannot write says: the same objects as the controller would have made."""
    stack.annotate(pinned_mode="capacity", pinned_until="forever", pin_reason="drill")
    text = command(stack, "plan", "sd21", "--show-requests").stdout
    commands = re.findall(r"^kubectl -n .*?\nEND$", text, re.MULTILINE | re.DOTALL)
    assert any("apply --server-side" in one for one in commands), text
    assert any("patch scaledobjects.keda.sh" in one for one in commands), text
    for one in commands:
        done = _shell(stack, f"{one}\n", tmp_path)
        assert done.returncode == 0, done.stderr
    assert stack.mode() == "capacity"
    again = _shell(stack, f"{commands[0]}\n", tmp_path)
    assert again.returncode != 0, "its object has changed since"
