"""Where the control plane's programs come from: ``KUBEBUILDER_ASSETS`` as envtest has it, else built once from Go modules into a cache.

The two modules beside this file pin the versions (``go.mod``, ``go.sum``); the cache is keyed by them and by the Go version, so that a
change of either builds anew and everything else starts at once. Run ``python -m tests.control_plane.binaries`` to build beforehand.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ETCD: Final = "etcd"
API_SERVER: Final = "kube-apiserver"
SCHEDULER: Final = "kube-scheduler"
CONTROLLER_MANAGER: Final = "kube-controller-manager"

_MODULES: Final = Path(__file__).parent / "binaries"
_CACHE_VARIABLE: Final = "FAILOVERCTL_TEST_CACHE"
_ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
_BUILD_S: Final = 1800.0  # the API server took 3.5 minutes on two cores


class Unavailable(Exception):
    """There are no programs and no way to build them; the text says what to install or set."""


@dataclass(frozen=True, slots=True)
class _Program:
    """One program: its module's folder and its main package."""

    module: str
    package: str


_PROGRAMS: Final[Mapping[str, _Program]] = {
    ETCD: _Program("etcd", "go.etcd.io/etcd/server/v3"),
    API_SERVER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    SCHEDULER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    CONTROLLER_MANAGER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
}


def locate() -> Mapping[str, Path]:
    """The path of every program, building what is missing.

    Raises:
        Unavailable: ``KUBEBUILDER_ASSETS`` lacks etcd or kube-apiserver, or Go is needed and not installed.
        subprocess.CalledProcessError: A build failed; its output is on standard error.
    """
    assets = os.environ.get(_ASSETS_VARIABLE)
    given = {name: Path(assets) / name for name in _PROGRAMS if (Path(assets) / name).is_file()} if assets else {}
    if assets and not {ETCD, API_SERVER} <= given.keys():
        raise Unavailable(f"{_ASSETS_VARIABLE}={assets} holds no etcd and kube-apiserver; unset it to build them")
    missing = [name for name in _PROGRAMS if name not in given]  # envtest's own archive has no scheduler and no controller manager
    return {**given, **(_built(missing) if missing else {})}


def _built(names: list[str]) -> dict[str, Path]:
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"Go is not installed and {_ASSETS_VARIABLE} does not hold {', '.join(names)}")
    folder = _folder(go)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes side by side build once
        for name in names:
            if not (folder / name).is_file():
                _build(go, name, folder)
    return {name: folder / name for name in names}


def _folder(go: str) -> Path:
    version = subprocess.run([go, "env", "GOVERSION", "GOARCH"], capture_output=True, check=True, text=True, timeout=60).stdout
    digest = hashlib.sha256(version.encode())
    for module in sorted({program.module for program in _PROGRAMS.values()}):
        for name in ("go.mod", "go.sum"):
            digest.update((_MODULES / module / name).read_bytes())
    root = os.environ.get(_CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "failoverctl-tests"
    return Path(root) / digest.hexdigest()[:16]


def _build(go: str, name: str, folder: Path) -> None:
    program = _PROGRAMS[name]
    print(f"building {name} (once; minutes on a small machine) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch) / name
        command = [go, "build", "-trimpath", "-ldflags", _flags(program.module), "-o", str(output), program.package]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        subprocess.run(command, cwd=_MODULES / program.module, env=environment, check=True, timeout=_BUILD_S)
        output.rename(folder / name)  # whole or not at all: an interrupted build leaves nothing


def _flags(module: str) -> str:
    """Linker flags. Kubernetes reports the version that they set, v0.0.0-master otherwise."""
    if module != "kubernetes":
        return "-s -w"
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    at = "k8s.io/component-base/version"
    return f"-s -w -X {at}.gitVersion={version} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"


def kubernetes_version() -> str:
    """The version of Kubernetes that the module pins, such as ``v1.36.3``."""
    found = re.search(r"\bk8s\.io/kubernetes (v\S+)", (_MODULES / "kubernetes" / "go.mod").read_text())
    assert found is not None, "go.mod does not require k8s.io/kubernetes"
    return found[1]


if __name__ == "__main__":
    for path in locate().values():
        print(path)
