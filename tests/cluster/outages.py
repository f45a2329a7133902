"""Outages of the API server, and what the tests after one need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.control_plane.binaries import API_SERVER, CONTROLLER_MANAGER, SCHEDULER
from tests.control_plane.control_plane import ControlPlane


@contextmanager
def killed(plane: ControlPlane) -> Iterator[None]:
    """Kills the API server; at the end another one is started and ready."""
    plane.stop_api()
    try:
        yield
    finally:
        plane.start_api()
        _revive(plane)


@contextmanager
def frozen(plane: ControlPlane) -> Iterator[None]:
    """Stops the API server where it stands: connections hang. At the end it goes on."""
    plane.signal(API_SERVER, signal.SIGSTOP)
    try:
        yield
    finally:
        plane.signal(API_SERVER, signal.SIGCONT)
        _revive(plane)


def _revive(plane: ControlPlane) -> None:
    """Starts scheduler and controller manager anew: their pauses grow during an outage, and they come back more than a minute after it."""
    for program in (SCHEDULER, CONTROLLER_MANAGER):
        plane.signal(program, signal.SIGKILL)
        plane._order({"wait": program})
    plane._start_controllers()
