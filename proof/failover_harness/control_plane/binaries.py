"""Finds the programs that tests run: in ``KUBEBUILDER_ASSETS``, as for envtest, or else built once from Go modules into a cache.

The modules beside this file pin the versions (``go.mod``, ``go.sum``). They and the Go version are the key of the cache, so a change of
either causes a new build. The control plane's two modules share a key; each tool has its own, so that adding a tool builds only that tool.
``python -m failover_harness.control_plane.binaries`` builds all of them in advance; with names of tools (``helm promtool vegeta``) it
builds the control plane and these. With ``FAILOVER_TEST_BUILD=no`` nothing is built: what the cache lacks is unavailable.

The AWS Load Balancer Controller cannot be fetched as a module: ``--source FOLDER`` builds it into the same cache from a checkout of its
source at the release that is pinned here. Until somebody has done that, the tests that need it say that they did not run.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ETCD: Final = "etcd"
API_SERVER: Final = "kube-apiserver"
SCHEDULER: Final = "kube-scheduler"
CONTROLLER_MANAGER: Final = "kube-controller-manager"
HELM: Final = "helm"
CRANE: Final = "crane"
KARPENTER: Final = "karpenter"
KEDA: Final = "keda"
KEDA_METRICS: Final = "keda-metrics-apiserver"
KEDA_ADMISSION: Final = "keda-admission-webhooks"
PROMTOOL: Final = "promtool"
VEGETA: Final = "vegeta"
LBC: Final = "aws-load-balancer-controller"

_MODULES: Final = Path(__file__).parent / "binaries"
_CACHE_VARIABLE: Final = "FAILOVER_TEST_CACHE"
_ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
_BUILD_VARIABLE: Final = "FAILOVER_TEST_BUILD"
_BUILD_S: Final = 3 * 3600.0  # a bound for a build that hangs: Karpenter took twelve minutes on two cores that were busy with other things


class Unavailable(Exception):
    """The programs are missing and cannot be built; the message says what to install or set."""


@dataclass(frozen=True, slots=True)
class _Program:
    """One program.

    Attributes:
        module: The folder of the module that pins its version; "" for a program that is built from a checkout of its source.
        package: Its main package.
        tags: Its build tags, separated by commas.
        release: The release that a checkout must be of, as its file ``version.txt`` says; "" for a program that is built from modules.
    """

    module: str
    package: str
    tags: str = ""
    release: str = ""


_CONTROL_PLANE: Final[Mapping[str, _Program]] = {
    ETCD: _Program("etcd", "go.etcd.io/etcd/server/v3"),
    API_SERVER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    SCHEDULER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    CONTROLLER_MANAGER: _Program("kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
}
_TOOLS: Final[Mapping[str, _Program]] = {
    HELM: _Program("helm", "helm.sh/helm/v4/cmd/helm"),
    CRANE: _Program("crane", "github.com/google/go-containerregistry/cmd/crane"),  # a client of registries, and a registry of its own
    KARPENTER: _Program("karpenter", "github.com/aws/karpenter-provider-aws/cmd/controller"),
    KEDA: _Program("keda", "github.com/kedacore/keda/v2/cmd/operator"),
    KEDA_METRICS: _Program("keda", "github.com/kedacore/keda/v2/cmd/adapter"),
    KEDA_ADMISSION: _Program("keda", "github.com/kedacore/keda/v2/cmd/webhooks"),
    # Without the clients of every cloud in which Prometheus can find targets: its rules and queries need none.
    PROMTOOL: _Program("promtool", "github.com/prometheus/prometheus/cmd/promtool", tags="remove_all_sd"),
    VEGETA: _Program("vegeta", "github.com/tsenart/vegeta/v12"),
    LBC: _Program("", ".", release="3.5.0"),
}
"""Programs that only some tests need; the first of these tests builds them, but for those built from a checkout of their source."""


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


def from_source(name: str, source: Path) -> Path:
    """The path of a tool that is built from a checkout of its source; builds it if the cache lacks it.

    Args:
        name: The tool.
        source: The checkout.

    Raises:
        Unavailable: The folder holds another release than the pinned one, or Go is not installed.
        subprocess.CalledProcessError: The build failed; its output is on standard error.
    """
    program = _TOOLS[name]
    try:
        found = (source / "version.txt").read_text().strip()
    except OSError as error:
        raise Unavailable(f"{source} is no checkout of {name}: version.txt cannot be read ({error.strerror})") from error
    if found != program.release:
        raise Unavailable(f"{source} has release {found} of {name}; check out v{program.release}")
    return _built([name], {name: program}, source.resolve())[name]


def _given(programs: Collection[str]) -> dict[str, Path]:
    """The paths of those programs that are in ``KUBEBUILDER_ASSETS``."""
    assets = os.environ.get(_ASSETS_VARIABLE)
    return {name: Path(assets) / name for name in programs if (Path(assets) / name).is_file()} if assets else {}


def _built(names: list[str], keyed: Mapping[str, _Program], source: Path | None = None) -> dict[str, Path]:
    """Builds the programs that the cache lacks.

    Args:
        names: The programs.
        keyed: All programs that share a folder of the cache; their modules and releases are its key.
        source: The checkout of their source, for those that have no module.
    """
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"Go is not installed and {_ASSETS_VARIABLE} does not hold {', '.join(names)}")
    folder = _folder(go, keyed)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and source is None and (release := keyed[missing[0]].release):
        raise Unavailable(f"{missing[0]} not in the cache; `make programs SOURCE=FOLDER` builds it from a checkout of v{release}")
    if missing and os.environ.get(_BUILD_VARIABLE) == "no":
        raise Unavailable(f"{', '.join(missing)} not in the cache, and {_BUILD_VARIABLE}=no")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # parallel test processes build once
        for name in names:
            if not (folder / name).is_file():
                _build(go, name, keyed[name], folder, source or _MODULES / keyed[name].module)
    return {name: folder / name for name in names}


def _folder(go: str, keyed: Mapping[str, _Program]) -> Path:
    version = subprocess.run([go, "env", "GOVERSION", "GOARCH"], capture_output=True, check=True, text=True, timeout=60).stdout
    digest = hashlib.sha256(version.encode())
    for module, release in sorted({(program.module, program.release) for program in keyed.values()}):
        digest.update(release.encode())
        for name in ("go.mod", "go.sum") if module else ():
            digest.update((_MODULES / module / name).read_bytes())
    root = os.environ.get(_CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "failoverctl-tests"
    return Path(root) / digest.hexdigest()[:16]


def _build(go: str, name: str, program: _Program, folder: Path, source: Path) -> None:
    print(f"building {name} (once; minutes on a small machine) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch) / name
        command = [go, "build", "-trimpath", "-tags", program.tags, "-ldflags", _flags(program.module), "-o", str(output), program.package]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        subprocess.run(command, cwd=source, env=environment, check=True, timeout=_BUILD_S)
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
    return f"v{version(API_SERVER)}"


def version(name: str) -> str:
    """The version of a program that is built here, without a ``v``."""
    program = {**_CONTROL_PLANE, **_TOOLS}[name]
    if program.release:
        return program.release
    required = re.findall(r"^\s*(?:require )?(\S+) v(\S+)", (_MODULES / program.module / "go.mod").read_text(), re.MULTILINE)
    return next(str(found) for module, found in required if program.package.startswith(module))


def main(arguments: Sequence[str]) -> Iterator[Path]:
    """Builds what the cache lacks of the programs that a command line names, and yields their paths."""
    parser = argparse.ArgumentParser(
        prog="python -m failover_harness.control_plane.binaries", description="Build the programs of the tests."
    )
    parser.add_argument("tools", nargs="*", metavar="TOOL", help="beside the control plane's; by default all that are built from modules")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help=f"build only {LBC}, from this checkout of its source")
    wanted = parser.parse_args(arguments)
    if wanted.source is not None:
        yield from_source(LBC, wanted.source)
        return
    yield from locate().values()
    yield from map(tool, wanted.tools or (name for name, program in _TOOLS.items() if program.module))


if __name__ == "__main__":
    try:
        for path in main(sys.argv[1:]):
            print(path)
    except Unavailable as error:
        sys.exit(str(error))
