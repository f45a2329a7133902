"""The application files of `config/` that have a stack, and their stacks as `failoverctl render` makes them."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any, Final

import yaml

from controller.policy.model import Mode
from failover_setup.application import ApplicationFile
from failover_setup.cli.render import load
from failover_setup.rendering.parts import Object
from failover_setup.rendering.render import stack_objects

ROOT: Final = Path(__file__).parents[2]
STACKS: Final = ROOT / "deploy" / "stacks"
NAMES: Final = ("bert", "llama", "llama8b", "mistral", "sd21", "vit", "yolos")


def application_file(name: str) -> Path:
    """The application file of one example."""
    return ROOT / "config" / f"{name}.yaml"


def document(name: str = "sd21") -> dict[str, Any]:
    """The application file as plain values, for tests that change them."""
    found: dict[str, Any] = yaml.safe_load(application_file(name).read_text())
    return found


def parsed(values: dict[str, Any]) -> ApplicationFile:
    """The model of plain values."""
    return ApplicationFile.model_validate_json(json.dumps(values), strict=True)


def objects_of(model: ApplicationFile, mode: Mode = Mode.COST) -> list[Object]:
    """All objects of its stack, in order of application."""
    assert model.spec.stack is not None
    return list(chain.from_iterable(stack_objects(model, model.spec.stack, mode).values()))


def example(name: str, mode: Mode = Mode.COST) -> list[Object]:
    """All objects of one example."""
    return objects_of(load(application_file(name)), mode)


def routed(kind: str = "HTTPRoute", **policy: Any) -> dict[str, Any]:
    """The application file of the AWS sample with a route in the place of its Ingress."""
    values = document()
    del values["spec"]["ingress"], values["spec"]["action"]
    for name in ("stickinessCostSeconds", "stickinessCapacitySeconds"):
        values["spec"]["policy"].pop(name, None)
    values["spec"]["policy"] |= policy
    values["spec"]["route"] = {"kind": kind, "name": "sd21", "rule": "main"}
    return values
