"""The versions that pages name are those that the tests build and start."""

from __future__ import annotations

import pytest

from failover_harness.control_plane import binaries
from failover_setup.doctor.cluster import components
from tools.compatibility_docs import PAGES, ROOT, page


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_generated(name: str) -> None:
    """`make docs` writes them."""
    assert page(name, (ROOT / name).read_text()) == (ROOT / name).read_text(), "run make docs"


def test_the_tests_run_the_versions_that_the_guide_installs() -> None:
    """Else the guide installs what nobody has tried."""
    assert components.KARPENTER.pinned == binaries.version(binaries.KARPENTER)
    assert components.LOAD_BALANCER_CONTROLLER.pinned == binaries.version(binaries.LBC)
    assert components.KEDA.pinned == binaries.version(binaries.KEDA)
