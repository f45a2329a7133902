"""Pins agree: images.yaml, the Dockerfiles, the stacks, the lock file and the matrix name the same images and versions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from deploy.images.catalog import load
from deploy.images.dockerfiles import ROOT
from deploy.images.lock import locked
from failover_setup.matrix import matrix
from tests.support.stacks import STACKS

IMAGES = load()
ENGINES = matrix().engines
OWN = {name.removeprefix("server-"): one for name, one in ENGINES.items() if not one.image}
SHIPPED = {"vllm-cuda", "vllm-optimum", "vllm-plugin"}
_OF_THE_IMAGE = {"neuron-sdk", "cuda"}


def _containers() -> list[dict[str, Any]]:
    found = []
    for path in sorted(STACKS.glob("*/20-workloads.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if one and one["kind"] == "Deployment":
                found += one["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_an_engine_that_ships_is_in_images_yaml(name: str) -> None:
    """By the tag; its digest, once resolved, is in both."""
    assert ENGINES[name].image == IMAGES.bases[name].reference
    assert re.search(ENGINES[name].pattern, ENGINES[name].image)


def test_stacks_name_the_images_of_the_matrix() -> None:
    """And every engine of images.yaml serves in one of them."""
    used = {one["image"] for one in _containers() if one["name"] == "vllm"}
    assert used == {ENGINES[name].image for name in SHIPPED}


@pytest.mark.parametrize("name", sorted(OWN))
def test_versions_are_those_of_lock_base_and_dockerfile(name: str) -> None:
    """A library has its locked version, unless the base brings another; the SDK and CUDA are those of the base's tag."""
    server, text = IMAGES.servers[name], (ROOT / "deploy" / "images" / f"{name}.Dockerfile").read_text()
    tag = IMAGES.bases[server.base].tag
    assert f"{IMAGES.bases[server.base].image}:{tag}" in text
    for library, version in OWN[name].versions.items():
        if library in _OF_THE_IMAGE:
            assert version.replace(".", "") in tag.replace(".", ""), library
        elif library in server.base_has:
            assert version == server.base_has[library], library
            assert server.other_torch or version in locked()[library], library
        else:
            assert version in locked()[library], library


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_versions_of_an_engine_are_those_of_its_tag(name: str) -> None:
    """The matrix claims no version that the image's name contradicts."""
    tag = ENGINES[name].image.rpartition(":")[2]
    for library, version in ENGINES[name].versions.items() if tag else ():
        assert version in tag, library
