"""What the tests on the real control plane share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.manifests import KUSTOMIZE, apply_folder
from tests.cluster.stack import Stack
from tests.control_plane.control_plane import ControlPlane


@pytest.fixture(scope="session")
def installed(plane: ControlPlane) -> ControlPlane:
    """The control plane with the controller's manifests applied, as its documentation says."""
    apply_folder(plane, KUSTOMIZE / "base")
    return plane


@pytest.fixture
def stack(installed: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    """An application with one ready replica of every unit."""
    with Stack(installed, namespace, tmp_path) as made:
        yield made
