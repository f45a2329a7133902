"""The missing standby rules of an Ingress, as `plan` and `doctor` print them: a command to run, or YAML for Git."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from controller.cli.words import Line
from controller.clients.kube import INGRESSES
from controller.policy.model import Application

_END = "END"


def remedy_lines(application: Application, patch: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """How to add the standby rules.

    Args:
        application: The application.
        patch: The JSON patch; if it is empty, nothing is printed.
    """
    if not patch:
        return
    yield "title", "Standby rules to add"
    yield "plain", "Without them a mode change causes 503s for 5 to 30 s, so it is refused unless"
    yield "plain", "allowUnsafeSwitch is set. No request reaches them; other rules stay. Run:"
    yield "plain", ""
    yield from (("plain", line) for line in command(application, patch).splitlines())
    yield "plain", ""
    yield "dim", "Kept in Git? This prints the whole spec.rules to put there:"
    yield "dim", f"failoverctl doctor {application.key} --output yaml"
    yield "plain", ""


def command(application: Application, patch: Sequence[Mapping[str, Any]]) -> str:
    """A shell command that applies a JSON patch to the Ingress, with one operation per line and no quoting."""
    call = f"kubectl -n {application.namespace} patch ingress {application.ingress} --type json --patch-file /dev/stdin <<'{_END}'"
    return "\n".join([call, *(f"- {_flow(operation)}" for operation in patch), _END])


def _flow(value: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize)).strip()


def manifest(application: Application, rules: Sequence[Any]) -> str:
    """The Ingress with its whole ``spec.rules``, as YAML for Git."""
    body = {
        "apiVersion": INGRESSES.api_version,
        "kind": INGRESSES.kind,
        "metadata": {"name": application.ingress, "namespace": application.namespace},
        "spec": {"rules": list(rules)},
    }
    return str(yaml.safe_dump(body, sort_keys=False))
