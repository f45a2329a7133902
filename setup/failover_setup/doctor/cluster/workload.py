"""The Deployment or DaemonSet of a component, as the checks need it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.objects import Object, integer, items, mapping, name_of, namespace_of, text
from failover_setup.doctor.cluster.components import Component, Version

_NAME_LABEL: Final = "app.kubernetes.io/name"
_VERSION_LABEL: Final = "app.kubernetes.io/version"
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")
_SIDECARS: Final = ("gpu-feature-discovery", "mps-control-daemon")  # other DaemonSets of the NVIDIA chart with the same image
_COMPARED: Final = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or DaemonSet.

    Attributes:
        where: ``namespace/name``.
        wanted: Desired pods.
        ready: Ready pods.
        images: The images of its containers.
        label: The version in its labels, "" if they state none.
        arguments: The arguments of all containers, in order.
        environment: The environment of all containers; "" for a value that is a reference.
        tolerations: The tolerations of its pods.
        settled: Whether its status covers the newest specification.
    """

    where: str
    wanted: int
    ready: int
    images: tuple[str, ...]
    label: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    tolerations: Sequence[Any]
    settled: bool

    @property
    def version(self) -> Version:
        """The version in the tag of the first image that has one, else in the label; () if neither states it."""
        for candidate in (*(_tag(image) for image in self.images), self.label):
            found = _VERSION.match(candidate)
            if found is not None:
                return tuple(int(part or 0) for part in found.groups())
        return ()

    def flag(self, name: str) -> str | None:
        """The value of ``--name=value`` or ``--name value``, "true" for a bare flag, None if it is not given; the last one counts."""
        value = None
        for index, argument in enumerate(self.arguments):
            key, equals, rest = argument.partition("=")
            if key not in {f"--{name}", f"-{name}"}:
                continue
            following = self.arguments[index + 1] if index + 1 < len(self.arguments) else "-"
            value = rest if equals else following if not following.startswith("-") else "true"
        return value


def _tag(image: str) -> str:
    """The tag of an image, "" if it has none."""
    path = image.partition("@")[0].rpartition("/")[2]
    return path.partition(":")[2]


def _path(image: str) -> str:
    """An image without tag and digest."""
    before, slash, last = image.partition("@")[0].rpartition("/")
    return f"{before}{slash}{last.partition(':')[0]}"


def shown(version: Version) -> str:
    """A version as text, ``1.2.3``; "unknown" for ()."""
    return ".".join(map(str, version)) or "unknown"


def older(version: Version, limit: Version) -> bool:
    """Whether a version is older than `limit`; an unknown version is not."""
    return bool(version and limit) and version[:_COMPARED] < limit[:_COMPARED]


def find(component: Component, objects: Iterable[Object]) -> Workload | None:
    """Finds a component among the Deployments or DaemonSets of a cluster; None if it is not there.

    Matches by name first, whatever the image, else by image. Of several matches it returns the one with the most ready pods.
    """
    candidates = [one for one in objects if not any(side in name_of(one) for side in _SIDECARS)]
    named = [one for one in candidates if {name_of(one), text(mapping(one, "metadata", "labels"), _NAME_LABEL)} & component.names]
    found = named or [one for one in candidates if any(_path(image).endswith(component.image) for image in _images(one))]
    return max(map(read, found), key=lambda one: one.ready, default=None)


def _containers(obj: Object) -> list[Any]:
    return items(obj, "spec", "template", "spec", "containers")


def _images(obj: Object) -> tuple[str, ...]:
    return tuple(text(container, "image") for container in _containers(obj))


def read(obj: Object) -> Workload:
    """Reads a Deployment or a DaemonSet."""
    status, containers = mapping(obj, "status"), _containers(obj)
    if obj.get("kind") == "DaemonSet" or "desiredNumberScheduled" in status:
        wanted, ready = integer(status, "desiredNumberScheduled") or 0, integer(status, "numberReady") or 0
    else:
        replicas = integer(obj, "spec", "replicas")
        wanted, ready = (1 if replicas is None else replicas), integer(status, "readyReplicas") or 0
    generation = integer(obj, "metadata", "generation") or 0
    return Workload(
        where=f"{namespace_of(obj)}/{name_of(obj)}",
        wanted=wanted,
        ready=ready,
        images=_images(obj),
        label=text(mapping(obj, "metadata", "labels"), _VERSION_LABEL),
        arguments=tuple(str(word) for one in containers for word in (*items(one, "command"), *items(one, "args"))),
        environment={text(pair, "name"): text(pair, "value") for one in containers for pair in items(one, "env")},
        tolerations=items(obj, "spec", "template", "spec", "tolerations"),
        settled=(integer(status, "observedGeneration") or 0) >= generation,
    )


def tolerates(tolerations: Sequence[Any], taint: Mapping[str, Any]) -> bool:
    """Whether the scheduler would place pods with these tolerations on a node with this taint."""
    return any(_matches(one, taint) for one in tolerations)


def _matches(toleration: Any, taint: Mapping[str, Any]) -> bool:  # noqa: ANN401 - an entry of JSON
    key, operator, effect = text(toleration, "key"), text(toleration, "operator") or "Equal", text(toleration, "effect")
    if effect and effect != text(taint, "effect"):
        return False
    if operator == "Exists":
        return key in {"", text(taint, "key")}
    return key == text(taint, "key") and text(toleration, "value") == text(taint, "value")
