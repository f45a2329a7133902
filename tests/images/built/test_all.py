"""What every image has in common."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict

import pytest

from deploy.images.catalog import load
from failover_harness.images.measure import measure
from tests.images.built.builder import IMAGES, Built
from tools.image_figures import Figures, differs, recorded


@pytest.mark.parametrize("name", IMAGES)
def test_it_is_as_large_as_recorded(name: str, build: Callable[[str], Built], figures: Figures) -> None:
    """A distribution more or less, or a tenth of the size, needs a new record: `python -m tools.image_figures --write`."""
    built = build(name)
    figures[name] = {"steps": built.steps, **asdict(measure(built.tag, built.base))}
    if platform.machine() == "x86_64" and name in recorded():
        assert differs(figures[name], recorded()[name]) == []


@pytest.mark.parametrize("name", IMAGES)
def test_a_release_on_a_base_without_digest_is_refused(name: str, refused: Callable[[str], str]) -> None:
    """Built with RELEASE=true: the first step fails, and names the images whose digests are missing."""
    if not load().unresolved():
        pytest.skip("every digest is known: the Dockerfiles have no such step")
    assert "no digest yet of: " in refused(name)
