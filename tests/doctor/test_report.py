"""What a check says where it could not read what it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.clients.kube import PODS, SCALED_OBJECTS
from failover_setup.doctor.report import Check, Finding, Level, ok

ABSENT, DENIED = "scaledobjects.keda.sh is not installed", "pods may not be listed with these credentials"
INSTALL, GRANT = "install it: see docs/install.md", "grant `list` on it: see docs/permissions.md"


def _anything(_: object) -> Iterator[Finding]:
    """Nothing is required."""
    yield ok("read")


@pytest.mark.parametrize(
    ("unreadable", "fix"),
    [
        ({}, ""),
        ({PODS.name: DENIED}, GRANT),
        ({SCALED_OBJECTS.name: ABSENT}, INSTALL),
        ({PODS.name: DENIED, SCALED_OBJECTS.name: ABSENT}, f"{INSTALL}; for the rest {GRANT}"),
    ],
)
def test_what_cannot_be_read_is_to_be_installed_or_granted(unreadable: dict[str, str], fix: str) -> None:
    """Nobody can install what is there and may not be listed."""
    (found,) = Check(_anything, "It matters.", needs=(PODS, SCALED_OBJECTS)).findings(None, unreadable)
    assert (found.level, found.fix) == (Level.UNKNOWN if unreadable else Level.OK, fix)
