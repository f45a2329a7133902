"""Renders a whole stack: its objects by file, and the bytes of the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import yaml

from controller.policy.model import Mode
from failover_setup.application import ApplicationFile
from failover_setup.rendering.nodes import nodes
from failover_setup.rendering.parts import Object
from failover_setup.rendering.route import route
from failover_setup.rendering.scaling import scaling
from failover_setup.rendering.traffic import ingress, services
from failover_setup.rendering.workloads import namespace, workloads
from failover_setup.stack import StackFile

FILES: Final = (
    "00-namespace.yaml",
    "10-nodes.yaml",
    "20-workloads.yaml",
    "30-services.yaml",
    "40-ingress.yaml",
    "40-route.yaml",
    "50-scaling.yaml",
)
"""The files of a stack in the order in which to apply them, which is the order of their names. A stack has an Ingress or a route."""

MARK: Final = "# Made by failoverctl render"
"""The beginning of every file."""

_HEADER: Final = """{mark} from {source}, mode {mode}. Do not edit: change that file and render again.
#   failoverctl render {source}{option} --out DIRECTORY
# The controller writes the {routed} and the floors and targets of the ScaledObjects while it runs: docs/render.md.
"""


def stack_objects(file: ApplicationFile, stack: StackFile, mode: Mode = Mode.COST) -> dict[str, list[Object]]:
    """All objects of a stack by file; a file without objects is left out.

    Args:
        file: An application file without faults, see `failover_setup.rendering.faults.faults`.
        stack: Its stack.
        mode: The mode of routing object and ScaledObjects.
    """
    made = (
        namespace(file, stack),
        nodes(file, stack) if stack.nodes.render else (),
        workloads(file, stack),
        services(file, stack),
        (ingress(file, stack, mode),) if file.spec.route is None else (),
        route(file, stack, mode) if file.spec.route is not None else (),
        scaling(file, stack, mode),
    )
    objects = {name: list(found) for name, found in zip(FILES, made, strict=True)}
    return {name: found for name, found in objects.items() if found}


def stack_files(objects: Mapping[str, list[Object]], source: str, mode: Mode = Mode.COST) -> dict[str, str]:
    """The text of each file. The same input gives the same bytes.

    Args:
        objects: From `stack_objects`.
        source: The application file's name, for the header.
        mode: As given to `stack_objects`.
    """
    option = "" if mode is Mode.COST else f" --mode {mode}"
    routed = "backends of the route's rule" if "40-route.yaml" in objects else "action of the Ingress"
    header = _HEADER.format(mark=MARK, source=source, mode=mode, option=option, routed=routed)
    return {name: header + "".join(f"---\n{_text(one)}" for one in found) for name, found in objects.items()}


class _Dumper(yaml.SafeDumper):
    """Writes YAML in the style of Kubernetes manifests: no anchors, and list entries indented below their key."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, False)


def _text(value: Object) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))
