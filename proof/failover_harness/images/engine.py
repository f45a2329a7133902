"""Builds, measures and runs images in the machine's own storage.

buildah and podman need no daemon. ``--isolation chroot`` builds, and runc runs, where there is no systemd and the control groups are
hybrid, as in a small virtual machine. Every command has a time-out, and every container ends by itself after `LIFE_S`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PROGRAMS: Final = ("buildah", "podman", "runc", "debootstrap")
BUILD_S: Final = 900.0
"""Longest build, seconds: the base with torch installs 4 GB."""
LIFE_S: Final = 600
"""Longest life of a container, seconds, in case that the process which started it is killed."""

_SHORT_S: Final = 120.0
_STOP_S: Final = 90.0
_PREFIX: Final = "failoverctl-test-"
_LOG_CHARACTERS: Final = 6000
# runc cannot raise the limits of a process without capabilities; these are below what any kernel gives.
_LIMITS: Final = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
# As the manifests have it: a Deployment sets all of these.
RESTRICTED: Final = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges")


class Unavailable(Exception):
    """Images cannot be built here; the message says what is missing."""


class BuildFailed(Exception):
    """A build ended with an error; the message has the end of its output."""


def require() -> None:
    """Checks that images can be built and run here.

    Raises:
        Unavailable: A program is missing, or this is not root.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise Unavailable(f"{', '.join(missing)} not installed; on Debian `apt-get install` brings them")
    if os.geteuid() != 0:
        raise Unavailable("images are built and run here as root")


def build(dockerfile: Path, context: Path, tag: str, arguments: Mapping[str, str], *, cache: Path | None = None) -> str:
    """Builds a Dockerfile and names the result; no step is taken from an earlier build.

    Args:
        dockerfile: The Dockerfile.
        context: The folder that it may copy from.
        tag: The name of the image.
        arguments: Build arguments.
        cache: A folder of downloads, which the build's root finds as uv's cache.

    Returns:
        What the build printed.

    Raises:
        BuildFailed: A step failed.
    """
    options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    if cache is not None:
        options += ["--volume", f"{cache}:/root/.cache/uv"]
    # The docker format, since the other one has no SHELL and no HEALTHCHECK.
    command = ["buildah", "bud", "--format=docker", "--isolation=chroot", "--pull-never", "--layers=false", *options]
    done = _run([*command, "--tag", tag, "--file", str(dockerfile), str(context)], BUILD_S)
    if done.returncode != 0:
        raise BuildFailed(f"{dockerfile.name} failed:\n{_end(done.stdout + done.stderr)}")
    return done.stdout + done.stderr


def import_folder(folder: Path, tag: str, *, environment: Mapping[str, str] | None = None) -> None:
    """Makes an image of one layer from a folder."""
    changes = [word for name, value in (environment or {}).items() for word in ("--change", f"ENV {name}={value}")]
    archive = subprocess.Popen(["tar", "--directory", str(folder), "--create", "."], stdout=subprocess.PIPE)
    try:
        done = subprocess.run(
            ["podman", "import", "--quiet", *changes, "-", tag],
            stdin=archive.stdout,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
    finally:
        if archive.stdout is not None:
            archive.stdout.close()
        archive.kill()
        archive.wait()
    if done.returncode != 0:
        raise BuildFailed(f"podman import {tag}: {_end(done.stderr)}")


def exists(tag: str) -> bool:
    """Whether the storage has an image of this name."""
    return _run(["podman", "image", "exists", tag], _SHORT_S).returncode == 0


def remove(tag: str) -> None:
    """Removes a name, and the image where it was its last."""
    _run(["podman", "rmi", "--force", tag], _SHORT_S)


def size(tag: str) -> int:
    """The bytes of all its layers."""
    return int(_succeeds(["podman", "image", "inspect", "--format={{.Size}}", tag]))


@contextmanager
def mounted(tag: str) -> Iterator[Path]:
    """The image's files, which nothing may change."""
    path = Path(_succeeds(["podman", "image", "mount", tag]).strip())
    try:
        yield path
    finally:
        _run(["podman", "image", "unmount", tag], _SHORT_S)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a pod gives to a container.

    Attributes:
        environment: Variables.
        files: Folders and files of this machine, by their path in the container; read-only.
        folders: Folders that the container may write to, by their path in it.
        memory: Paths that are memory, with their sizes, such as ``16m``.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    memory: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> list[str]:
        """Options of ``podman run``."""
        found = [f"--env={name}={value}" for name, value in self.environment.items()]
        found += [f"--volume={source}:{path}:ro" for path, source in self.files.items()]
        found += [f"--volume={source}:{path}" for path, source in self.folders.items()]
        return found + [f"--tmpfs={path}:rw,mode=1777,size={limit}" for path, limit in self.memory.items()]


def output(tag: str, *words: str, setting: Setting | None = None, entrypoint: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a container to its end, restricted as in a cluster.

    Args:
        tag: The image.
        words: What replaces the image's command.
        setting: What it is given.
        entrypoint: A program that replaces the image's entry point.
    """
    chosen = [f"--entrypoint={entrypoint}"] if entrypoint else []
    return _run([*_command(f"{_PREFIX}{secrets.token_hex(4)}", setting), *chosen, tag, *words], LIFE_S)


class Container:
    """A running container."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.process, self._log = name, process, log

    def status(self) -> dict[str, str]:
        """The kernel's status of its first process: ``Uid``, ``CapEff``, ``NoNewPrivs`` and so on."""
        pid = _succeeds(["podman", "inspect", "--format={{.State.Pid}}", self.name]).strip()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in it."""
        return _run(["podman", "--runtime=runc", "exec", self.name, *words], _SHORT_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal to its first process; returns its exit code."""
        _run(["podman", "kill", f"--signal={number.name}", self.name], _SHORT_S)
        return self.process.wait(timeout=_STOP_S)

    def log(self) -> str:
        """The end of what it printed."""
        return _end(self._log.read_text(errors="replace"))


@contextmanager
def running(tag: str, *words: str, setting: Setting, log: Path) -> Iterator[Container]:
    """Runs a container, restricted as in a cluster, with the machine's network; removes it on exit.

    Args:
        tag: The image.
        words: What replaces the image's command.
        setting: What it is given.
        log: File of its output.
    """
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    with log.open("wb") as out:
        process = subprocess.Popen([*_command(name, setting), tag, *words], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield Container(name, process, log)
    finally:
        _run(["podman", "rm", "--force", "--time=0", "--ignore", name], _SHORT_S)
        process.wait(timeout=_STOP_S)


def _command(name: str, setting: Setting | None) -> list[str]:
    options = (setting or Setting()).options()
    life = ("--rm", "--pull=never", "--no-healthcheck", f"--timeout={LIFE_S}", "--network=host")
    return ["podman", "--runtime=runc", "run", f"--name={name}", *life, *_LIMITS, *RESTRICTED, *options]


def _run(command: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL)


def _succeeds(command: Sequence[str]) -> str:
    done = _run(command, _SHORT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {_end(done.stderr)}")
    return done.stdout


def _end(text: str) -> str:
    return text[-_LOG_CHARACTERS:]
