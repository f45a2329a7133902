"""The applications of files that are named on the command line: read once, for a run outside of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from controller.catalog.loader import load_directory
from controller.policy.model import Application


class FileCatalog:
    """Applications that stay as they are until the process ends. In a cluster they are objects, see `ObjectCatalog`, whose face this has.

    Args:
        path: File or directory, see `controller.catalog.loader.load_directory`.
    """

    missing: Final = "no application is configured"
    """What keeps a replica without any application from being ready."""
    error: Final = ""
    """Nothing is wrong with what runs: files with a fault are refused at the start."""
    partial: Final = False
    """Files are taken as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.applications: Mapping[str, Application] = {}

    def start(self) -> Mapping[str, Application]:
        """Reads the files.

        Raises:
            ConfigError: Lists every fault in all of them, or says that there is no file.
        """
        self.applications = load_directory(self._path)
        return self.applications
