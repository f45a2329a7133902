"""Builds each image once for all tests, from its own Dockerfile, on a stand-in base."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.images.catalog import load
from deploy.images.dockerfiles import ROOT
from failover_harness.images import debian, engine
from tests.images.built import standins

CONTROLLER: Final = "failoverctl"
IMAGES: Final = (CONTROLLER, *sorted(load().servers))


@dataclass(frozen=True, slots=True)
class Built:
    """An image.

    Attributes:
        tag: Its name in the storage.
        base: The name of its base.
        steps: The instructions that ran.
    """

    tag: str
    base: str
    steps: int


class Builder:
    """Builds images; `close` removes them, and leaves the bases for the next run.

    Raises:
        engine.Unavailable: Images cannot be built here.
    """

    def __init__(self) -> None:
        engine.require()
        self._uv = standins.installer()
        self._built: dict[str, Built] = {}

    def __call__(self, name: str) -> Built:
        """The image of this name.

        Raises:
            engine.Unavailable: Its base cannot be made here.
            engine.BuildFailed: A step failed.
        """
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def refused(self, name: str) -> str:
        """Why a release of the image is refused.

        Raises:
            AssertionError: It is not refused.
        """
        tag = f"{debian.NAMESPACE}/release-{name}"
        try:
            self._run(name, tag, RELEASE="true")
        except engine.BuildFailed as error:
            return str(error)
        engine.remove(tag)
        raise AssertionError(f"the Dockerfile of {name} built a release")

    def close(self) -> None:
        """Removes what was built."""
        for built in self._built.values():
            engine.remove(built.tag)

    def _build(self, name: str) -> Built:
        tag = f"{debian.NAMESPACE}/{name}"
        engine.remove(tag)  # of a run that was killed
        base, printed = self._run(name, tag)
        return Built(tag, base, len(re.findall(r"STEP \d+/\d+: ", printed)))

    def _run(self, name: str, tag: str, **arguments: str) -> tuple[str, str]:
        """Builds it; returns its base, and what was printed."""
        dockerfile, context, argument, base = self._source(name)
        given = {argument: base, "UV": debian.uv(self._uv), **arguments}
        return base, engine.build(dockerfile, context, tag, given, cache=standins.cache(self._uv))

    def _source(self, name: str) -> tuple[Path, Path, str, str]:
        """An image's Dockerfile, its context, the argument that names its base, and the base."""
        if name == CONTROLLER:
            return ROOT / "Dockerfile", ROOT, "PYTHON", debian.python("3.13")
        base = standins.base(name, load().servers[name], self._uv)
        return ROOT / "deploy" / "images" / f"{name}.Dockerfile", ROOT / "model_server", "BASE", base
