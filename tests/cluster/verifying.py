"""`failoverctl verify-install` as a process, with the permissions that its page names."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tests.cluster.manifests import KUSTOMIZE, SYSTEM, apply_folder, kubectl
from tests.cluster.processes import PROGRAM, environment
from tests.cluster.stack import Stack

ROLE: Final = "failoverctl-verify-install"
Results = Mapping[str, tuple[str, str]]
"""What came of each check, with what it saw."""


@contextmanager
def verifier_of(stack: Stack) -> Iterator[str]:
    """A ServiceAccount with the permissions that the page names and no other, by name."""
    apply_folder(stack.plane, KUSTOMIZE / "verify-install")
    name, account = f"ci-{stack.namespace}", f"--serviceaccount={SYSTEM}:ci-{stack.namespace}"
    kubectl(stack.plane, "-n", SYSTEM, "create", "serviceaccount", name)
    kubectl(stack.plane, "-n", SYSTEM, "create", "rolebinding", name, f"--role={ROLE}", account)
    kubectl(stack.plane, "create", "clusterrolebinding", name, f"--clusterrole={ROLE}", account)
    yield name
    kubectl(stack.plane, "-n", SYSTEM, "delete", "rolebinding,serviceaccount", name)
    kubectl(stack.plane, "delete", "clusterrolebinding", name)


def verified(stack: Stack, account: str, *words: str, aws: Mapping[str, str] | None = None) -> tuple[int, Results]:
    """The exit code, and the results.

    Args:
        stack: Whose application.
        account: Who runs it.
        words: Its options.
        aws: Settings with which it reads ELBv2; None: it has no credentials.
    """
    variables = {**os.environ, **environment(stack, account=account), **(aws or {})}
    command = [PROGRAM, "verify-install", "sd21", "-o", "json", *(words or ("--read-only",))]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout, done.stderr
    return done.returncode, {one["check"]: (one["result"], one["seen"]) for one in json.loads(done.stdout)["checks"]}
