"""Finds the programs that tests run: in ``KUBEBUILDER_ASSETS``, as for envtest, or else built once from Go modules into a cache.

The modules beside this file pin the versions (``go.mod``, ``go.sum``). They and the Go version are the key of the cache, so a change of
either causes a new build. The control plane's two modules share a key; each tool has its own, so that adding a tool builds only that tool.
``python -m failover_harness.control_plane.binaries`` builds all of them in advance; with names of tools (``helm promtool vegeta``) it
builds the control plane and these. With ``FAILOVERCTL_TEST_BUILD=no`` nothing is built: what the cache lacks is unavailable.

The AWS Load Balancer Controller is never built, because the module proxy has no version of its module. ``FAILOVERCTL_TEST_LBC`` names the
binary on machines that have one.
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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ETCD: Final = "etcd"
API_SERVER: Final = "kube-apiserver"
SCHEDULER: Final = "kube-scheduler"
CONTROLLER_MANAGER: Final = "kube-controller-manager"
HELM: Final = "helm"
KARPENTER: Final = "karpenter"
KEDA: Final = "keda"
KEDA_METRICS: Final = "keda-metrics-apiserver"
KEDA_ADMISSION: Final = "keda-admission-webhooks"
PROMTOOL: Final = "promtool"
VEGETA: Final = "vegeta"

_MODULES: Final = Path(__file__).parent / "binaries"
_CACHE_VARIABLE: Final = "FAILOVERCTL_TEST_CACHE"
_ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
_LBC_VARIABLE: Final = "FAILOVERCTL_TEST_LBC"
_BUILD_VARIABLE: Final = "FAILOVERCTL_TEST_BUILD"
_BUILD_S: Final = 3 * 3600.0  # a bound for a build that hangs: Karpenter took twelve minutes on two cores that were busy with other things


class Unavailable(Exception):
    """The programs are missing and cannot be built; the message says what to install or set."""


@dataclass(frozen=True, slots=True)
class _Program:
    """One program: its module's folder, its main package and its build tags, separated by commas."""

    module: str
    package: str
    tags: str = ""


_CONTROL_PLANE: Final[Mapping[str, _Program]] = {
    ETCD: _Program("etcd", "go.etcd.io/etcd/server/v3"),
    API_SERVER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    SCHEDULER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    CONTROLLER_MANAGER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
}
_TOOLS: Final[Mapping[str, _Program]] = {
    HELM: _Program("helm", "helm.sh/helm/v4/cmd/helm"),
    KARPENTER: _Program("karpenter", "github.com/aws/karpenter-provider-aws/cmd/controller"),
    KEDA: _Program("keda", "github.com/kedacore/keda/v2/cmd/operator"),
    KEDA_METRICS: _Program("keda", "github.com/kedacore/keda/v2/cmd/adapter"),
    KEDA_ADMISSION: _Program("keda", "github.com/kedacore/keda/v2/cmd/webhooks"),
    # Without the clients of every cloud in which Prometheus can find targets: its rules and queries need none.
    PROMTOOL: _Program("promtool", "github.com/prometheus/prometheus/cmd/promtool", tags="remove_all_sd"),
    VEGETA: _Program("vegeta", "github.com/tsenart/vegeta/v12"),
}
"""Programs that only some tests need; the first of these tests builds them."""


def locate() -> Mapping[str, Path]:
    """The paths of the control plane's programs; builds missing ones.

    Raises:
        Unavailable: ``KUBEBUILDER_ASSETS`` lacks etcd or kube-apiserver, or Go is needed and not installed.
        subprocess.CalledProcessError: A build failed; its output is on standard error.
    """
    given = _given(_CONTROL_PLANE)
    if os.environ.get(_ASSETS_VARIABLE) and not {ETCD, API_SERVER} <= given.keys():
        raise Unavailable(f"{_ASSETS_VARIABLE}={os.environ[_ASSETS_VARIABLE]} holds no etcd and kube-apiserver; unset it to build them")
    missing = [name for name in _CONTROL_PLANE if name not in given]  # envtest's archive has no scheduler and no controller manager
    return {**given, **(_built(missing, _CONTROL_PLANE) if missing else {})}


def tool(name: str) -> Path:
    """The path of a tool; builds it if it is missing.

    Raises:
        Unavailable: Go is needed and not installed.
        subprocess.CalledProcessError: The build failed; its output is on standard error.
    """
    only = {name: _TOOLS[name]}
    return (_given(only) or _built([name], only))[name]


def load_balancer_controller() -> Path:
    """The path of the AWS Load Balancer Controller.

    Raises:
        Unavailable: The variable is not set, or names no file.
    """
    given = os.environ.get(_LBC_VARIABLE, "")
    if not given:
        raise Unavailable(
            f"{_LBC_VARIABLE} does not name the binary of an AWS Load Balancer Controller, and it cannot be built from a module"
        )
    if not os.access(given, os.X_OK):
        raise Unavailable(f"{_LBC_VARIABLE}={given} is not a program")
    return Path(given)


def _given(programs: Collection[str]) -> dict[str, Path]:
    """The paths of those programs that are in ``KUBEBUILDER_ASSETS``."""
    assets = os.environ.get(_ASSETS_VARIABLE)
    return {name: Path(assets) / name for name in programs if (Path(assets) / name).is_file()} if assets else {}


def _built(names: list[str], keyed: Mapping[str, _Program]) -> dict[str, Path]:
    """Builds the programs that the cache lacks.

    Args:
        names: The programs.
        keyed: All programs that share a folder of the cache; their modules are its key.
    """
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"Go is not installed and {_ASSETS_VARIABLE} does not hold {', '.join(names)}")
    folder = _folder(go, keyed)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and os.environ.get(_BUILD_VARIABLE) == "no":
        raise Unavailable(f"{', '.join(missing)} not in the cache, and {_BUILD_VARIABLE}=no")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test processes build once
        for name in names:
            if not (folder / name).is_file():
                _build(go, name, keyed[name], folder)
    return {name: folder / name for name in names}


def _folder(go: str, keyed: Mapping[str, _Program]) -> Path:
    version = subprocess.run([go, "env", "GOVERSION", "GOARCH"], capture_output=True, check=True, text=True, timeout=60).stdout
    digest = hashlib.sha256(version.encode())
    for module in sorted({program.module for program in keyed.values()}):
        for name in ("go.mod", "go.sum"):
            digest.update((_MODULES / module / name).read_bytes())
    root = os.environ.get(_CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "failoverctl-tests"
    return Path(root) / digest.hexdigest()[:16]


def _build(go: str, name: str, program: _Program, folder: Path) -> None:
    print(f"building {name} (once; minutes on a small machine) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch) / name
        command = [go, "build", "-trimpath", "-tags", program.tags, "-ldflags", _flags(program.module), "-o", str(output), program.package]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        subprocess.run(command, cwd=_MODULES / program.module, env=environment, check=True, timeout=_BUILD_S)
        output.rename(folder / name)  # atomic: an interrupted build leaves nothing


def _flags(module: str) -> str:
    """Linker flags that set the version which Kubernetes reports; v0.0.0-master without them."""
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
    for path in (*locate().values(), *map(tool, sys.argv[1:] or _TOOLS)):
        print(path)
