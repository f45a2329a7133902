"""Bases from Debian's packages, in place of images that a registry would give.

A root file system of debootstrap stands in for Python's image, and uv's program for the image of uv. The mirror is that of the machine's
own apt sources. A base trusts the authorities that the machine trusts, and is good for tests alone.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from failover_harness.images import engine
from failover_harness.images.engine import BuildFailed, Unavailable

NAMESPACE: Final = "localhost/failoverctl-test"
SUITES: Final = {"3.11": "bookworm", "3.13": "trixie"}
"""The suite of Debian whose Python has this version. No suite has 3.12."""

_PACKAGES: Final = "ca-certificates,python3,python3-venv"
_BOOTSTRAP_S: Final = 900.0
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_UNUSED: Final = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""What Debian's slim images leave out too."""


def mirror() -> str:
    """The address from which apt gets the packages of this machine's own suite.

    Raises:
        Unavailable: This is not Debian, or apt has no such source.
    """
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian":
        raise Unavailable(f"the bases are made from Debian's packages, and this is {system.get('PRETTY_NAME', 'another system')}")
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    for line in listed.splitlines():
        site, release, component = line.split()
        if (release, component) == (system.get("VERSION_CODENAME"), "main"):
            return site
    raise Unavailable("apt has no source of this machine's own suite")


def python(version: str) -> str:
    """The name of a base with Python of this version, under /usr/bin and as /usr/local/bin/python; made once.

    Raises:
        Unavailable: See `mirror`.
        BuildFailed: debootstrap failed.
    """
    suite = SUITES[version]
    recipe = hashlib.sha256(repr((suite, _PACKAGES, _UNUSED)).encode() + _AUTHORITIES.read_bytes()).hexdigest()[:12]
    tag = f"{NAMESPACE}/python-{version}:{recipe}"
    if engine.exists(tag):
        return tag
    with tempfile.TemporaryDirectory(prefix="failoverctl-base-") as scratch:
        root = Path(scratch) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), mirror()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BOOTSTRAP_S, check=False)
        if done.returncode != 0:
            raise BuildFailed(f"debootstrap {suite}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        _settle(root)
        engine.import_folder(root, tag, environment={"SSL_CERT_FILE": str(_AUTHORITIES), "UV_SYSTEM_CERTS": "true"})
    return tag


def _settle(root: Path) -> None:
    """Makes a bare system into what an image of Python is: its interpreter may be added to, and the machine's authorities are trusted."""
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))


def uv(program: Path) -> str:
    """The name of an image that holds uv's program at ``/uv``, as the one that its makers publish; made once."""
    tag = f"{NAMESPACE}/uv:{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    if not engine.exists(tag):
        with tempfile.TemporaryDirectory(prefix="failoverctl-uv-") as scratch:
            shutil.copy(program, Path(scratch) / "uv")
            engine.import_folder(Path(scratch), tag)
    return tag
