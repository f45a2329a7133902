"""Fixtures of the tests on built images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from deploy.images.dockerfiles import ROOT
from failover_harness.images import engine
from tests.cluster.conftest import installed, pytest_runtest_makereport, stack
from tests.conftest import skip_loudly
from tests.images.built.builder import Builder, Built
from tools import image_figures
from tools.image_figures import Figures

__all__ = ["installed", "pytest_runtest_makereport", "stack"]

_figures = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def builder(pytestconfig: pytest.Config) -> Iterator[Builder]:
    """Builds images, and removes them at the end of the session."""
    with _loudly(pytestconfig):
        made = Builder()
    yield made
    made.close()


@pytest.fixture(scope="session")
def build(pytestconfig: pytest.Config, builder: Builder) -> Callable[[str], Built]:
    """Builds an image by its name, once a session."""

    def built(name: str) -> Built:
        with _loudly(pytestconfig):
            return builder(name)

    return built


@pytest.fixture(scope="session")
def refused(pytestconfig: pytest.Config, builder: Builder) -> Callable[[str], str]:
    """Why a release of an image is refused, by its name."""

    def said(name: str) -> str:
        with _loudly(pytestconfig):
            return builder.refused(name)

    return said


@contextmanager
def _loudly(config: pytest.Config) -> Iterator[None]:
    try:
        yield
    except engine.Unavailable as error:
        skip_loudly(config, "ON BUILT IMAGES", str(error))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """What was measured of each image; the end of the run prints it beside what is recorded."""
    return request.config.stash.setdefault(_figures, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the figures, and keeps them where `tools.image_figures --write` finds them."""
    measured = config.stash.get(_figures, {})
    if not measured:
        return
    image_figures.MEASURED.parent.mkdir(exist_ok=True)
    image_figures.MEASURED.write_text(json.dumps(measured, indent=2, sort_keys=True) + "\n")
    terminalreporter.section("images: measured (recorded)")
    for line in image_figures.compared(measured, image_figures.recorded()):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"kept in {image_figures.MEASURED.relative_to(ROOT)}; python -m tools.image_figures --write records it")
