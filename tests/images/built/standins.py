"""The bases that images are built on here, in place of those that registries have.

A stand-in has what the Dockerfile takes from its base: the interpreter's path, and the distributions that the Dockerfile leaves out
because the base has them. It lacks the accelerator's own software.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from deploy.images.catalog import Server
from deploy.images.dockerfiles import export_options
from deploy.images.lock import PROJECT
from failover_harness.images import debian, engine

DOCKERFILE: Final = Path(__file__).with_name("base.Dockerfile")


@dataclass(frozen=True, slots=True)
class Standin:
    """A base that stands in for one of a registry.

    Attributes:
        python: Version of Debian's Python that it has.
        replaces: What the real base has and this one has otherwise, in words.
        files: Content of files, by their path.
        of_torch: Requirements of torch that the lock leaves out.
    """

    python: str
    replaces: str
    files: dict[str, str] = field(default_factory=dict)
    of_torch: tuple[str, ...] = ()


_CUDA: Final = {
    "/usr/local/bin/start_cuda_compat.sh": "export LD_LIBRARY_PATH=/usr/local/cuda/compat${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n",
}
_ON_CUDA: Final = "Python 3.12, CUDA's system libraries, compilers and driver; its script for older drivers is one line here"
# The version that torch names.
_INSTALL: Final = """RUN --mount=type=bind,from=uv,source=/uv,target=/usr/local/bin/uv \\
    {home}/bin/python -c "from importlib.metadata import requires as of; print(*[x for x in of('torch') if x.startswith('{name}')])" \\
      > /tmp/requirements.txt && \\
    UV_LINK_MODE=copy uv pip install --python {home}/bin/python --no-deps --requirements /tmp/requirements.txt && \\
    rm /tmp/requirements.txt"""
STANDINS: Final = {
    "cpu": Standin("3.11", "Python 3.12, torch's build for processors: here it is PyPI's"),
    "cuda": Standin("3.11", _ON_CUDA, _CUDA),
    "triton": Standin("3.11", _ON_CUDA, _CUDA, of_torch=("triton",)),
    "neuron": Standin(
        "3.11",
        "torch 2.8 and numpy of the SDK, here the lock's; torch_neuronx, whose package registry is AWS's, is an empty module here",
        {"{site}/torch_neuronx/__init__.py": "__version__ = '0'\n"},
    ),
    "adapter": Standin("3.13", "the same Python, from Debian's packages"),
}
"""By the name of the server's image."""


def base(name: str, server: Server, uv: Path) -> str:
    """The name of a server's base; made once.

    Args:
        name: The server's image.
        server: What images.yaml says of it.
        uv: The installer's program.

    Raises:
        engine.Unavailable: See `debian.mirror`.
        engine.BuildFailed: It could not be made.
    """
    standin = STANDINS[name]
    bare = debian.python(standin.python)
    home = PurePosixPath(server.interpreter).parents[1]
    if not server.base_has:
        return bare
    plain = _with_distributions(bare, str(home), of_the_base(server, uv), uv)
    return _with_files(plain, name, standin, home, uv) if standin.files else plain


def _with_distributions(bare: str, home: str, requirements: str, uv: Path) -> str:
    """A base with a virtual environment; two servers whose bases have the same share it."""
    recipe = hashlib.sha256("\0".join((bare, home, requirements, DOCKERFILE.read_text())).encode()).hexdigest()[:12]
    tag = f"{debian.NAMESPACE}/with-distributions:{recipe}"
    if not engine.exists(tag):
        with tempfile.TemporaryDirectory(prefix="failoverctl-base-") as scratch:
            (Path(scratch) / "requirements.txt").write_text(requirements)
            arguments = {"PYTHON": bare, "UV": debian.uv(uv), "HOME_OF_PYTHON": home}
            engine.build(DOCKERFILE, Path(scratch), tag, arguments, cache=cache(uv))
    return tag


def _with_files(plain: str, name: str, standin: Standin, home: PurePosixPath, uv: Path) -> str:
    """The same with the stand-in's files on top, and what it has of torch's requirements."""
    files = {path.format(site=home / "lib" / f"python{standin.python}" / "site-packages"): text for path, text in standin.files.items()}
    steps = [f"FROM {debian.uv(uv)} AS uv", f"FROM {plain}", "COPY root /"]
    steps += [_INSTALL.format(home=home, name=one) for one in standin.of_torch]
    tag = f"{debian.NAMESPACE}/base-{name}:{hashlib.sha256(repr((files, steps)).encode()).hexdigest()[:12]}"
    if not engine.exists(tag):
        with tempfile.TemporaryDirectory(prefix="failoverctl-base-") as scratch:
            for path, text in files.items():
                file = Path(scratch) / "root" / path.lstrip("/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            dockerfile = Path(scratch) / "Dockerfile"
            dockerfile.write_text("\n".join(steps) + "\n")
            engine.build(dockerfile, Path(scratch), tag, {}, cache=cache(uv))
    return tag


def of_the_base(server: Server, uv: Path) -> str:
    """The locked requirements, with hashes, that the Dockerfile leaves to the base."""
    words = " ".join(export_options(server)).split()
    left_out = {at + offset for at, word in enumerate(words) if word == "--prune" for offset in (0, 1)}
    everything = _exported(uv, [word for at, word in enumerate(words) if at not in left_out])
    installed = set(_exported(uv, words))
    return "\n".join(line for line in everything if line not in installed) + "\n"


def _exported(uv: Path, options: list[str]) -> list[str]:
    command = [str(uv), "export", "--quiet", "--frozen", "--offline", "--project", str(PROJECT), "--no-emit-project"]
    done = subprocess.run([*command, "--no-annotate", "--no-header", *options], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.replace("\\\n", " ").splitlines()


def cache(uv: Path) -> Path:
    """The machine's own cache of downloads: what tests installed before is not fetched again."""
    return Path(subprocess.run([str(uv), "cache", "dir"], capture_output=True, text=True, timeout=60, check=True).stdout.strip())


def installer() -> Path:
    """The program of uv, as the Makefile finds it.

    Raises:
        engine.Unavailable: It is not installed.
    """
    found = shutil.which("uv") or shutil.which("uv", path=str(PROJECT.parent / ".tools" / "bin"))
    if found is None:
        raise engine.Unavailable("uv is not installed: `make env` installs it")
    return Path(found)
